"""Ends the database sessions of processes that were stopped in the middle of a statement. For PostgreSQL.

asyncpg 0.32 prepares a statement and executes it in two exchanges, without a Sync message between them
(PostgreSQL's documentation, "Extended Query"). To PostgreSQL 18, a session between the two is active, not idle:
neither `idle_in_transaction_session_timeout` nor `statement_timeout` ends it, and it keeps its locks. What does,
`transaction_timeout`, is new in PostgreSQL 17, and would end long upgrades and copies as well.
"""

from datetime import timedelta

from sqlalchemy import Interval, bindparam, text

from bot.operations.process_name import APPLICATION
from bot.store.engine import Database
from bot.store.postgres_driver import IDLE_TIMEOUT_S

STOPPED_AFTER = timedelta(seconds=IDLE_TIMEOUT_S)
"""A process that runs takes milliseconds from one message of a statement to the next. Only the largest picture, of
10 MB, takes longer on a slow connection: as long as this at 4 Mbit/s."""

_END = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
    "WHERE datname = current_database() AND usename = current_user "
    "AND starts_with(application_name, :application) "
    "AND state = 'active' AND wait_event = 'ClientRead' AND state_change < clock_timestamp() - :stopped_after"
).bindparams(bindparam("stopped_after", type_=Interval))


async def end_stopped_sessions(database: Database, *, stopped_after: timedelta = STOPPED_AFTER) -> int:
    """Ends those of any Zoetrope on this database; returns how many. Raises: StoreError."""
    async with database.read() as connection:
        ended = await connection.scalars(_END, {"application": APPLICATION, "stopped_after": stopped_after})
        return sum(ended)
