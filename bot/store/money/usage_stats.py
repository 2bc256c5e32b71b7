"""Reads a server's usage statistics and its CSV export, inside the caller's transaction.

The jobs are read once, newest first and in chunks, so a server with a hundred thousand of them doesn't block the
event loop.
"""

from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Double, and_, case, cast, extract, func, or_, select, type_coerce

from bot.domain.jobs import JobState
from bot.domain.money import usd_of
from bot.domain.usage_stats import (
    BudgetUse,
    Day,
    JobLine,
    MemberUse,
    Span,
    UsageStats,
    UsageTally,
    VideoCounts,
    filled,
)
from bot.store.engine import Connection
from bot.store.money_tables import daily_totals, ledger
from bot.store.schema import COST_IS_HELD, IS_ACTIVE, NOBODY, jobs
from bot.store.types import StorableText, Usd

TOP = 5
"""How many members are listed."""

_CHUNK = 2000
"""How many jobs are read at a time; they take the event loop for some milliseconds."""

_DAY_S = 86_400

_DELIVERED_AT = case((jobs.c.state == JobState.DELIVERED, jobs.c.state_changed_at))
"""When the video was posted; NULL without one."""


async def lines(connection: Connection, guild_id: int, span: Span) -> AsyncGenerator[list[JobLine], None]:
    """The jobs of the span, newest first, in chunks: one pass, from which everything else is counted."""
    usd = select(_integer(func.sum(type_coerce(ledger.c.usd, BigInteger)))).where(ledger.c.job_id == jobs.c.id)
    query = (
        select(
            jobs.c.id,
            _second(connection, jobs.c.created_at),
            jobs.c.user_id,
            jobs.c.state,
            jobs.c.failure_reason,
            jobs.c.resolution,
            _seconds(connection, jobs.c.submitted_at),
            _seconds(connection, _DELIVERED_AT),
            type_coerce(jobs.c.estimated_cost_usd, BigInteger),
            usd.correlate(jobs).scalar_subquery(),
            and_(or_(IS_ACTIVE, COST_IS_HELD), jobs.c.cost_usd.is_(None)),
            jobs.c.provider,
        )
        .where(_of_jobs(guild_id, span))
        .order_by(jobs.c.created_at.desc())
    )
    async with connection.stream(query) as result:
        async for rows in result.partitions(_CHUNK):
            yield list(map(JobLine._make, rows))


async def completed(
    connection: Connection, guild_id: int, span: Span, tally: UsageTally, budget: BudgetUse
) -> UsageStats:
    """The server's statistics over the span. tally: all of its `lines`."""
    videos, reserved = tally.videos(), tally.reserved_nano_usd()
    usd = await _usd(connection, guild_id, span)
    known = {
        day: Day(day, videos.get(day, VideoCounts()), usd.get(day, Decimal(0)), usd_of(reserved.get(day, 0)))
        for day in videos.keys() | usd.keys()
    }
    members = tally.members(without=NOBODY)
    return UsageStats(
        videos=sum(videos.values(), VideoCounts()),
        failures=tally.failures(),
        members=len(members),
        top=await _top(connection, guild_id, span, dict(islice(members.items(), TOP))),
        in_queue=tally.in_queue(),
        to_video=tally.to_video(),
        days=filled(span, known),
        budget=budget,
    )


def _of_jobs(guild_id: int, span: Span) -> ColumnElement[bool]:
    return and_(jobs.c.guild_id == guild_id, *_within(span, jobs.c.created_at))


def _within(span: Span, moment: ColumnElement[datetime]) -> list[ColumnElement[bool]]:
    ends = moment < _midnight(span.last + timedelta(days=1))
    return [ends] if span.first is None else [moment >= _midnight(span.first), ends]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _second(connection: Connection, moment: ColumnElement[datetime]) -> ColumnElement[Any]:
    """The UTC second as text: `2026-01-31T09:05:00Z`."""
    if connection.dialect.name == "sqlite":
        return func.substr(type_coerce(moment, StorableText), 1, 19) + "Z"
    return func.to_char(func.timezone("UTC", moment), 'YYYY-MM-DD"T"HH24:MI:SS"Z"')


def _integer(number: ColumnElement[Any]) -> ColumnElement[int]:
    """An integer also on PostgreSQL, where a sum of integers is a decimal."""
    return cast(number, BigInteger)


def _seconds(connection: Connection, end: ColumnElement[Any]) -> ColumnElement[Any]:
    """Seconds from a job's request to `end`, NULL without one; at least zero, in case clocks disagree."""
    start = jobs.c.created_at
    if connection.dialect.name == "sqlite":
        days = func.julianday(type_coerce(end, StorableText)) - func.julianday(type_coerce(start, StorableText))
        return type_coerce(func.max(days * _DAY_S, 0.0), Double)  # of two: the larger, or NULL
    seconds = cast(extract("epoch", end - start), Double)
    return case((seconds < 0, 0.0), else_=seconds)


async def _usd(connection: Connection, guild_id: int, span: Span) -> Mapping[date, Decimal]:
    """The ledger's daily amounts, which budgets are checked against."""
    query = select(daily_totals.c.day, daily_totals.c.usd).where(
        daily_totals.c.guild_id == guild_id, daily_totals.c.day <= span.last
    )
    if span.first is not None:
        query = query.where(daily_totals.c.day >= span.first)
    return {row.day: row.usd for row in await connection.execute(query) if row.usd}


async def _top(
    connection: Connection, guild_id: int, span: Span, members: Mapping[int, tuple[int, int]]
) -> tuple[MemberUse, ...]:
    """members: how many videos each ordered and received."""
    query = (
        select(ledger.c.user_id, func.sum(ledger.c.usd, type_=Usd).label("usd"))
        .where(
            ledger.c.guild_id == guild_id,
            ledger.c.user_id.in_(members),
            *_within(span, ledger.c.effective_at),
        )
        .group_by(ledger.c.user_id)
    )
    usd = {row.user_id: row.usd for row in await connection.execute(query)}
    return tuple(
        MemberUse(user_id, ordered, delivered, usd.get(user_id, Decimal(0)))
        for user_id, (ordered, delivered) in members.items()
    )
