"""Persistent buttons and the messages they belong to."""
