"""Claims jobs: finds rows that are due and puts them under a lease, inside the caller's transaction.

A lease is a token and an expiry. Every write about a job must present the token. A claim leaves `due_at` alone, so
a row whose lease expires is due again; holders renew while they work, so leases can be short. A time further ahead
than anything here ever sets was written before the clock was set back, and counts as past.

Leases go by `lease_now`, from `Database.lease_time`: a worker must not take another for dead because their clocks
differ. Everything else goes by `now`, the time of the worker that asks.
"""

import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, literal, not_, or_, select, update

from bot.domain.guilds import Access
from bot.domain.jobs import Job, JobState
from bot.store.engine import Connection
from bot.store.jobs import submission_gate
from bot.store.jobs.rows import count_jobs, job_of, read_job, select_jobs, state_columns
from bot.store.jobs.transitions import LONGEST_PAUSE
from bot.store.schema import IS_ACTIVE, guilds, jobs, notifications

_HOLDS_A_SLOT = and_(IS_ACTIVE, jobs.c.state.in_((JobState.SUBMITTING, JobState.RUNNING)))
"""Jobs that occupy one of the upstream's slots."""

BOT_REMOVED = jobs.c.guild_id.in_(select(guilds.c.id).where(guilds.c.left_at.is_not(None)))
"""Jobs of servers that removed the bot."""

BLOCKED = jobs.c.guild_id.in_(select(guilds.c.id).where(guilds.c.access == Access.BLOCKED))
"""Jobs of servers that the operator blocked."""

_WAITING_FOR_A_SLOT = and_(
    IS_ACTIVE,
    jobs.c.state == JobState.QUEUED,
    # A queued row that is due must have its status message posted first.
    jobs.c.due_at.is_(None),
    not_(jobs.c.cancel_requested),
    # They get cancelled, unless the process died before that.
    not_(BOT_REMOVED),
    not_(BLOCKED),
)

SUSPECT_CLAIMS = 2
"""After this many claims without a write, a job may be what kills workers: at most one such runs at a time."""

_TRUSTED = jobs.c.claim_count < SUSPECT_CLAIMS

GUILD_MAX_IN_PROGRESS = 8
"""A server with this many jobs in progress gets no more for now: a rate-limited channel must not starve others."""

LONGEST_LEASE = timedelta(minutes=10)
"""No lease is longer without a renewal."""


def due_rows(now: datetime, lease_now: datetime, limit: int, *, expired: bool = True) -> Select[Any]:
    """Due rows without a lease, from each server in turn; within a server, the longest due first, then the oldest.

    expired: also rows whose lease ran out.
    """
    free: ColumnElement[bool] = jobs.c.lease_until.is_(None)
    if expired:
        free = or_(free, _expired(lease_now))
    is_due = and_(or_(jobs.c.due_at <= now, _misdated(now)), free)
    turn = func.row_number().over(partition_by=jobs.c.guild_id, order_by=(jobs.c.due_at, jobs.c.created_at))
    line = select(jobs.c.id, turn.label("turn")).where(is_due).subquery()
    return (
        select_jobs()
        .join(line, line.c.id == jobs.c.id)
        .where(is_due)  # again, on the row itself: PostgreSQL rechecks this once it has the lock
        .order_by(line.c.turn, jobs.c.due_at)
        .limit(limit)
    )


def _expired(lease_now: datetime) -> ColumnElement[bool]:
    return or_(jobs.c.lease_until <= lease_now, jobs.c.lease_until > lease_now + LONGEST_LEASE)


def _misdated(now: datetime) -> ColumnElement[bool]:
    """Jobs due later than anything here makes a job due. Approvals aren't: they may wait for a day."""
    return and_(jobs.c.due_at > now + LONGEST_PAUSE, jobs.c.state != JobState.AWAITING)


def next_in_line() -> Select[Any]:
    """The next job to submit: of the member with the fewest slots, the oldest."""
    holding = (
        select(jobs.c.user_id, func.count().label("slots"))
        .where(_HOLDS_A_SLOT)
        .group_by(jobs.c.user_id)
        .subquery()
    )
    return (
        select_jobs()
        .outerjoin(holding, holding.c.user_id == jobs.c.user_id)
        .where(_WAITING_FOR_A_SLOT)
        .order_by(func.coalesce(holding.c.slots, 0), jobs.c.created_at, jobs.c.id)
        .limit(1)
    )


async def claim_due(
    connection: Connection,
    now: datetime,
    lease_now: datetime,
    limit: int,
    leases: Mapping[JobState, timedelta],
    held: Collection[Job],
    *,
    expired: bool,
) -> list[Job]:
    """Puts up to `limit` due rows under a lease; skips rows that another process is claiming."""
    in_progress = Counter(job.guild_id for job in held)
    busy = [guild_id for guild_id, count in in_progress.items() if count >= GUILD_MAX_IN_PROGRESS]
    rest = and_(jobs.c.id.not_in([job.id for job in held]), jobs.c.guild_id.not_in(busy))
    found: list[Job] = []
    if not any(job.claim_count > SUSPECT_CLAIMS for job in held):
        # First, or the trusted jobs could always fill the limit.
        suspects = due_rows(now, lease_now, 1, expired=expired).where(rest, not_(_TRUSTED))
        found = await _lock_rows(connection, suspects)
    more = due_rows(now, lease_now, limit - len(found), expired=expired).where(rest, _TRUSTED)
    found += await _lock_rows(connection, more)
    token = _new_token()
    await renew(connection, found, lease_now, leases, lease_token=token, claim_count=jobs.c.claim_count + 1)
    return [replace(job, lease_token=token, claim_count=job.claim_count + 1) for job in found]


async def _lock_rows(connection: Connection, query: Select[Any]) -> list[Job]:
    # Only `jobs`: PostgreSQL can't lock rows of a window query.
    rows = await connection.execute(query.with_for_update(of=jobs, skip_locked=True))
    return [job_of(row) for row in rows]


async def claim_queued(
    connection: Connection,
    now: datetime,
    lease_now: datetime,
    max_running: int,
    pause: timedelta,
    lease: timedelta,
) -> Job | None:
    """Moves the next job to `submitting` under a lease, if gate, rate limit and slots allow it."""
    # The lock on the gate allows one such claim at a time, so the count below stays true.
    gate = await submission_gate.get_gate(connection, lock=True)
    if gate.next_submission_at(now) > now or not await _has_free_slot(connection, gate, max_running):
        return None
    job_id = await connection.scalar(next_in_line().with_only_columns(jobs.c.id))
    if job_id is None:
        return None
    lease_columns = {"lease_token": _new_token(), "lease_until": lease_now + lease, "claim_count": 1}
    change = update(jobs).where(jobs.c.id == job_id, _WAITING_FOR_A_SLOT)
    columns = state_columns(JobState.SUBMITTING, now) | lease_columns
    if (await connection.execute(change.values(columns))).rowcount == 0:
        # Cancelled just now; the caller comes back for the next one.
        return None
    await submission_gate.record_submission(connection, now + pause)
    return await read_job(connection, job_id)


async def renew(
    connection: Connection,
    held: Collection[Job],
    lease_now: datetime,
    leases: Mapping[JobState, timedelta],
    **also: Any,
) -> None:
    """Extends the leases of these jobs. The caller has locked their rows. also: further columns to set."""
    for state in dict.fromkeys(job.state for job in held):
        ids = [job.id for job in held if job.state is state]
        change = update(jobs).where(jobs.c.id.in_(ids)).values(lease_until=lease_now + leases[state], **also)
        await connection.execute(change)


async def end_all(connection: Connection) -> int:
    """Ends every lease; returns how many jobs had one. Only for when no holder can be alive.

    Claim counts stay: each of these jobs was held by a process that died.
    """
    freed = await connection.execute(
        update(jobs).where(jobs.c.lease_token.is_not(None)).values(lease_token=None, lease_until=None)
    )
    # A notification keeps its token, the nonce under which its message may have been sent.
    await connection.execute(
        update(notifications).where(notifications.c.lease_until.is_not(None)).values(lease_until=None)
    )
    return freed.rowcount


async def release(connection: Connection, job_ids: Iterable[str]) -> None:
    """Gives leases back. The interrupted stage counts as an attempt, not as a worker that died.

    A job in submission keeps its claim count, which says that it must not be submitted again.
    """
    submitting = jobs.c.state == JobState.SUBMITTING
    await connection.execute(
        update(jobs)
        .where(jobs.c.id.in_(job_ids))
        .values(
            lease_token=None,
            lease_until=None,
            attempts=jobs.c.attempts + 1,
            claim_count=case((submitting, jobs.c.claim_count), else_=0),
        )
    )


async def _has_free_slot(connection: Connection, gate: submission_gate.Gate, max_running: int) -> bool:
    """Whether a slot is free; after failures, jobs are submitted one at a time."""
    if await count_jobs(connection, _HOLDS_A_SLOT) >= max_running:
        return False
    return gate.failures == 0 or not await count_jobs(connection, IS_ACTIVE, jobs.c.state == JobState.SUBMITTING)


async def next_due_at(
    connection: Connection, now: datetime, lease_now: datetime, max_running: int
) -> datetime | None:
    """The earliest time at which a claim would find a job, by the worker's clock; None if none waits."""
    row_at = await _next_row_at(connection, now, lease_now)
    waiting = (await connection.execute(select(jobs.c.id).where(_WAITING_FOR_A_SLOT).limit(1))).one_or_none()
    gate = await submission_gate.get_gate(connection, lock=False)
    if waiting is None or not await _has_free_slot(connection, gate, max_running):
        return row_at
    turn_at = gate.next_submission_at(now)
    return turn_at if row_at is None else min(row_at, turn_at)


async def _next_row_at(connection: Connection, now: datetime, lease_now: datetime) -> datetime | None:
    is_free = or_(jobs.c.lease_until.is_(None), _expired(lease_now))
    due_at = case((_misdated(now), literal(now, jobs.c.due_at.type)), else_=jobs.c.due_at)
    first_due_at = func.min(case((is_free, due_at)))
    first_lease_until = func.min(case((not_(is_free), jobs.c.lease_until)))
    query = select(first_due_at, first_lease_until).where(jobs.c.due_at.is_not(None))
    due, lease_until = (await connection.execute(query)).one()
    moments: list[datetime] = [] if due is None else [due]
    if lease_until is not None:
        moments.append(lease_until - lease_now + now)
    return min(moments, default=None)


def _new_token() -> str:
    return secrets.token_urlsafe(12)
