"""The services behind `/video-admin`: the commands parse and render, the work is done here.

One class for each thing that admins manage. Every method takes the `Admin` who asks and touches only that admin's
server: jobs and members of other servers count as unknown. Every change is one transaction: the change, its entry
in the audit log and its notification.
"""
