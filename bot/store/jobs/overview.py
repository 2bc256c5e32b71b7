"""Reads a server's jobs for its admins, and does to one of them what only an admin may.

Functions work inside the caller's transaction. Each takes the server: another server's job is as good as unknown.
Those that change something take the job's row first, before the house's: see `bot.store.jobs.transitions`.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.jobs import CancelResult, FailureCause, Job, JobState
from bot.store.jobs import leasing, transitions
from bot.store.jobs.rows import fetch_job, job_of, select_jobs
from bot.store.money import ledger
from bot.store.schema import IS_ACTIVE, jobs


@dataclass(frozen=True, slots=True)
class ActiveJob:
    """A job that is not over. place: in the line of all servers, 1 for the next; None for one not in it."""

    job: Job
    place: int | None = None


async def active(connection: AsyncConnection, guild_id: int, limit: int) -> list[ActiveJob]:
    """The server's jobs that are not over, oldest first."""
    places = await _places(connection)
    query = select_jobs().where(_active_in(guild_id)).order_by(jobs.c.created_at, jobs.c.id).limit(limit)
    found = [job_of(row) for row in await connection.execute(query)]
    return [ActiveJob(job, places.get(job.id)) for job in found]


async def count_active(connection: AsyncConnection, guild_id: int) -> int:
    """How many jobs of the server are not over."""
    query = select(func.count()).select_from(jobs).where(_active_in(guild_id))
    return (await connection.execute(query)).scalar_one()


async def failed(connection: AsyncConnection, guild_id: int, since: datetime, limit: int) -> list[Job]:
    """The server's jobs that failed since then, the latest first."""
    query = (
        select_jobs()
        .where(jobs.c.guild_id == guild_id, jobs.c.state == JobState.FAILED, jobs.c.state_changed_at > since)
        .order_by(jobs.c.state_changed_at.desc(), jobs.c.id)
        .limit(limit)
    )
    return [job_of(row) for row in await connection.execute(query)]


async def retryable(
    connection: AsyncConnection, guild_id: int, now: datetime, task_lifetime: timedelta, limit: int
) -> list[Job]:
    """The server's jobs that wait after a failed attempt, and those that failed with a task to be asked about."""
    has_task = and_(
        jobs.c.state == JobState.FAILED,
        jobs.c.upstream_id.is_not(None),
        jobs.c.submitted_at > now - task_lifetime,
    )
    waits = and_(IS_ACTIVE, jobs.c.attempts > 0, jobs.c.due_at > now)
    query = (
        select_jobs()
        .where(jobs.c.guild_id == guild_id, or_(waits, has_task))
        .order_by(jobs.c.state_changed_at.desc(), jobs.c.id)
        .limit(limit)
    )
    return [job_of(row) for row in await connection.execute(query)]


async def locked(connection: AsyncConnection, guild_id: int, job_id: str) -> Job | None:
    """The server's job, nobody else's to change until the transaction ends."""
    return await fetch_job(connection, jobs.c.id == job_id, jobs.c.guild_id == guild_id, lock=True)


async def cancel(connection: AsyncConnection, job: Job, now: datetime, *, paid_too: bool, by: int) -> CancelResult:
    """Cancels a locked job for an admin.

    One that is under way is paid for: it is not posted, and no longer counts for its member, who did not ask
    for that. What it costs stays in the ledger.
    """
    why = FailureCause.CANCELLED_BY_ADMIN
    result = await transitions.cancel(connection, job.id, now, paid_too=paid_too, by=by, why=why)
    if result is CancelResult.FLAGGED and job.charged:
        await connection.execute(update(jobs).where(jobs.c.id == job.id).values(charged=False))
        await ledger.settle(connection, replace(job, charged=False), now, by=by)
    return result


async def make_due_now(connection: AsyncConnection, job: Job, now: datetime) -> bool:
    """Makes a locked job due now that waits after a failed attempt; False where it does not.

    One that is being run is due already: nobody claims what is not.
    """
    waits = and_(IS_ACTIVE, jobs.c.attempts > 0, jobs.c.due_at > now)
    change = update(jobs).where(jobs.c.id == job.id, waits).values(due_at=now)
    return (await connection.execute(change)).rowcount == 1


def _active_in(guild_id: int) -> ColumnElement[bool]:
    return and_(IS_ACTIVE, jobs.c.guild_id == guild_id)


async def _places(connection: AsyncConnection) -> dict[str, int]:
    """The places of all waiting jobs in the line, as it stands at this moment."""
    line = leasing.next_in_line().with_only_columns(jobs.c.id).limit(None)
    ids = (await connection.execute(line)).scalars()
    return {job_id: place for place, job_id in enumerate(ids, start=1)}
