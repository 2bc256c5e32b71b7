"""What videos cost on each day, over all servers and by provider, inside the caller's transaction."""

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal

from sqlalchemy import select

from bot.domain.cost_history import CostDay
from bot.domain.jobs import ProviderName
from bot.store.engine import Connection
from bot.store.money_tables import daily_totals, provider_totals
from bot.store.schema import EVERYWHERE

_NO_USD = Decimal(0)


async def daily_costs(connection: Connection, first: date, last: date) -> tuple[CostDay, ...]:
    """Every day from `first` to `last`, also empty ones. Reads the sums of those days, never the ledger."""
    of_all = select(daily_totals).where(
        daily_totals.c.guild_id == EVERYWHERE, daily_totals.c.day >= first, daily_totals.c.day <= last
    )
    totals = {row.day: row for row in await connection.execute(of_all)}
    # A row for each provider and day: some thousand in years, in the order of the primary key.
    of_provider = select(provider_totals).where(provider_totals.c.day >= first, provider_totals.c.day <= last)
    providers: defaultdict[date, dict[ProviderName, Decimal]] = defaultdict(dict)
    for row in await connection.execute(of_provider):
        if row.provider in set(ProviderName) and row.usd:
            providers[row.day][ProviderName(row.provider)] = row.usd
    days = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return tuple(
        CostDay(
            day,
            totals[day].videos if day in totals else 0,
            totals[day].usd if day in totals else _NO_USD,
            providers.get(day, {}),
        )
        for day in days
    )
