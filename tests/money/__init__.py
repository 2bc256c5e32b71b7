"""Simulates ten thousand orders with faults at two providers, and compares the ledger with what they billed."""
