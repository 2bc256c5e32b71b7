"""Claims jobs: finds rows that are due and puts them under a lease, inside the caller's transaction.

A lease is a token and an expiry. Every write about a job must present the token. A claim leaves `due_at` alone, so
a row whose lease expires is due again; holders renew while they work, so leases can be short. A time further ahead
than anything here ever sets was written before the clock was set back, and counts as past.

Leases go by `lease_now`, from `Database.lease_time`: a worker must not take another for dead because their clocks
differ. Everything else goes by `now`, the time of the worker that asks.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, case, literal, select, update

from bot.domain.jobs import Job, JobState
from bot.domain.provider_limits import ProviderLimits
from bot.store.bulk import IDS, is_among
from bot.store.engine import Connection
from bot.store.jobs import due, lease_holders, submissions
from bot.store.jobs.due import ANYTHING, DueFor, Times
from bot.store.jobs.rows import JOB_COLUMNS, job_of
from bot.store.schema import AWAITS_POLL, AWAITS_STAGE, jobs, notifications
from bot.store.types import UtcDateTime


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
        "lease_token": lease_holders.new_token(),
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


async def next_due_at(
    connection: Connection,
    times: Times,
    providers: Sequence[ProviderLimits],
    kinds: Collection[DueFor] = ANYTHING,
) -> datetime | None:
    """The earliest time at which a claim would find a job, by the worker's clock; None if none waits.

    Where some are due already, the ends of leases are not looked for.
    """
    moments = [await due.first_due_at(connection, kind, times) for kind in kinds]
    if DueFor.STAGE in kinds:
        moments.append(await submissions.next_at(connection, providers, times.now))
    first = min((moment for moment in moments if moment is not None), default=None)
    if first is not None and first <= times.now:
        return first
    ends = [await due.first_lease_end(connection, kind, times) for kind in kinds]
    return min((moment for moment in (first, *ends) if moment is not None), default=None)
