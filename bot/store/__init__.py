"""All SQL of the bot; the same code runs on SQLite and PostgreSQL."""
