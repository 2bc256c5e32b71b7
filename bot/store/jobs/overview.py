"""A server's jobs as its admins see them, and what only an admin may do to one.

Functions run in the caller's transaction. Each takes the server's id: another server's job is treated as unknown.
Those that write lock the job's row before the `operator_state` row: see `bot.store.jobs.transitions`.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, TextClause, and_, select, update

from bot.domain.jobs import CancelResult, FailureCause, FailureReason, Job
from bot.store.engine import Connection
from bot.store.jobs import submissions, transitions
from bot.store.jobs.rows import count_jobs, fetch_job, job_of, select_jobs
from bot.store.money import ledger
from bot.store.schema import IS_ACTIVE, IS_FAILED, jobs


@dataclass(frozen=True, slots=True)
class ActiveJob:
    """An active job. place: its place in the queue across all servers, 1 for the next; None if not queued."""

    job: Job
    place: int | None = None


async def active(connection: Connection, guild_id: int, limit: int) -> list[ActiveJob]:
    """The server's active jobs, oldest first."""
    # Of all waiting jobs, at this moment.
    line = await connection.scalars(submissions.next_in_line().with_only_columns(jobs.c.id).limit(None))
    places = {job_id: place for place, job_id in enumerate(line, start=1)}
    # Apart, or SQLite would rather read the server's whole history in order than sort these few.
    theirs = select(jobs.c.id).where(IS_ACTIVE, jobs.c.guild_id == guild_id)
    query = select_jobs().where(jobs.c.id.in_(theirs))
    rows = await connection.execute(query.order_by(jobs.c.created_at, jobs.c.id).limit(limit))
    return [ActiveJob(job_of(row), places.get(row.id)) for row in rows]


async def count_active(connection: Connection, guild_id: int, user_id: int | None = None) -> int:
    """How many active jobs the server has, or one of its members."""
    theirs = [] if user_id is None else [jobs.c.user_id == user_id]
    return await count_jobs(connection, IS_ACTIVE, jobs.c.guild_id == guild_id, *theirs)


async def failed(connection: Connection, guild_id: int, since: datetime, limit: int) -> list[Job]:
    """The server's jobs that failed since then, newest first."""
    return await _latest(
        connection, limit, IS_FAILED, jobs.c.guild_id == guild_id, jobs.c.state_changed_at > since
    )


async def retryable(
    connection: Connection, guild_id: int, now: datetime, task_lifetime: timedelta, limit: int
) -> list[Job]:
    """Jobs that wait after a failed attempt, and failed jobs whose task can still be polled.

    What the upstream's moderation rejected isn't among them: it would be rejected again.
    """
    here = jobs.c.guild_id == guild_id
    waiting = await _latest(connection, limit, here, _waits_for_retry(now))
    since = now - task_lifetime
    has_task = and_(
        jobs.c.upstream_id.is_not(None),
        jobs.c.submitted_at > since,
        jobs.c.failure_reason != FailureReason.REJECTED,
    )
    # No job fails before its submission; so only the latest failures need to be read.
    failed_since = await _latest(connection, limit, IS_FAILED, here, jobs.c.state_changed_at > since, has_task)
    found = sorted([*waiting, *failed_since], key=lambda job: job.id)
    return sorted(found, key=lambda job: job.state_changed_at, reverse=True)[:limit]


async def _latest(connection: Connection, limit: int, *where: ColumnElement[bool] | TextClause) -> list[Job]:
    """The jobs that match, those that changed last first."""
    query = select_jobs().where(*where).order_by(jobs.c.state_changed_at.desc(), jobs.c.id).limit(limit)
    return [job_of(row) for row in await connection.execute(query)]


async def locked(connection: Connection, guild_id: int, job_id: str) -> Job | None:
    """The server's job, locked until the transaction ends."""
    return await fetch_job(connection, jobs.c.id == job_id, jobs.c.guild_id == guild_id, lock=True)


async def cancel(
    connection: Connection, job: Job, now: datetime, *, even_if_paid: bool, actor_id: int
) -> CancelResult:
    """Cancels a locked job for an admin.

    A job in progress isn't posted, and no longer counts for its member, who didn't ask for that. Its cost stays in
    the ledger, unless its task is stopped in time.
    """
    why = FailureCause.CANCELLED_BY_ADMIN
    result = await transitions.cancel(
        connection, job.id, now, even_if_paid=even_if_paid, actor_id=actor_id, why=why
    )
    if result is CancelResult.FLAGGED and job.charged:
        await connection.execute(update(jobs).where(jobs.c.id == job.id).values(charged=False))
        await ledger.settle(connection, replace(job, charged=False), now, actor_id=actor_id)
    return result


async def make_due_now(connection: Connection, job: Job, now: datetime) -> bool:
    """Makes a locked job that waits after a failed attempt due now; False if it isn't waiting.

    A running job is due already: only due jobs are claimed.
    """
    change = update(jobs).where(jobs.c.id == job.id, _waits_for_retry(now)).values(due_at=now)
    return (await connection.execute(change)).rowcount == 1


def _waits_for_retry(now: datetime) -> ColumnElement[bool]:
    return and_(IS_ACTIVE, jobs.c.attempts > 0, jobs.c.due_at > now)
