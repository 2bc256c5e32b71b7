"""Whether anybody else is connected to a database on a server, which no lock file shows."""

from sqlalchemy import text

from bot.domain.errors import StoreError
from bot.store.engine import Connection

_SESSIONS = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND backend_type = 'client backend'"
)


async def refuse_other_connections(connection: Connection, name: str) -> None:
    """Nothing says which process is a bot, but a bot that runs always has a connection.

    name: what the database is called at the start of the error. Raises StoreError.
    """
    if sessions := await connection.scalar(_SESSIONS):
        raise StoreError(
            f"{name} is in use: {sessions} other connections to it are open. Stop all processes of the bot, and "
            "close everything else that is connected to it (psql, a connection pooler, monitoring)."
        )
