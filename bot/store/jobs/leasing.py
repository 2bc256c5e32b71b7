"""Claims jobs: finds rows that are due and puts them under a lease, inside the caller's transaction.

A lease is a token and an expiry. Every write about a job must present the token. A claim leaves `due_at` alone, so
a row whose lease expires is due again; holders renew while they work, so leases can be short. A time further ahead
than anything here ever sets was written before the clock was set back, and counts as past.

Leases go by `lease_now`, from `Database.lease_time`: a worker must not take another for dead because their clocks
differ. Everything else goes by `now`, the time of the worker that asks.
"""

import secrets
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, case, false, func, literal, not_, or_, select, update

from bot.domain.guilds import Access, Budget
from bot.domain.jobs import Job, JobState
from bot.domain.models import Catalog
from bot.domain.provider_limits import PACE_WAIT_MAX, ProviderLimits
from bot.store.bulk import IDS, is_among
from bot.store.engine import Connection
from bot.store.jobs import due, submission_gate
from bot.store.jobs.due import ANYTHING, DueFor, Times
from bot.store.jobs.rows import JOB_COLUMNS, count_jobs, job_of, read_job, select_jobs, state_columns
from bot.store.money import ledger
from bot.store.schema import AWAITS_POLL, AWAITS_STAGE, IS_ACTIVE, guilds, jobs, notifications
from bot.store.types import UtcDateTime

_HOLDS_A_SLOT = and_(IS_ACTIVE, jobs.c.state.in_((JobState.SUBMITTING, JobState.RUNNING)))
"""Jobs that occupy one of their provider's slots."""

BOT_REMOVED = jobs.c.guild_id.in_(select(guilds.c.id).where(guilds.c.left_at.is_not(None)))
"""Jobs of servers that removed the bot."""

BLOCKED = jobs.c.guild_id.in_(select(guilds.c.id).where(guilds.c.access == Access.BLOCKED))
"""Jobs of servers that the operator blocked."""

_WAITING_FOR_A_SLOT = and_(
    IS_ACTIVE,
    jobs.c.state == JobState.QUEUED,
    # A queued row that is due must have its status card posted first.
    jobs.c.due_at.is_(None),
    not_(jobs.c.cancel_requested),
    # They get cancelled, unless the process died before that.
    not_(BOT_REMOVED),
    not_(BLOCKED),
)


def next_in_line(*where: ColumnElement[bool]) -> Select[Any]:
    """The next of the jobs that match to submit: of the member with the fewest slots, the oldest."""
    holding = (
        select(jobs.c.user_id, func.count().label("slots"))
        .where(_HOLDS_A_SLOT)
        .group_by(jobs.c.user_id)
        .subquery()
    )
    return (
        select_jobs()
        .outerjoin(holding, holding.c.user_id == jobs.c.user_id)
        .where(_WAITING_FOR_A_SLOT, *where)
        .order_by(func.coalesce(holding.c.slots, 0), jobs.c.created_at, jobs.c.id)
        .limit(1)
    )


async def claim_due(
    connection: Connection,
    times: Times,
    limit: int,
    leases: Mapping[JobState, timedelta],
    held: Collection[Job],
    kinds: Collection[DueFor] = ANYTHING,
) -> list[Job]:
    """Puts up to `limit` due rows under a lease; skips rows that another process is claiming."""
    lease = {
        "lease_token": _new_token(),
        "lease_until": _lease_ends(times.lease_now, leases),
        "claim_count": jobs.c.claim_count + 1,
    }
    # Suspects first, or the trusted jobs could always fill the limit.
    suspects = (await due.suspects(connection, kinds, times, held))[:limit]
    found = await _claim_rows(connection, suspects, times, len(suspects), lease)
    rest = limit - len(found)
    line = await due.in_turn(connection, kinds, times, rest, held) if rest else []
    return found + await _claim_rows(connection, line, times, rest, lease)


async def _claim_rows(
    connection: Connection, line: Sequence[str], times: Times, limit: int, lease: Mapping[str, Any]
) -> list[Job]:
    """Writes the lease into the first rows of the line that nobody else has locked, if they are still due."""
    found: list[Job] = []
    while line and len(found) < limit:
        ids, line = line[: limit - len(found)], line[limit - len(found) :]
        of_line = is_among(jobs.c.id, connection.dialect.name)
        unlocked = select(jobs.c.id).where(of_line, times.is_due).with_for_update(skip_locked=True)
        claim = update(jobs).where(jobs.c.id.in_(unlocked)).values(lease).returning(*JOB_COLUMNS)
        rows = (await connection.execute(claim, {IDS: ids})).all()
        claimed = {row.id: job_of(row) for row in rows}
        found += [claimed[job_id] for job_id in ids if job_id in claimed]
    return found


def _lease_ends(lease_now: datetime, leases: Mapping[JobState, timedelta]) -> ColumnElement[datetime]:
    """When a lease ends that begins now, by the state of the job."""
    ends = {state: literal(lease_now + lease, UtcDateTime) for state, lease in leases.items()}
    return case(ends, value=jobs.c.state)


async def claim_queued(
    connection: Connection,
    now: datetime,
    lease_now: datetime,
    limits: ProviderLimits,
    catalog: Catalog,
    lease: timedelta,
    others: frozenset[str] = frozenset(),
) -> Job | None:
    """Moves the next job that this provider can make to `submitting` under a lease, if its limits allow that.

    others: models that this provider must not make, because they wait for another one.
    """
    provider = limits.provider
    # The lock on the gate allows one such claim at a time, so that the counts of what runs there stay true.
    gate = await submission_gate.get_gate(connection, provider, lock=True)
    if gate.next_submission_at(now) > now or not await _has_free_slot(connection, gate, limits):
        return None
    suits = await _suits(connection, limits, catalog, others, now)
    found = await connection.execute(next_in_line(*suits))
    row = found.one_or_none()
    if row is None:
        return None
    job = job_of(row)
    lease_columns = {"lease_token": _new_token(), "lease_until": lease_now + lease, "claim_count": 1}
    change = update(jobs).where(jobs.c.id == job.id, _WAITING_FOR_A_SLOT)
    columns = state_columns(JobState.SUBMITTING, now) | lease_columns | {"provider": provider}
    if (await connection.execute(change.values(columns))).rowcount == 0:
        # Cancelled just now; the caller comes back for the next one.
        return None
    await ledger.move_to_provider(connection, job, provider)
    await submission_gate.record_submission(connection, provider, now + limits.submit_interval)
    return await read_job(connection, job.id)


async def _suits(
    connection: Connection, limits: ProviderLimits, catalog: Catalog, others: frozenset[str], now: datetime
) -> list[ColumnElement[bool]]:
    """What is true of the queued jobs that this provider can make, within its budget."""
    suits = [
        jobs.c.model.in_(sorted(limits.models - others)),
        or_(jobs.c.refused_by.is_(None), jobs.c.refused_by.not_like(f"%{limits.provider}%")),
    ]
    if limits.budget == Budget():
        return suits
    spent = await ledger.spent_at(connection, limits.provider, now)
    fitting = [
        and_(
            jobs.c.model == kind.model, jobs.c.resolution == kind.resolution, jobs.c.duration_s == kind.duration_s
        )
        for kind in catalog.kinds()
        if kind.provider is limits.provider
        and limits.has_room(spent, await ledger.expected_price(connection, kind, catalog.estimate(kind)))
    ]
    return [*suits, or_(false(), *fitting)]


async def renew(
    connection: Connection, held: Collection[Job], lease_now: datetime, leases: Mapping[JobState, timedelta]
) -> None:
    """Extends the leases of these jobs. The caller has locked their rows."""
    change = update(jobs).where(is_among(jobs.c.id, connection.dialect.name))
    change = change.values(lease_until=_lease_ends(lease_now, leases))
    await connection.execute(change, {IDS: [job.id for job in held]})


async def end_all(connection: Connection) -> int:
    """Ends every lease; returns how many jobs had one. Only for when no holder can be alive.

    Claim counts stay: each of these jobs was held by a process that died.
    """
    freed = 0
    for is_due in (AWAITS_POLL, AWAITS_STAGE):  # a job with a lease is due
        change = update(jobs).where(is_due, jobs.c.lease_token.is_not(None))
        freed += (await connection.execute(change.values(lease_token=None, lease_until=None))).rowcount
    # A notification keeps its token, the nonce under which its message may have been sent.
    await connection.execute(
        update(notifications).where(notifications.c.lease_until.is_not(None)).values(lease_until=None)
    )
    return freed


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


async def _has_free_slot(connection: Connection, gate: submission_gate.Gate, limits: ProviderLimits) -> bool:
    """Whether a slot is free; after failures, jobs are submitted one at a time."""
    of_provider = jobs.c.provider == limits.provider
    if await count_jobs(connection, _HOLDS_A_SLOT, of_provider) >= limits.max_running:
        return False
    submitting = (IS_ACTIVE, jobs.c.state == JobState.SUBMITTING, of_provider)
    return gate.failures == 0 or not await count_jobs(connection, *submitting)


async def models_that_wait(connection: Connection, limits: ProviderLimits, now: datetime) -> frozenset[str]:
    """The models that wait for this provider's next submission, which is due in a moment."""
    gate = await submission_gate.get_gate(connection, limits.provider)
    if gate.is_closed(now) or not now < gate.next_submission_at(now) <= now + PACE_WAIT_MAX:
        return frozenset()
    return limits.models if await _has_free_slot(connection, gate, limits) else frozenset()


async def next_due_at(
    connection: Connection,
    times: Times,
    providers: Sequence[ProviderLimits],
    catalog: Catalog,
    kinds: Collection[DueFor] = ANYTHING,
) -> datetime | None:
    """The earliest time at which a claim would find a job, by the worker's clock; None if none waits.

    Where some are due already, the ends of leases are not looked for.
    """
    moments = [await due.first_due_at(connection, kind, times) for kind in kinds]
    if DueFor.STAGE in kinds and await is_any_waiting(connection):
        for limits in providers:
            moments.append(await _next_submission_at(connection, limits, catalog, times.now))
    first = min((moment for moment in moments if moment is not None), default=None)
    if first is not None and first <= times.now:
        return first
    ends = [await due.first_lease_end(connection, kind, times) for kind in kinds]
    return min((moment for moment in (first, *ends) if moment is not None), default=None)


async def _next_submission_at(
    connection: Connection, limits: ProviderLimits, catalog: Catalog, now: datetime
) -> datetime | None:
    """When a job may be submitted to this provider; None if none waits for that, or no slot is free."""
    gate = await submission_gate.get_gate(connection, limits.provider)
    if not await _has_free_slot(connection, gate, limits):
        return None
    suits = await _suits(connection, limits, catalog, frozenset(), now)
    is_any = await connection.scalar(select(jobs.c.id).where(_WAITING_FOR_A_SLOT, *suits).limit(1)) is not None
    return gate.next_submission_at(now) if is_any else None


async def is_any_waiting(connection: Connection) -> bool:
    """Whether any job is queued that may be submitted."""
    return await connection.scalar(select(jobs.c.id).where(_WAITING_FOR_A_SLOT).limit(1)) is not None


def _new_token() -> str:
    return secrets.token_urlsafe(12)
