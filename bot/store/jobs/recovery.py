"""Resumes failed jobs whose task can still be polled, and closes those whose task was never found.

A resumed job stays uncharged, since its failure refunded it; its expected cost is reserved again, if it was not
still held. A cancelled job is only polled until its cost is known, and stays cancelled. Functions work inside the
caller's transaction and lock the job's row first: the caller must not have locked the operator state.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import and_, func, or_, select, update

from bot.domain.jobs import ENDED, FailureReason, Job, JobState, ProviderName, RecoveryProblem
from bot.domain.ledger import EntryKind
from bot.domain.outcomes import MoveTo
from bot.store.engine import Connection
from bot.store.jobs.rows import fetch_job, job_of, read_job, select_jobs, state_columns
from bot.store.money import ledger
from bot.store.schema import COST_IS_HELD, NOBODY, jobs

_OPEN = frozenset({FailureReason.OUTCOME_UNKNOWN, FailureReason.LOST})
"""Failures after which a paid task may exist that only the upstream's records name."""

NO_ANSWER = and_(jobs.c.state == JobState.FAILED, jobs.c.failure_reason == FailureReason.OUTCOME_UNKNOWN)
"""Jobs whose submission got no response and that the operator has not closed."""

UNRECONCILED = or_(COST_IS_HELD, NO_ANSWER)

_MISNAMED = FailureReason.UPSTREAM_FAILED
"""How a job fails after the operator gave a wrong task id, which the upstream does not know."""


async def resume_failed_job(
    connection: Connection,
    job_id: str,
    now: datetime,
    *,
    task_lifetime: timedelta,
    actor_id: int | None,
    upstream_id: str | None = None,
    provider: ProviderName | None = None,
    guild_id: int | None = None,
) -> Job | RecoveryProblem:
    """Resumes a failed job, or a cancelled one whose cost is held if `upstream_id` is given: its task is polled.

    task_lifetime: how long after submission a task can be polled. upstream_id: the task, if the operator found it.
    provider: where, which only matters for a job that no provider had yet when a restore ended it.
    guild_id: the only server whose jobs may be resumed; None for any. actor_id: who resumes it.
    """
    found = await _resumable(connection, job_id, guild_id, of_task=upstream_id is not None)
    if not isinstance(found, Job):
        return found
    if found.user_id == NOBODY:
        # Nobody is left to deliver to.
        return RecoveryProblem.ERASED if guild_id is None else RecoveryProblem.UNKNOWN
    if found.failure_reason is FailureReason.REJECTED:
        return RecoveryProblem.REJECTED
    task = _task_of(found, upstream_id)
    if task is None:
        return RecoveryProblem.NO_TASK
    if upstream_id is None and (found.submitted_at is None or found.submitted_at + task_lifetime <= now):
        return RecoveryProblem.TOO_OLD
    maker = found.provider or provider
    if maker is None:
        return RecoveryProblem.NO_PROVIDER
    if await _is_taken(connection, job_id, maker, task):
        return RecoveryProblem.TASK_TAKEN
    columns = state_columns(JobState.RUNNING, now) | {
        # Nobody gets the video of a cancelled one.
        "cancel_requested": found.state is JobState.CANCELLED,
        "stop_result": found.stop_result if found.state is JobState.CANCELLED else None,
        "progress": None,
        "failure_reason": None,
        "failure_detail": None,
        "upstream_id": task,
        # A job of unknown outcome was submitted right before it failed.
        "submitted_at": found.submitted_at or found.state_changed_at,
    }
    if task != found.upstream_id:  # another task is asked about elsewhere
        columns |= {"upstream_urls": None, "can_be_stopped": False}
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(columns))
    resumed = await read_job(connection, job_id)
    await ledger.settle(connection, resumed, now, actor_id=actor_id)
    if found.provider is None:
        await connection.execute(update(jobs).where(jobs.c.id == job_id).values(provider=maker))
        resumed = await read_job(connection, job_id)
        # After the entries: `daily_totals` are locked before `provider_totals`.
        await ledger.give_to_provider(connection, resumed)
    return resumed


async def accept_late_response(connection: Connection, job: Job, outcome: MoveTo, now: datetime) -> bool:
    """Resumes a job that failed because the response in `outcome` was missing; False if it can't."""
    task = outcome.update.upstream_id
    if task is None:
        return False
    found = await resume_failed_job(
        connection, job.id, now, task_lifetime=timedelta(0), actor_id=None, upstream_id=task
    )
    if not isinstance(found, Job):
        return False
    where = {"upstream_urls": outcome.update.upstream_urls, "can_be_stopped": bool(outcome.update.can_be_stopped)}
    await connection.execute(update(jobs).where(jobs.c.id == job.id).values(where))
    return True


async def mark_lost(
    connection: Connection, job_id: str, now: datetime, *, actor_id: int | None, guild_id: int | None = None
) -> Job | RecoveryProblem:
    """Closes a job that has no task, or whose task costs nothing. The ledger records who said so."""
    found = await _ended(connection, job_id, guild_id)
    if not isinstance(found, Job):
        return found
    closed: dict[str, Any] = {"cost_unknown_since": None}
    if found.failure_reason is FailureReason.OUTCOME_UNKNOWN:
        closed["failure_reason"] = FailureReason.LOST
    elif found.cost_unknown_since is None:
        return RecoveryProblem.NOT_UNKNOWN
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(closed))
    job = await read_job(connection, job_id)
    released = await ledger.outstanding(connection, job)
    entry = ledger.job_entry(job, EntryKind.ADJUST, released, "lost", now, actor_id)
    await ledger.write_of_job(connection, job, entry)
    return job


async def release_held_costs(connection: Connection, before: datetime, now: datetime, limit: int) -> int:
    """Releases the reservations of up to `limit` ended jobs whose cost has been unknown since `before`.

    Returns the number of jobs. By then the upstream has forgotten the task, so no cost will be reported any more.
    """
    held = and_(COST_IS_HELD, jobs.c.cost_unknown_since <= before)
    # In order of days, so that two calls can't deadlock over the daily totals.
    query = select_jobs().where(held).order_by(jobs.c.created_at, jobs.c.id).limit(limit)
    found = [job_of(row) for row in await connection.execute(query.with_for_update(skip_locked=True))]
    released = update(jobs).where(jobs.c.id.in_([job.id for job in found])).values(cost_unknown_since=None)
    await connection.execute(released)
    free = [replace(job, cost_unknown_since=None) for job in found]
    await ledger.settle_all(connection, free, now, reason="cost never reported")
    return len(found)


async def unreconciled(connection: Connection, limit: int) -> list[Job]:
    """All servers' ended jobs of unknown cost or outcome that nobody has reconciled yet, oldest first."""
    query = select_jobs().where(UNRECONCILED).order_by(jobs.c.created_at, jobs.c.id).limit(limit)
    return [job_of(row) for row in await connection.execute(query)]


async def _resumable(
    connection: Connection, job_id: str, guild_id: int | None, *, of_task: bool
) -> Job | RecoveryProblem:
    """The job that can be resumed. of_task: whether somebody names its task."""
    job = await _ended(connection, job_id, guild_id)
    if not isinstance(job, Job) or job.state is JobState.FAILED:
        return job
    is_held = job.state is JobState.CANCELLED and job.cost_unknown_since is not None and job.cost_usd is None
    return job if of_task and is_held else RecoveryProblem.NOT_FAILED


async def _ended(connection: Connection, job_id: str, guild_id: int | None) -> Job | RecoveryProblem:
    job = await fetch_job(connection, jobs.c.id == job_id, lock=True)
    if job is None or (guild_id is not None and job.guild_id != guild_id):
        return RecoveryProblem.UNKNOWN
    return job if job.state in ENDED else RecoveryProblem.NOT_FAILED


async def _is_taken(connection: Connection, job_id: str, provider: ProviderName, task: str) -> bool:
    """Whether another job than this one has the provider's task."""
    if connection.dialect.name == "postgresql":
        # Two jobs that are given the same task at the same time take turns: the second sees the first.
        await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(task, 0))))
    taken = select(jobs.c.id).where(jobs.c.upstream_id == task, jobs.c.provider == provider, jobs.c.id != job_id)
    return (await connection.execute(taken.limit(1))).one_or_none() is not None


def _task_of(job: Job, found: str | None) -> str | None:
    """The task to poll; a given id must not replace one that really was the job's."""
    if found is None or found == job.upstream_id:
        return job.upstream_id
    if job.upstream_id is None:
        return found if job.failure_reason in _OPEN else None
    return found if job.failure_reason is _MISNAMED and job.cost_usd is None else None
