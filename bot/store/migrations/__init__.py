"""How a database grows from one version of Zoetrope to the next, in Alembic's layout."""
