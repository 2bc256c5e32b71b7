"""The services behind `/video-admin`: the commands parse and render, the work is done here.

There is one class for each thing that admins manage. Every method takes the `Admin` who asks and touches only that
admin's server: jobs and members of other servers count as unknown.
"""
