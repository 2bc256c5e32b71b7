"""The migrations, oldest first, written by hand. What a released one does never changes.

To add one, change `bot/store/schema.py` and run the tests: one compares the two and says what is missing.
"""
