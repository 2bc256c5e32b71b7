"""Where jobs are kept: the only folder that knows SQL, and the same code on SQLite and PostgreSQL."""
