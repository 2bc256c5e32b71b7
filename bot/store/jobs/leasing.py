"""Who works on what: finds the rows that want something done, and puts them under a lease.

A lease is a token and a time. Whoever writes about a job must bring its token; when the time is over the row
is due again, because a claim leaves `due_at` where it was. The holder renews it while it works, so the time can be
short. A moment that lies further ahead than anything here ever sets one was written before the clock was set
back: it counts as come. Functions here work inside the caller's transaction.
"""

import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, func, not_, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.jobs import Job, JobState
from bot.store.jobs import submission_gate
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.jobs.transitions import LONGEST_PAUSE
from bot.store.schema import IS_ACTIVE, jobs, notifications

HOLDING_A_SLOT = (JobState.SUBMITTING, JobState.RUNNING)
"""The states in which a job takes one of the upstream's slots."""

_HOLDS_A_SLOT = and_(IS_ACTIVE, jobs.c.state.in_(HOLDING_A_SLOT))
_WAITING_FOR_A_SLOT = and_(
    IS_ACTIVE,
    jobs.c.state == JobState.QUEUED,
    # A queued row that is due has its status message to be shown first.
    jobs.c.due_at.is_(None),
    not_(jobs.c.cancel_requested),
)


SUSPECT_CLAIMS = 2
"""A job whose workers died over it this often may be what kills them. It is run alone among its like."""

GUILD_STEPS = 8
"""A server with so many steps under way is given no more before they end: those of a busy channel take long."""


LONGEST_LEASE = timedelta(minutes=10)
"""No claim holds longer without being renewed."""


def due_rows(now: datetime, limit: int, *, expired: bool = True) -> Select[Any]:
    """Rows that are due and that nobody holds, from each server in turn; of one server, the longest due first.

    expired: those too whose holder let its lease run out.
    """
    free: ColumnElement[bool] = jobs.c.lease_until.is_(None)
    if expired:
        free = or_(free, jobs.c.lease_until <= now, jobs.c.lease_until > now + LONGEST_LEASE)
    is_due = and_(or_(jobs.c.due_at <= now, _misdated(now)), free)
    turn = func.row_number().over(partition_by=jobs.c.guild_id, order_by=jobs.c.due_at)
    line = select(jobs.c.id, turn.label("turn")).where(is_due).subquery()
    return (
        select_jobs()
        .join(line, line.c.id == jobs.c.id)
        .where(is_due)  # once more of the row itself: it is looked at again once its lock is had
        .order_by(line.c.turn, jobs.c.due_at)
        .limit(limit)
    )


def _misdated(now: datetime) -> ColumnElement[bool]:
    """Due at a moment that nobody sets, but for a question to moderators, which waits for its day to end."""
    return and_(jobs.c.due_at > now + LONGEST_PAUSE, jobs.c.state != JobState.AWAITING)


def _trusted() -> ColumnElement[bool]:
    return jobs.c.claim_count < SUSPECT_CLAIMS


def next_in_line() -> Select[Any]:
    """The job whose turn it is: the member who holds the fewest slots, then the oldest."""
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
    connection: AsyncConnection,
    now: datetime,
    limit: int,
    leases: Mapping[JobState, timedelta],
    held: Collection[Job],
    *,
    expired: bool,
) -> list[Job]:
    """Puts up to `limit` due rows under a lease; another claimer's rows are stepped over, not waited for."""
    steps = Counter(job.guild_id for job in held)
    busy = [guild_id for guild_id, count in steps.items() if count >= GUILD_STEPS]
    rest = and_(jobs.c.id.not_in([job.id for job in held]), jobs.c.guild_id.not_in(busy))
    found: list[Job] = []
    if not any(job.claim_count > SUSPECT_CLAIMS for job in held):
        # Before the others, who may always be enough to fill what there is room for.
        found = await _hold(connection, due_rows(now, 1, expired=expired).where(rest, not_(_trusted())))
    more = due_rows(now, limit - len(found), expired=expired).where(rest, _trusted())
    found += await _hold(connection, more)
    token = _new_token()
    for state in dict.fromkeys(job.state for job in found):
        ids = [job.id for job in found if job.state is state]
        await connection.execute(
            update(jobs)
            .where(jobs.c.id.in_(ids))
            .values(lease_token=token, lease_until=now + leases[state], claim_count=jobs.c.claim_count + 1)
        )
    return [replace(job, lease_token=token, claim_count=job.claim_count + 1) for job in found]


async def _hold(connection: AsyncConnection, query: Select[Any]) -> list[Job]:
    # Of the jobs alone: PostgreSQL locks no rows of a query over a window.
    rows = await connection.execute(query.with_for_update(of=jobs, skip_locked=True))
    return [job_of(row) for row in rows]


async def claim_queued(
    connection: AsyncConnection, now: datetime, max_running: int, pause: timedelta, lease: timedelta
) -> Job | None:
    """Moves the next job to `submitting` under a lease, where the gate, the rate and the slots allow it."""
    # The lock on the gate makes this the only claim of its kind: the count below stays true.
    entry = await submission_gate.look(connection, lock=True)
    if entry.next_pass_at(now) > now or not await _has_place(connection, entry, max_running):
        return None
    row = (await connection.execute(next_in_line())).one_or_none()
    if row is None:
        return None
    job = replace(
        job_of(row),
        state=JobState.SUBMITTING,
        state_changed_at=now,
        due_at=now,
        attempts=0,
        claim_count=1,
        lease_token=_new_token(),
    )
    moved = await connection.execute(
        update(jobs)
        .where(jobs.c.id == job.id, _WAITING_FOR_A_SLOT)
        .values(
            state=job.state,
            state_changed_at=job.state_changed_at,
            due_at=job.due_at,
            attempts=job.attempts,
            claim_count=job.claim_count,
            lease_token=job.lease_token,
            lease_until=now + lease,
        )
    )
    if moved.rowcount == 0:
        # Cancelled this very moment; the caller comes back for the next one.
        return None
    await submission_gate.count_pass(connection, now + pause)
    return job


async def renew(
    connection: AsyncConnection, held: Collection[Job], now: datetime, leases: Mapping[JobState, timedelta]
) -> None:
    """Lets the leases of these jobs begin anew. The caller holds their rows."""
    for state in dict.fromkeys(job.state for job in held):
        ids = [job.id for job in held if job.state is state]
        change = update(jobs).where(jobs.c.id.in_(ids)).values(lease_until=now + leases[state])
        await connection.execute(change)


async def free_all(connection: AsyncConnection) -> int:
    """Ends every lease there is; how many jobs were held. Only where it is certain that no holder lives.

    Claims stay counted: each of these jobs was in the hands of a process that died.
    """
    freed = await connection.execute(
        update(jobs).where(jobs.c.lease_token.is_not(None)).values(lease_token=None, lease_until=None)
    )
    # A notice keeps its token: it is the nonce under which the message may have been sent already.
    await connection.execute(
        update(notifications).where(notifications.c.lease_until.is_not(None)).values(lease_until=None)
    )
    return freed.rowcount


async def release(connection: AsyncConnection, job_ids: Iterable[str]) -> None:
    """Takes the leases off. The broken-off step counts as an attempt, not as a worker that died of the job.

    A job that was being handed in keeps its claim: that is what says that it must not be handed in again.
    """
    handed_in = jobs.c.state == JobState.SUBMITTING
    await connection.execute(
        update(jobs)
        .where(jobs.c.id.in_(job_ids))
        .values(
            lease_token=None,
            lease_until=None,
            attempts=jobs.c.attempts + 1,
            claim_count=case((handed_in, jobs.c.claim_count), else_=0),
        )
    )


async def slots_taken(connection: AsyncConnection) -> int:
    """How many jobs hold a slot of the upstream's."""
    query = select(func.count()).select_from(jobs).where(_HOLDS_A_SLOT)
    return (await connection.execute(query)).scalar_one()


async def _has_place(connection: AsyncConnection, entry: submission_gate.Gate, max_running: int) -> bool:
    """Whether there is a slot for one more; while the upstream is in doubt, jobs are handed in one by one."""
    if await slots_taken(connection) >= max_running:
        return False
    if entry.failures == 0:
        return True
    query = select(jobs.c.id).where(IS_ACTIVE, jobs.c.state == JobState.SUBMITTING).limit(1)
    return (await connection.execute(query)).one_or_none() is None


async def next_due_at(connection: AsyncConnection, now: datetime, max_running: int) -> datetime | None:
    """The earliest moment at which a claim would find something; None where nothing waits."""
    free_at = case(
        (_misdated(now), now),
        (jobs.c.lease_until > now + LONGEST_LEASE, now),
        (jobs.c.lease_until > jobs.c.due_at, jobs.c.lease_until),
        else_=jobs.c.due_at,
    )
    earliest = select(func.min(free_at)).where(jobs.c.due_at.is_not(None))
    row_at: datetime | None = (await connection.execute(earliest)).scalar_one()
    waiting = (await connection.execute(select(jobs.c.id).where(_WAITING_FOR_A_SLOT).limit(1))).one_or_none()
    entry = await submission_gate.look(connection, lock=False)
    if waiting is None or not await _has_place(connection, entry, max_running):
        return row_at
    turn_at = entry.next_pass_at(now)
    return turn_at if row_at is None else min(row_at, turn_at)


def _new_token() -> str:
    return secrets.token_urlsafe(12)
