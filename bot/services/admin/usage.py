"""A server's usage report for its admins: figures, a chart, and a CSV file with a row per job and no prompts."""

import asyncio
import csv
import io
import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cached_property

from bot.domain.ledger import utc_day
from bot.domain.money import usd_of
from bot.domain.usage_stats import BudgetUse, Day, JobLine, Period, UsageStats, UsageTally, span_of
from bot.media import charts
from bot.services.admin.audited import Admin, AuditedService
from bot.store.guilds import guild_settings
from bot.store.money import ledger, usage_stats

log = logging.getLogger(__name__)

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

PROVIDER_COLUMN = "provider"
"""A further column, where more than one provider ever made anything."""

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A cell that starts with one of these is a formula to a spreadsheet (OWASP, "CSV Injection")."""

_LINE_MAX = 1000
"""Longer than any row, in bytes."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an admin is shown. csv: a file of `csv_lines` jobs.

    chart: a PNG; None if there is nothing to draw, or if that failed.
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


class JobCsv:
    """A CSV file that grows row by row and never exceeds `limit_bytes`. with_provider: has `PROVIDER_COLUMN`."""

    def __init__(self, limit_bytes: int, *, with_provider: bool = False) -> None:
        self._limit_bytes = limit_bytes
        self._file = io.StringIO(newline="")
        self._writer = csv.writer(self._file)
        self._further = (PROVIDER_COLUMN,) if with_provider else ()
        self._writer.writerow([*COLUMNS, *self._further])
        self._amounts = _AmountTexts()
        self._is_full = False
        self.lines = 0

    def add(self, lines: Sequence[JobLine]) -> bool:
        """Adds rows; False once the file is full and the rest was left out."""
        while lines and not self._is_full:
            fitting = max(0, min((self._limit_bytes - self._file.tell()) // _LINE_MAX, CSV_LINES_MAX - self.lines))
            self._is_full = fitting == 0
            self._writer.writerows(self._rows(lines[:fitting]))  # None is an empty cell
            self.lines += len(lines[:fitting])
            lines = lines[fitting:]
        return not self._is_full

    def data(self) -> bytes:
        """The file, in ASCII."""
        return self._file.getvalue().encode("ascii", "backslashreplace")

    def _rows(self, lines: Iterable[JobLine]) -> Iterator[tuple[object, ...]]:
        amounts = self._amounts
        for line in lines:
            name, at, user_id, state, failure, resolution, in_queue_s, to_video_s, reserved, amount, _, made_by = (
                line
            )
            yield (
                safe_cell(name),
                at,
                user_id,
                state,
                failure and safe_cell(failure),
                resolution,
                None if in_queue_s is None else f"{in_queue_s:.1f}",
                None if to_video_s is None else f"{to_video_s:.1f}",
                None if reserved is None else amounts[reserved],
                amounts[amount or 0],
                *((made_by,) if self._further else ()),
            )


class _AmountTexts(dict[int, str]):
    """Amounts in billionths of a USD as text, in USD. Most jobs cost the same, and a Decimal takes a while."""

    def __missing__(self, nano_usd: int) -> str:
        text = self[nano_usd] = f"{usd_of(nano_usd):f}"
        return text


class UsageService(AuditedService):
    """What a server has used."""

    @cached_property
    def _drawing(self) -> asyncio.Lock:
        return asyncio.Lock()

    async def report(self, admin: Admin, period: Period, *, limit_bytes: int) -> Report:
        """The server's usage over a period. limit_bytes: how large the CSV file may be."""
        now = self._clock()
        async with self._database.read() as connection:
            file = JobCsv(limit_bytes, with_provider=await ledger.are_several_providers_used(connection))
            guild = await guild_settings.get(connection, admin.guild_id)
            spent = await ledger.spent(connection, admin.guild_id, now)
            granted = guild.budget.over(self._defaults.guild_budget)
            budget = BudgetUse(guild.settings.budget, granted, spent.usd_today, spent.usd_month)
            span = span_of(period, utc_day(now))
            tally = UsageTally()
            async with aclosing(usage_stats.lines(connection, admin.guild_id, span)) as chunks:
                async for lines in chunks:
                    tally.add(lines)
                    file.add(lines)
            stats = await usage_stats.completed(connection, admin.guild_id, span, tally, budget)
        chart = None
        if not stats.is_empty:
            async with self._drawing:  # one chart at a time: it takes a core
                chart = await _drawn(stats.days)
        return Report(period, stats, chart, file.data(), file.lines)


async def _drawn(days: Sequence[Day]) -> bytes | None:
    try:
        return await charts.draw_usage(days)
    except OSError as error:  # also a timeout; the figures and the table don't need the chart
        log.warning("a chart of a server's use could not be drawn: %r", error)
        return None


def safe_cell(text: str) -> str:
    """The text as a cell that is never treated as a formula; ids can start with a minus."""
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text
