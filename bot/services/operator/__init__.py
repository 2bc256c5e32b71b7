"""What the operator may ask of the machine: over all servers, from the one server that is the operator's own.

Every change is one transaction: the change, its line in the operator's audit trail (kept under server 0), and what
the operator's log channel is told. What changes for a single server stands in that server's trail and log channel,
too, without the operator's name. What changes who or what is let in holds the house's row meanwhile; what
concerns one job holds that job's row instead.
"""
