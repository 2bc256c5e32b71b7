"""What admins look after: what a server has used, made and spent."""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

from bot.domain.guilds import OperatorDefaults
from bot.domain.ledger import utc_day
from bot.domain.usage_stats import BudgetUse, Day, Period, UsageStats, span_of
from bot.operations.clock import Clock
from bot.services.admin.audited import Acts, Admin
from bot.services.csv_export import Sheet
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.money import ledger, usage_stats

SHEET_LINES_MAX = 50_000
"""How many jobs the export holds; of more, the newest."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an admin is shown.

    chart: a PNG; None where there is nothing to draw. sheet: a CSV file, of `sheet_lines` jobs.
    """

    period: Period
    figures: UsageStats
    chart: bytes | None
    sheet: bytes
    sheet_lines: int

    @property
    def is_cut(self) -> bool:
        """Whether the export lacks older jobs of the period."""
        return self.sheet_lines < self.figures.videos.asked


class UsageReports(Acts):
    """What a server has used. rules: what the operator set, for the budget that it grants."""

    def __init__(
        self, database: Database, rules: OperatorDefaults, *, wake: Callable[[], None], clock: Clock
    ) -> None:
        super().__init__(database, wake=wake, clock=clock)
        self._rules = rules
        self._drawing = asyncio.Lock()

    async def report(self, admin: Admin, period: Period, *, limit_bytes: int) -> Report:
        """The server's use over a period. limit_bytes: how large a file may be."""
        now = self._clock()
        sheet = Sheet(limit_bytes)
        async with self._database.read() as connection:
            guild = await guild_settings.get(connection, admin.guild_id)
            spent = await ledger.spent(connection, admin.guild_id, now)
            granted = guild.budget.over(self._rules.guild_budget)
            budget = BudgetUse(guild.settings.budget, granted, spent.usd_today, spent.usd_month)
            span = span_of(period, utc_day(now))
            figures = await usage_stats.gather(connection, admin.guild_id, span, budget)
            async with aclosing(usage_stats.lines(connection, admin.guild_id, span, SHEET_LINES_MAX)) as chunks:
                async for lines in chunks:
                    if not sheet.add(lines):
                        break
        chart = None if figures.is_empty else await self._draw(figures.days)
        return Report(period, figures, chart, sheet.data(), sheet.lines)

    async def _draw(self, days: tuple[Day, ...]) -> bytes:
        async with self._drawing:  # one picture at a time: it takes a core
            return await asyncio.to_thread(_drawn, days)


def _drawn(days: tuple[Day, ...]) -> bytes:
    # Here, because loading it takes half a second and many megabytes, which only those who draw should pay.
    from bot.media import usage_chart  # noqa: PLC0415

    return usage_chart.draw(days)
