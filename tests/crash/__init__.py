"""Kills whole processes at the worst moments, restarts them, and compares what everybody saw.

`make crash` (`python -m tests.crash`) runs all cases; `test_crashes.py` runs a few with the other tests.
"""
