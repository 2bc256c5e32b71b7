"""Checks that a SQLite database's sums are those of its ledger, and that jobs stand in it as they should.

The sums of single servers are left out: an erased server's entries go on without it.
"""

from sqlalchemy import select

from bot.domain.ledger import ZERO
from bot.store.engine import Connection
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.money import ledger
from bot.store.schema import IS_ACTIVE, jobs

_SUMS = {
    "daily_totals": (
        "SELECT key FROM (SELECT substr(effective_at, 1, 10) AS key, usd, videos FROM ledger "
        "UNION ALL SELECT day, -usd, -videos FROM daily_totals WHERE guild_id = 0) "
        "GROUP BY key HAVING sum(usd) <> 0 OR sum(videos) <> 0 ORDER BY key"
    ),
    "provider_totals": (
        "SELECT key FROM (SELECT jobs.provider || ' ' || substr(coalesce(provider_since, jobs.created_at), 1, 10) "
        "AS key, usd FROM ledger JOIN jobs ON jobs.id = ledger.job_id WHERE jobs.provider IS NOT NULL "
        "UNION ALL SELECT provider || ' ' || day, -usd FROM provider_totals) "
        "GROUP BY key HAVING sum(usd) <> 0 ORDER BY key"
    ),
    "credit_grants": (
        "SELECT key FROM (SELECT credit_grant_id AS key, credits FROM ledger WHERE credit_grant_id IS NOT NULL "
        "UNION ALL SELECT id, -credits_left FROM credit_grants) GROUP BY key HAVING sum(credits) <> 0 ORDER BY key"
    ),
}
"""For each table of sums, a query of its keys whose sum is not that of their ledger entries."""


async def wrong_sums(connection: Connection) -> list[str]:
    """The sums that differ from their entries, as a table and a key each; empty if all are right."""
    found = []
    for table, query in _SUMS.items():
        keys = (await connection.exec_driver_sql(query)).scalars()
        found += [f"{table} {key}" for key in keys]
    return found


async def active_jobs(connection: Connection) -> list[str]:
    """The ids of the jobs in progress."""
    return list(await connection.scalars(select(jobs.c.id).where(IS_ACTIVE)))


async def wrong_jobs(connection: Connection, job_ids: list[str]) -> list[str]:
    """Those of the jobs whose entries in the ledger don't come to what their state demands."""
    found = []
    for job_id in job_ids:
        job = job_of((await connection.execute(select_jobs().where(jobs.c.id == job_id))).one())
        if await ledger.outstanding(connection, job) != ZERO:
            found.append(job_id)
    return found
