"""A SQLite database as the bot makes it, filled with ended jobs, for benchmarks of what reads them.

Imports only modules of the bot, so that a script can fill a database of an older checkout.
"""

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.store.engine import Database
from bot.store.maintenance.migrate import migrate

GUILD_ID, CHANNEL_ID = 10, 100
MEMBERS = 1000
"""How many members the jobs are spread over; their ids count from 1."""

NEWEST = datetime(2026, 3, 31, 12, tzinfo=UTC)

_NUMBERS = "WITH RECURSIVE numbers(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i + 1 < :count) "
_TIME = "strftime('%Y-%m-%dT%H:%M:%f000Z', :newest, printf('%+f seconds', {later} - i * :pause_s))"

_JOBS = f"""
INSERT INTO jobs (id, state, guild_id, channel_id, user_id, prompt, resolution, prompt_extend, watermark,
    created_at, state_changed_at, charged, cancel_requested, attempts, claim_count, upstream_id, submitted_at,
    progress, cost_usd, failure_reason, status_message_id, estimated_cost_usd)
{_NUMBERS}
SELECT lower(hex(randomblob(8))), CASE i % 10 WHEN 7 THEN 'failed' WHEN 8 THEN 'cancelled' ELSE 'delivered' END,
    :guild_id, 100, 1 + i % :members, 'a lighthouse in the fog, waves roll in', '720P', 1, 0,
    {_TIME.format(later=0)}, {_TIME.format(later=90)}, i % 10 NOT IN (7, 8), 0, 0, 0, 'task-' || i,
    {_TIME.format(later="5 + i % 20")}, 1.0, CASE WHEN i % 10 NOT IN (7, 8) THEN '0.14' END,
    CASE i % 10 WHEN 7 THEN 'upstream_failed' END, 1000 + i, 140000000
FROM numbers
"""  # noqa: S608 - our own text

_ENTRIES = """
INSERT INTO ledger (kind, guild_id, user_id, job_id, created_at, effective_at, videos, credits, usd, reason)
SELECT 'reserve', guild_id, user_id, id, created_at, created_at, 1, 0, 140000000, 'accepted' FROM jobs
UNION ALL
SELECT CASE WHEN charged THEN 'settle' ELSE 'return' END, guild_id, user_id, id, state_changed_at, created_at,
    charged - 1, 0, CASE WHEN charged THEN 0 ELSE -140000000 END, state || ': x' FROM jobs
"""

_TOTALS = """
INSERT INTO daily_totals (guild_id, day, videos, usd)
SELECT guild, substr(effective_at, 1, 10), sum(videos), sum(usd)
FROM ledger JOIN (SELECT 0 AS guild UNION SELECT :guild_id) GROUP BY 1, 2
"""


async def fill(file: Path, count: int, *, over: timedelta) -> None:
    """Creates the database with `count` ended jobs of one server. over: the time that they are spread over."""
    async with Database.open(f"sqlite:///{file}") as database:
        await migrate(database)
    values = {
        "count": count,
        "newest": NEWEST.strftime("%Y-%m-%d %H:%M:%S"),
        "pause_s": over.total_seconds() / max(count, 1),
        "guild_id": GUILD_ID,
        "members": MEMBERS,
    }
    if count:
        with closing(sqlite3.connect(file)) as connection, connection:
            for statement in (_JOBS, _ENTRIES, _TOTALS):
                connection.execute(statement, values)
