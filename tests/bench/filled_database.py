"""Databases with thousands of jobs, for benchmarks: made by the migrations of the measured checkout.

python filled_database.py DATABASE_URL ENDED RUNNING
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta

from bot.store.engine import Connection, Database
from bot.store.maintenance.migrate import migrate
from bot.store.schema import jobs

GUILDS = 50
"""The servers that the jobs are spread over."""

_COLUMNS = (
    "id, state, guild_id, channel_id, user_id, prompt, resolution, prompt_extend, watermark, created_at, "
    "state_changed_at, due_at, charged, cancel_requested, attempts, claim_count, upstream_id, submitted_at"
)


async def add_jobs(url: str, *, ended: int = 0, running: int = 0) -> None:
    """Migrates the database and adds jobs; the running ones are due now."""
    async with Database.open(url) as database:
        await migrate(database)
        async with database.write() as connection:
            await _insert(connection, "delivered", ended)
            await _insert(connection, "running", running)


async def _insert(connection: Connection, state: str, count: int) -> None:
    is_sqlite = connection.dialect.name == "sqlite"
    now = datetime.now(UTC) - timedelta(seconds=5)
    moment = f"'{now.replace(tzinfo=None).isoformat(timespec='microseconds')}Z'"
    due_at = moment if state == "running" else "NULL"
    typed = "" if is_sqlite else "::timestamptz"
    yes, no = ("1", "0") if is_sqlite else ("TRUE", "FALSE")
    provider = (", provider", ", 'vtrix'") if "provider" in jobs.c else ("", "")  # older checkouts have one only
    await connection.exec_driver_sql(
        f"INSERT INTO jobs ({_COLUMNS}{provider[0]}) "  # noqa: S608 - no input
        f"WITH RECURSIVE numbers(n) AS (SELECT 1 WHERE {count} > 0 "
        f"UNION ALL SELECT n + 1 FROM numbers WHERE n < {count}) "
        f"SELECT '{state}-' || n, '{state}', n % {GUILDS} + 1, 100, n % 1000 + 1, 'a fox', '720P', "
        f"{yes}, {no}, {moment}{typed}, {moment}{typed}, {due_at}{typed}, {yes}, {no}, 0, 0, 'task-' || n, "
        f"{moment}{typed}{provider[1]} FROM numbers"
    )


if __name__ == "__main__":
    url, ended, running = sys.argv[1:]
    asyncio.run(add_jobs(url, ended=int(ended), running=int(running)))
