"""Reads a server's usage statistics and its CSV export, inside the caller's transaction.

The database counts and sorts, so a server with a hundred thousand jobs doesn't block the event loop.
"""

from collections import Counter, defaultdict
from collections.abc import AsyncGenerator, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Double, Select, and_, case, cast, extract, func, or_, select, type_coerce

from bot.domain.jobs import FailureReason, JobState, Resolution
from bot.domain.usage_stats import (
    BudgetUse,
    Day,
    JobLine,
    MemberUse,
    Span,
    UsageStats,
    VideoCounts,
    Waits,
    filled,
    videos_of,
)
from bot.store.engine import Connection
from bot.store.schema import COST_IS_HELD, IS_ACTIVE, NOBODY, daily_totals, jobs, ledger
from bot.store.types import StorableText, Usd

TOP = 5
"""How many members are listed."""

_CHUNK = 500
"""How many lines of an export are read at a time."""

_LINE_COLUMNS = ("id", "created_at", "user_id", "state", "failure_reason", "resolution", "estimated_cost_usd")
_DAY_S = 86_400

_DELIVERED_AT = case((jobs.c.state == JobState.DELIVERED, jobs.c.state_changed_at))
"""When the video was posted; NULL without one."""


async def gather(connection: Connection, guild_id: int, span: Span, budget: BudgetUse) -> UsageStats:
    """The server's statistics over the span."""
    videos: defaultdict[date, VideoCounts] = defaultdict(VideoCounts)
    failures: Counter[FailureReason] = Counter()
    for row in await connection.execute(_counts_query(connection, guild_id, span)):
        videos[date.fromisoformat(row.day)] += videos_of(JobState(row.state), row.number)
        if row.failure_reason is not None:
            failures[FailureReason(row.failure_reason)] += row.number
    usd = await _usd(connection, guild_id, span)
    reserved = await _reserved(connection, guild_id, span)
    known = {
        day: Day(day, videos[day], usd.get(day, Decimal(0)), reserved.get(day, Decimal(0)))
        for day in videos.keys() | usd.keys()
    }
    return UsageStats(
        videos=sum(videos.values(), VideoCounts()),
        failures=failures,
        members=await _members(connection, guild_id, span),
        top=await _top(connection, guild_id, span),
        in_queue=await _waits(connection, guild_id, span, _seconds(connection, jobs.c.submitted_at)),
        to_video=await _waits(connection, guild_id, span, _seconds(connection, _DELIVERED_AT)),
        days=filled(span, known),
        budget=budget,
    )


async def lines(
    connection: Connection, guild_id: int, span: Span, limit: int
) -> AsyncGenerator[list[JobLine], None]:
    """The newest `limit` jobs of the span, newest first, in chunks."""
    spent = (
        select(func.sum(ledger.c.usd, type_=Usd)).where(ledger.c.job_id == jobs.c.id).correlate(jobs)
    ).scalar_subquery()
    query = (
        select(
            *(jobs.c[name] for name in _LINE_COLUMNS),
            _seconds(connection, jobs.c.submitted_at).label("in_queue_s"),
            _seconds(connection, _DELIVERED_AT).label("to_video_s"),
            spent.label("usd"),
        )
        .where(_of_jobs(guild_id, span))
        .order_by(jobs.c.created_at.desc(), jobs.c.id)
        .limit(limit)
    )
    async with connection.stream(query) as result:
        async for rows in result.partitions(_CHUNK):
            yield [_line_of(row) for row in rows]


def _line_of(row: Any) -> JobLine:
    return JobLine(
        id=row.id,
        created_at=row.created_at,
        user_id=row.user_id,
        state=JobState(row.state),
        failure=row.failure_reason,
        resolution=Resolution(row.resolution),
        in_queue_s=row.in_queue_s,
        to_video_s=row.to_video_s,
        reserved_usd=row.estimated_cost_usd,
        usd=row.usd or Decimal(0),
    )


def _of_jobs(guild_id: int, span: Span) -> ColumnElement[bool]:
    return and_(jobs.c.guild_id == guild_id, *_within(span, jobs.c.created_at))


def _within(span: Span, moment: ColumnElement[datetime]) -> list[ColumnElement[bool]]:
    ends = moment < _midnight(span.last + timedelta(days=1))
    return [ends] if span.first is None else [moment >= _midnight(span.first), ends]


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)


def _day(connection: Connection, moment: ColumnElement[datetime]) -> ColumnElement[Any]:
    """The UTC day as text: `2026-01-31`."""
    if connection.dialect.name == "sqlite":
        return func.substr(type_coerce(moment, StorableText), 1, 10)
    return func.to_char(func.timezone("UTC", moment), "YYYY-MM-DD")


def _seconds(connection: Connection, end: ColumnElement[Any]) -> ColumnElement[Any]:
    """Seconds from a job's request to `end`, NULL without one; at least zero, in case clocks disagree."""
    start = jobs.c.created_at
    if connection.dialect.name == "sqlite":
        days = func.julianday(type_coerce(end, StorableText)) - func.julianday(type_coerce(start, StorableText))
        seconds: ColumnElement[Any] = type_coerce(days * _DAY_S, Double)
    else:
        seconds = cast(extract("epoch", end - start), Double)
    return case((seconds < 0, 0.0), else_=seconds)


def _counts_query(connection: Connection, guild_id: int, span: Span) -> Select[Any]:
    day = _day(connection, jobs.c.created_at).label("day")
    return (
        select(day, jobs.c.state, jobs.c.failure_reason, func.count().label("number"))
        .where(_of_jobs(guild_id, span))
        .group_by("day", jobs.c.state, jobs.c.failure_reason)
    )


async def _usd(connection: Connection, guild_id: int, span: Span) -> Mapping[date, Decimal]:
    """The ledger's daily amounts, which budgets are checked against."""
    query = select(daily_totals.c.day, daily_totals.c.usd).where(
        daily_totals.c.guild_id == guild_id, daily_totals.c.day <= span.last
    )
    if span.first is not None:
        query = query.where(daily_totals.c.day >= span.first)
    return {row.day: row.usd for row in await connection.execute(query) if row.usd}


async def _reserved(connection: Connection, guild_id: int, span: Span) -> Mapping[date, Decimal]:
    """The part of it that is only reserved: for jobs in progress, and for ended ones whose cost is unknown."""
    query = (
        select(_day(connection, jobs.c.created_at).label("day"), func.sum(ledger.c.usd, type_=Usd).label("usd"))
        .join(ledger, ledger.c.job_id == jobs.c.id)
        .where(or_(IS_ACTIVE, COST_IS_HELD), _of_jobs(guild_id, span), jobs.c.cost_usd.is_(None))
        .group_by("day")
    )
    return {date.fromisoformat(row.day): row.usd for row in await connection.execute(query)}


async def _members(connection: Connection, guild_id: int, span: Span) -> int:
    query = select(func.count(jobs.c.user_id.distinct())).where(_of_jobs(guild_id, span), jobs.c.user_id != NOBODY)
    return (await connection.execute(query)).scalar_one()


async def _top(connection: Connection, guild_id: int, span: Span) -> tuple[MemberUse, ...]:
    asked = func.count().label("asked")
    delivered = func.count(case((jobs.c.state == JobState.DELIVERED, 1))).label("delivered")
    query = (
        select(jobs.c.user_id, asked, delivered)
        .where(_of_jobs(guild_id, span), jobs.c.user_id != NOBODY)
        .group_by(jobs.c.user_id)
        .order_by(asked.desc(), jobs.c.user_id)
        .limit(TOP)
    )
    rows = (await connection.execute(query)).all()
    usd_query = (
        select(ledger.c.user_id, func.sum(ledger.c.usd, type_=Usd).label("usd"))
        .where(
            ledger.c.guild_id == guild_id,
            ledger.c.user_id.in_([row.user_id for row in rows]),
            *_within(span, ledger.c.effective_at),
        )
        .group_by(ledger.c.user_id)
    )
    usd = {row.user_id: row.usd for row in await connection.execute(usd_query)}
    return tuple(
        MemberUse(row.user_id, row.asked, row.delivered, usd.get(row.user_id, Decimal(0))) for row in rows
    )


async def _waits(connection: Connection, guild_id: int, span: Span, seconds: ColumnElement[Any]) -> Waits | None:
    """Median and 95th percentile by nearest rank; None without data."""
    timed = select(seconds.label("s")).where(_of_jobs(guild_id, span)).subquery()
    known = timed.c.s.is_not(None)
    count = (await connection.execute(select(func.count()).select_from(timed).where(known))).scalar_one()
    if not count:
        return None
    in_order = select(timed.c.s).where(known).order_by(timed.c.s).limit(1)
    # The zero-based rank of a percentage, in integers: ceil(count * share / 100) - 1.
    ranks = ((count * share + 99) // 100 - 1 for share in (50, 95))
    median_s, p95_s = [(await connection.execute(in_order.offset(rank))).scalar_one() for rank in ranks]
    return Waits(median_s, p95_s)
