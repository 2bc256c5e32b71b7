"""A server's usage report for its admins."""

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property

from bot.domain.ledger import utc_day
from bot.domain.usage_stats import BudgetUse, Day, Period, UsageStats, span_of
from bot.services.admin.audited import Admin, AuditedService
from bot.services.csv_export import JobCsv
from bot.store.guilds import guild_settings
from bot.store.money import ledger, usage_stats

CSV_LINES_MAX = 50_000
"""The most jobs in the export; newer ones come first."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an admin is shown.

    chart: a PNG; None where there is nothing to draw. csv: a CSV file, of `csv_lines` jobs.
    """

    period: Period
    stats: UsageStats
    chart: bytes | None
    csv: bytes
    csv_lines: int

    @property
    def is_cut(self) -> bool:
        """Whether the export lacks older jobs of the period."""
        return self.csv_lines < self.stats.videos.ordered


class UsageService(AuditedService):
    """What a server has used."""

    @cached_property
    def _drawing(self) -> asyncio.Lock:
        return asyncio.Lock()

    async def report(self, admin: Admin, period: Period, *, limit_bytes: int) -> Report:
        """The server's usage over a period. limit_bytes: how large the CSV file may be."""
        now = self._clock()
        csv = JobCsv(limit_bytes)
        async with self._database.read() as connection:
            guild = await guild_settings.get(connection, admin.guild_id)
            spent = await ledger.spent(connection, admin.guild_id, now)
            granted = guild.budget.over(self._defaults.guild_budget)
            budget = BudgetUse(guild.settings.budget, granted, spent.usd_today, spent.usd_month)
            span = span_of(period, utc_day(now))
            stats = await usage_stats.gather(connection, admin.guild_id, span, budget)
            async with aclosing(usage_stats.lines(connection, admin.guild_id, span, CSV_LINES_MAX)) as chunks:
                async for lines in chunks:
                    if not csv.add(lines):
                        break
        chart = None
        if not stats.is_empty:
            async with self._drawing:  # one chart at a time: it takes a core
                chart = await asyncio.to_thread(_draw, stats.days)
        return Report(period, stats, chart, csv.data(), csv.lines)


def _draw(days: tuple[Day, ...]) -> bytes:
    # Imported here because it takes half a second and many megabytes.
    from bot.media import usage_chart  # noqa: PLC0415

    return usage_chart.draw(days)
