"""What a server's admins may ask of the machine. The commands parse and render; here it is done.

One class for each thing that admins look after. Every method takes the `Admin` who asks, and touches nothing but
that admin's server: ids of other servers' jobs and members are as good as unknown. Every change is one
transaction: the change, its line in the audit trail, and what the log channel is told.
"""
