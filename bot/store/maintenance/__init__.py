"""Care of the database: schema upgrades, backups, restores, the process lock."""
