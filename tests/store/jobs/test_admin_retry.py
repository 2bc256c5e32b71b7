"""Jobs that an admin retries."""

import pytest

from bot.domain.errors import NotPossible
from bot.domain.jobs import FailureReason, JobState
from bot.domain.outcomes import Fail
from bot.services.admin.jobs import JobService
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from tests.store.factories import (
    DETAIL,
    NOW,
    add,
    bring_to,
    read,
    set_guild,
)
from tests.store.jobs.conftest import (
    HERE,
    LIFETIME,
    add_job_in_backoff,
    add_timed_out_job,
    audit_log_and_notifications,
    reschedule,
    usd_today,
    videos_in_window,
)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.DELIVERING])
async def test_a_job_that_waits_after_a_failed_attempt_is_retried_at_once(
    store: JobStore, job_service: JobService, database: Database, woken: list[None], state: JobState
) -> None:
    job = await add_job_in_backoff(store, state)

    done = await job_service.retry(HERE, job.id)

    now = await read(store, job)
    assert done.state is state
    assert (now.state, now.due_at, now.attempts) == (state, NOW, 1)
    assert woken
    audit_log, _ = await audit_log_and_notifications(database)
    assert [(line[0], line[1]) for line in audit_log] == [(10, 99)]


async def test_a_leased_job_cannot_be_retried(store: JobStore, job_service: JobService) -> None:
    job = await bring_to(store, JobState.RUNNING)

    with pytest.raises(NotPossible, match="NothingToRetry"):
        await job_service.retry(HERE, job.id)


async def test_a_job_without_a_failed_attempt_cannot_be_retried(store: JobStore, job_service: JobService) -> None:
    job = await reschedule(store, await bring_to(store, JobState.RUNNING))

    with pytest.raises(NotPossible, match="NothingToRetry"):
        await job_service.retry(HERE, job.id)

    assert (await read(store, job)).due_at == job.due_at


@pytest.mark.parametrize("state", [JobState.DELIVERED, JobState.CANCELLED])
async def test_a_delivered_or_cancelled_job_cannot_be_retried(
    store: JobStore, job_service: JobService, state: JobState
) -> None:
    job = await bring_to(store, state)

    with pytest.raises(NotPossible):
        await job_service.retry(HERE, job.id)


async def test_a_job_awaiting_approval_cannot_be_retried(store: JobStore, job_service: JobService) -> None:
    await set_guild(store, approval_required=True)
    job = await add(store)

    with pytest.raises(NotPossible, match="AWAITING"):
        await job_service.retry(HERE, job.id)


async def test_retrying_a_failed_job_with_a_known_task_resumes_it_uncharged(
    store: JobStore, job_service: JobService, database: Database, woken: list[None]
) -> None:
    job = await add_timed_out_job(store)
    held = await usd_today(database)

    done = await job_service.retry(HERE, job.id)

    now = await read(store, job)
    assert done.state is JobState.FAILED
    assert (now.state, now.due_at, now.failure_reason, now.charged) == (JobState.RUNNING, NOW, None, False)
    assert await videos_in_window(store, job) == 0
    assert await usd_today(database) == held == job.estimated_cost_usd
    assert woken
    audit_log, _ = await audit_log_and_notifications(database)
    assert audit_log == [(10, 99, f"retried a video for <@1> (`{job.id}`)")]


async def test_a_failed_job_with_an_expired_task_cannot_be_retried(
    store: JobStore, job_service: JobService, database: Database
) -> None:
    job = await add_timed_out_job(store, NOW - LIFETIME)

    with pytest.raises(NotPossible, match="TOO_OLD"):
        await job_service.retry(HERE, job.id)

    assert (await read(store, job)).state is JobState.FAILED
    audit_log, _ = await audit_log_and_notifications(database)
    assert audit_log == []


async def test_a_job_that_failed_before_submission_cannot_be_retried(
    store: JobStore, job_service: JobService
) -> None:
    job = await bring_to(store, JobState.FAILED)

    with pytest.raises(NotPossible, match=r"NO_TASK.*outcome_unknown=False"):
        await job_service.retry(HERE, job.id)


async def test_a_job_with_an_unknown_outcome_cannot_be_retried_by_an_admin(
    store: JobStore, job_service: JobService
) -> None:
    job = await bring_to(store, JobState.SUBMITTING)
    assert await store.apply(job, Fail(FailureReason.OUTCOME_UNKNOWN, DETAIL), NOW)

    with pytest.raises(NotPossible, match=r"NO_TASK.*outcome_unknown=True"):
        await job_service.retry(HERE, job.id)


async def test_the_retryable_jobs_are_those_in_backoff_and_those_with_a_live_task(
    store: JobStore, job_service: JobService
) -> None:
    waiting = await add_job_in_backoff(store)
    failed = await add_timed_out_job(store)
    await add_timed_out_job(store, NOW - LIFETIME)
    await bring_to(store, JobState.FAILED)
    await bring_to(store, JobState.DELIVERED)
    rejected = await bring_to(store, JobState.RUNNING)
    await store.apply(rejected, Fail(FailureReason.REJECTED, DETAIL), NOW)
    await reschedule(store, await bring_to(store, JobState.RUNNING))

    offered = await job_service.retryable(HERE)

    assert {job.id for job in offered} == {waiting.id, failed.id}
