"""Kills whole processes at the most critical points, restarts them, and compares what everybody saw.

`make crash` (`python -m tests.crash`) runs all cases; `test_crashes.py` runs a few with the other tests.
"""
