"""Compares the sums that are kept beside the ledger with its entries."""

from collections import defaultdict
from datetime import date
from decimal import Decimal

from sqlalchemy import select

from bot.domain.ledger import Amounts, utc_day
from bot.store.engine import Connection
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.money_tables import daily_totals, ledger, provider_totals
from bot.store.schema import EVERYWHERE


async def wrong_sums(connection: Connection) -> list[str]:
    """What the daily totals and those of the providers say otherwise than the entries; a sentence each."""
    jobs = {row.id: job_of(row) for row in await connection.execute(select_jobs())}
    by_day: defaultdict[tuple[int, date], Amounts] = defaultdict(Amounts)
    by_provider: defaultdict[tuple[str, date], Decimal] = defaultdict(Decimal)
    for entry in await connection.execute(select(ledger)):
        for guild_id in (EVERYWHERE, entry.guild_id):
            by_day[guild_id, utc_day(entry.effective_at)] += Amounts(entry.videos, 0, entry.usd)
        job = jobs.get(entry.job_id)
        if job is not None and job.provider is not None:
            by_provider[job.provider, utc_day(job.provider_since or job.created_at)] += entry.usd
    days = {
        (row.guild_id, row.day): Amounts(row.videos, 0, row.usd)
        for row in await connection.execute(select(daily_totals))
    }
    providers = {(row.provider, row.day): row.usd for row in await connection.execute(select(provider_totals))}
    wrong = [
        f"the total of {key} is {days.get(key)} instead of {by_day.get(key)}"
        for key in days.keys() | by_day.keys()
        if days.get(key, Amounts()) != by_day.get(key, Amounts())
    ]
    return wrong + [
        f"the total of {key} is {providers.get(key)} instead of {by_provider.get(key)}"
        for key in providers.keys() | by_provider.keys()
        if providers.get(key, 0) != by_provider.get(key, 0)
    ]
