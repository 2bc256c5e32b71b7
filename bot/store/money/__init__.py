"""The ledger, credits and usage figures in the database."""
