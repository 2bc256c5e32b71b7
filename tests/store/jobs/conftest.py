"""The admins' job service, and jobs in the states that it handles."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from bot.chat.messages.audit_texts import phrase
from bot.domain.jobs import FailureReason, Job, JobState
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Reschedule
from bot.services.admin.audited import Admin
from bot.services.admin.jobs import JobService
from bot.store.engine import Database
from bot.store.guilds.audit_log import audit_entry_of
from bot.store.jobs.job_store import JobStore
from bot.store.money import ledger
from bot.store.schema import audit_log
from tests.store.factories import (
    DETAIL,
    MINUTE,
    NOW,
    add_waiting,
    bring_to,
    claim,
    new_job,
    next_job,
    notified_texts,
    read,
    requester_of,
)

HERE, ELSEWHERE = Admin(10, 99), Admin(20, 98)
LIFETIME = timedelta(hours=24)
IN_PROGRESS = (JobState.SUBMITTING, JobState.RUNNING, JobState.DELIVERING)


@pytest.fixture
def woken() -> list[None]:
    """One for each time the worker was woken."""
    return []


@pytest.fixture
def job_service(database: Database, woken: list[None]) -> JobService:
    return JobService(database, wake=lambda: woken.append(None), clock=lambda: NOW, task_lifetime=LIFETIME)


async def reschedule(store: JobStore, job: Job, *, due_at: datetime | None = None, failed: bool = False) -> Job:
    """Reschedules the job to `due_at`, without a lease. failed: after a failed attempt."""
    assert await store.apply(job, Reschedule(due_at or NOW + 10 * MINUTE, attempt=failed), NOW)
    return await read(store, job)


async def add_job_in_backoff(store: JobStore, state: JobState = JobState.RUNNING) -> Job:
    return await reschedule(store, await bring_to(store, state), failed=True)


async def add_timed_out_job(store: JobStore, submitted_at: datetime = NOW, cost: str | None = None) -> Job:
    """Adds a job that timed out, with a known task; it is not charged."""
    job = await add_waiting(store)
    submitting = await next_job(store)
    assert submitting is not None
    facts = JobUpdate(upstream_id=f"task-{job.id}", submitted_at=submitted_at)
    assert await store.apply(submitting, MoveTo(JobState.RUNNING, facts), NOW)
    learned = JobUpdate(cost_usd=None if cost is None else Decimal(cost))
    outcome = Fail(FailureReason.TIMED_OUT, DETAIL, learned)
    assert await store.apply(await claim(store, job.id), outcome, NOW)
    return await read(store, job)


async def audit_log_and_notifications(database: Database) -> tuple[list[tuple[int, int | None, str]], list[str]]:
    """The audit log in words, and the texts of the notifications."""
    async with database.read() as connection:
        rows = await connection.execute(select(audit_log).order_by(audit_log.c.id))
        entries = [audit_entry_of(row) for row in rows]
    return [(it.guild_id, it.actor_id, phrase(it)) for it in entries], await notified_texts(database)


async def usd_today(database: Database, guild_id: int = 10) -> Decimal:
    async with database.read() as connection:
        return (await ledger.spent(connection, guild_id, NOW)).usd_today


async def videos_in_window(store: JobStore, job: Job) -> int:
    """How many videos count in the member's window."""
    allowance = await store.allowance(requester_of(new_job(user_id=job.user_id)), NOW)
    return len(allowance.usage.charged_at)
