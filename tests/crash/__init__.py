"""Kills whole processes where it hurts most, has them started again, and compares what everybody saw.

`make crash` runs all of it (`python -m tests.crash`); `test_crashes.py` a few telling cases with the other tests.
"""
