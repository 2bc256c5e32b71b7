"""The operator's commands: over all servers, given in the operator's own server.

Every change is one transaction: the change, its entry in the operator's audit log (kept under server 0) and its
notification. A change to a single server is also logged there, without the operator's name. Whatever changes who
or what is admitted locks the operator state's row; whatever concerns one job locks that job's row instead.
"""
