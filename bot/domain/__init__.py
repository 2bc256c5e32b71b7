"""Values and decisions, free of I/O: jobs, limits, policy, the ledger, and what follows from them."""
