"""Takes up failed jobs again whose task may still be asked about, and closes those that nobody will ever find.

A revived job was given back to its member when it failed, and stays free for them; what its task is expected to
cost is reserved again. Functions work inside the caller's transaction and take the job's row before all else:
a caller who holds the house's row must not call them.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.jobs import FailureReason, Job, JobState, MoveTo, NotRevived
from bot.domain.ledger import NOTHING, Entry, EntryKind
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.money import ledger
from bot.store.schema import EVERYWHERE, jobs

_OPEN = frozenset({FailureReason.OUTCOME_UNKNOWN, FailureReason.LOST})
"""Failures after which a paid task may exist that only the upstream's own records name."""

_MISNAMED = FailureReason.UPSTREAM_FAILED
"""How a job fails whose task the operator named wrongly: the upstream knows none of that id."""


async def resume_failed_job(
    connection: AsyncConnection,
    job_id: str,
    now: datetime,
    *,
    task_lifetime: timedelta,
    by: int | None,
    upstream_id: str | None = None,
    guild_id: int | None = None,
) -> Job | NotRevived:
    """Has a failed job's task looked at again, at once.

    task_lifetime: how long a task may be asked about after its submission. upstream_id: the task, where the
    operator found it. guild_id: the only server whose jobs may be revived; None for any. by: who does it.
    """
    found = await _failed(connection, job_id, guild_id)
    if not isinstance(found, Job):
        return found
    if found.user_id == EVERYWHERE:
        return NotRevived.ERASED if guild_id is None else NotRevived.UNKNOWN  # there is nobody to make it for
    task = _task_of(found, upstream_id)
    if task is None:
        return NotRevived.NO_TASK
    if upstream_id is None and (found.submitted_at is None or found.submitted_at + task_lifetime <= now):
        return NotRevived.TOO_OLD
    if connection.dialect.name == "postgresql":
        # Two jobs that are given the same task at once line up: the second sees the first.
        await connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(task, 0))))
    taken = select(jobs.c.id).where(jobs.c.upstream_id == task, jobs.c.id != job_id).limit(1)
    if (await connection.execute(taken)).one_or_none() is not None:
        return NotRevived.TASK_TAKEN
    columns: dict[str, Any] = {
        "state": JobState.RUNNING,
        "state_changed_at": now,
        "due_at": now,
        "attempts": 0,
        "claim_count": 0,
        "lease_token": None,
        "lease_until": None,
        "cancel_requested": False,
        "progress": None,
        "failure_reason": None,
        "failure_detail": None,
        "upstream_id": task,
        # Of one whose outcome was unknown: it was handed in right before that was found out.
        "submitted_at": found.submitted_at or found.state_changed_at,
    }
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(columns))
    revived = job_of((await connection.execute(select_jobs().where(jobs.c.id == job_id))).one())
    await ledger.settle(connection, revived, now, by=by)
    return revived


async def answer_came(connection: AsyncConnection, job: Job, outcome: MoveTo, now: datetime) -> bool:
    """Takes a job up again that failed for want of the answer that `outcome` brings; False where it did not."""
    task = outcome.update.upstream_id
    if task is None:
        return False
    found = await resume_failed_job(connection, job.id, now, task_lifetime=timedelta(0), by=None, upstream_id=task)
    return isinstance(found, Job)


async def mark_lost(
    connection: AsyncConnection, job_id: str, now: datetime, *, by: int | None, guild_id: int | None = None
) -> Job | NotRevived:
    """Closes a job whose outcome is unknown: there is no task of it. The ledger keeps who said so."""
    found = await _failed(connection, job_id, guild_id)
    if not isinstance(found, Job):
        return found
    if found.failure_reason is not FailureReason.OUTCOME_UNKNOWN:
        return NotRevived.NOT_UNKNOWN
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(failure_reason=FailureReason.LOST))
    await ledger.write(
        connection,
        Entry(
            kind=EntryKind.ADJUST,
            guild_id=found.guild_id,
            user_id=found.user_id,
            created_at=now,
            effective_at=found.created_at,
            sums=NOTHING,
            reason="lost",
            job_id=job_id,
            credit_grant_id=found.credit_grant_id,
            actor_id=by,
        ),
    )
    return job_of((await connection.execute(select_jobs().where(jobs.c.id == job_id))).one())


async def unreconciled(connection: AsyncConnection, limit: int) -> list[Job]:
    """Jobs of all servers whose outcome is unknown, until somebody says what became of them; oldest first."""
    query = (
        select_jobs()
        .where(jobs.c.state == JobState.FAILED, jobs.c.failure_reason == FailureReason.OUTCOME_UNKNOWN)
        .order_by(jobs.c.created_at, jobs.c.id)
        .limit(limit)
    )
    return [job_of(row) for row in await connection.execute(query)]


async def _failed(connection: AsyncConnection, job_id: str, guild_id: int | None) -> Job | NotRevived:
    row = (await connection.execute(select_jobs().where(jobs.c.id == job_id).with_for_update())).one_or_none()
    if row is None or (guild_id is not None and row.guild_id != guild_id):
        return NotRevived.UNKNOWN
    job = job_of(row)
    return job if job.state is JobState.FAILED else NotRevived.NOT_FAILED


def _task_of(job: Job, found: str | None) -> str | None:
    """The task to be asked about; one that somebody names must not replace one that really was the job's."""
    if found is None or found == job.upstream_id:
        return job.upstream_id
    if job.upstream_id is None:
        return found if job.failure_reason in _OPEN else None
    return found if job.failure_reason is _MISNAMED and job.cost_usd is None else None
