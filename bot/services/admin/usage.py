"""A server's usage report for its admins: figures, a chart, and a CSV file with a row per job and no prompts."""

import asyncio
import csv
import io
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property

from bot.domain.ledger import utc_day
from bot.domain.usage_stats import BudgetUse, Day, JobLine, Period, UsageStats, span_of
from bot.services.admin.audited import Admin, AuditedService
from bot.store.guilds import guild_settings
from bot.store.money import ledger, usage_stats

CSV_LINES_MAX = 50_000
"""The most jobs in the export; newer ones come first."""

COLUMNS = (
    "id",
    "created_at",
    "member_id",
    "state",
    "failure",
    "resolution",
    "queue_seconds",
    "total_seconds",
    "usd_reserved",
    "usd",
)

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A cell that starts with one of these is a formula to a spreadsheet (OWASP, "CSV Injection")."""

_LINE_MAX = 1000
"""Longer than any row, in bytes."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an admin is shown. chart: a PNG; None if there is nothing to draw. csv: a file of `csv_lines` jobs."""

    period: Period
    stats: UsageStats
    chart: bytes | None
    csv: bytes
    csv_lines: int

    @property
    def is_cut(self) -> bool:
        """Whether the export lacks older jobs of the period."""
        return self.csv_lines < self.stats.videos.ordered


class JobCsv:
    """A CSV file that grows row by row and never exceeds `limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._file = io.StringIO(newline="")
        self._writer = csv.writer(self._file)
        self._writer.writerow(COLUMNS)
        self.lines = 0

    def add(self, lines: Iterable[JobLine]) -> bool:
        """Adds rows; False once the file is full and the rest was left out."""
        for line in lines:
            if self._file.tell() + _LINE_MAX > self._limit_bytes:
                return False
            self._writer.writerow(_cells(line))
            self.lines += 1
        return True

    def data(self) -> bytes:
        """The file, in ASCII."""
        return self._file.getvalue().encode("ascii", "backslashreplace")


class UsageService(AuditedService):
    """What a server has used."""

    @cached_property
    def _drawing(self) -> asyncio.Lock:
        return asyncio.Lock()

    async def report(self, admin: Admin, period: Period, *, limit_bytes: int) -> Report:
        """The server's usage over a period. limit_bytes: how large the CSV file may be."""
        now = self._clock()
        file = JobCsv(limit_bytes)
        async with self._database.read() as connection:
            guild = await guild_settings.get(connection, admin.guild_id)
            spent = await ledger.spent(connection, admin.guild_id, now)
            granted = guild.budget.over(self._defaults.guild_budget)
            budget = BudgetUse(guild.settings.budget, granted, spent.usd_today, spent.usd_month)
            span = span_of(period, utc_day(now))
            stats = await usage_stats.gather(connection, admin.guild_id, span, budget)
            async with aclosing(usage_stats.lines(connection, admin.guild_id, span, CSV_LINES_MAX)) as chunks:
                async for lines in chunks:
                    if not file.add(lines):
                        break
        chart = None
        if not stats.is_empty:
            async with self._drawing:  # one chart at a time: it takes a core
                chart = await asyncio.to_thread(_draw, stats.days)
        return Report(period, stats, chart, file.data(), file.lines)


def _draw(days: tuple[Day, ...]) -> bytes:
    # Imported here because it takes half a second and many megabytes.
    from bot.media import usage_chart  # noqa: PLC0415

    return usage_chart.draw(days)


def _cells(line: JobLine) -> tuple[str, ...]:
    return (
        safe_cell(line.id),
        line.created_at.isoformat(timespec="seconds").replace("+00:00", "Z"),
        str(line.user_id),
        line.state.value,
        safe_cell(line.failure or ""),
        line.resolution.value,
        _seconds(line.in_queue_s),
        _seconds(line.to_video_s),
        "" if line.reserved_usd is None else f"{line.reserved_usd:f}",
        f"{line.usd:f}",
    )


def safe_cell(text: str) -> str:
    """The text as a cell that is never treated as a formula; ids can start with a minus."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:.1f}"
