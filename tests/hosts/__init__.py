"""Many processes on one PostgreSQL, which are killed, stopped, paused and cut off from it, and then audited.

`make hosts` (`python -m tests.hosts`) runs the campaign for minutes; `test_hosts.py` runs a short one.
"""
