"""The steps of the schema, oldest first. A released step is never edited; a new one is written by hand.

Change `bot/store/schema.py`, run the tests, and the one that compares the two says what a step is missing.
"""
