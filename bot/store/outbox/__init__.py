"""Notifications that wait to be sent, written in the transaction of what they report."""
