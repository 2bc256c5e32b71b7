"""Runs the migrations on the connection that it is handed, inside its transaction."""

from alembic import context

from bot.store.money_tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
)
context.run_migrations()
