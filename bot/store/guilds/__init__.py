"""What a server's admins set, in the database: settings, limits, policy, bans, the audit log."""
