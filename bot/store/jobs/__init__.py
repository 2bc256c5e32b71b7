"""Jobs in the database: admission, leases, transitions, the submission gate, approvals, recovery."""
