from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import select

from bot.chat.messages.audit_texts import phrase
from bot.domain.errors import NotPossible
from bot.domain.jobs import (
    CancelResult,
    Fail,
    FailureCause,
    FailureDetail,
    FailureReason,
    Job,
    JobState,
    JobUpdate,
    MoveTo,
    Reschedule,
)
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
    add,
    add_waiting,
    bring_to,
    claim,
    close_gate,
    entries,
    grant,
    new_job,
    next_job,
    notified_texts,
    read,
    requester_of,
    set_guild,
)

LIFETIME = timedelta(hours=24)
HERE, ELSEWHERE = Admin(10, 99), Admin(20, 98)
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


async def test_a_server_without_jobs_has_an_empty_overview(job_service: JobService) -> None:
    overview = await job_service.overview(HERE)

    assert (overview.active, overview.count, overview.failures, overview.closed_until) == ((), 0, (), None)


async def test_the_overview_lists_active_jobs_oldest_first(store: JobStore, job_service: JobService) -> None:
    running = await bring_to(store, JobState.RUNNING)
    await bring_to(store, JobState.DELIVERED, NOW + MINUTE)
    queued = await add(store, NOW + 2 * MINUTE)

    overview = await job_service.overview(HERE)

    assert [active_job.job.id for active_job in overview.active] == [running.id, queued.id]
    assert overview.count == 2


async def test_the_overview_lists_a_limited_number_of_jobs_and_counts_all(
    store: JobStore, job_service: JobService
) -> None:
    for _ in range(27):
        await add(store)

    overview = await job_service.overview(HERE)

    assert (len(overview.active), overview.count) == (25, 27)


async def test_queued_jobs_show_their_place_in_the_queue_of_all_servers(
    store: JobStore, job_service: JobService
) -> None:
    first = await add_waiting(store, NOW, user_id=1)
    await add_waiting(store, NOW + MINUTE, user_id=2, guild_id=20)
    third = await add_waiting(store, NOW + 2 * MINUTE, user_id=3)
    without_status = await add(store, NOW + 3 * MINUTE, user_id=4)

    overview = await job_service.overview(HERE)

    assert [(active_job.job.id, active_job.place) for active_job in overview.active] == [
        (first.id, 1),
        (third.id, 3),
        (without_status.id, None),
    ]


async def test_a_member_with_a_running_job_is_placed_further_back(
    store: JobStore, job_service: JobService
) -> None:
    await bring_to(store, JobState.RUNNING, user_id=1)
    busy = await add_waiting(store, NOW, user_id=1)
    idle = await add_waiting(store, NOW + MINUTE, user_id=2)

    overview = await job_service.overview(HERE)

    places = {active_job.job.id: active_job.place for active_job in overview.active}
    assert (places[idle.id], places[busy.id]) == (1, 2)


async def test_the_overview_shows_until_when_the_submission_gate_is_closed(
    store: JobStore, job_service: JobService
) -> None:
    until = NOW + 5 * MINUTE
    await close_gate(store, until, "401 key sk-secret is wrong", NOW)

    overview = await job_service.overview(HERE)

    assert overview.closed_until == until
    assert "sk-secret" not in repr(overview)


async def test_a_gate_that_has_opened_again_is_not_shown(store: JobStore, job_service: JobService) -> None:
    await close_gate(store, NOW, "busy", NOW - MINUTE)

    assert (await job_service.overview(HERE)).closed_until is None


async def test_the_overview_lists_the_latest_failures_of_a_week(store: JobStore, job_service: JobService) -> None:
    old = await bring_to(store, JobState.FAILED, NOW - timedelta(days=8))
    fresh = [await bring_to(store, JobState.FAILED, NOW - number * MINUTE) for number in range(7, 0, -1)]

    overview = await job_service.overview(HERE)

    assert [job.id for job in overview.failures] == [job.id for job in reversed(fresh)][:5]
    assert old.id not in {job.id for job in overview.failures}


async def test_the_overview_shows_no_jobs_of_other_servers(store: JobStore, job_service: JobService) -> None:
    await add_job_in_backoff(store)
    await bring_to(store, JobState.FAILED, NOW + MINUTE)
    await add_waiting(store)

    overview = await job_service.overview(ELSEWHERE)

    assert (overview.active, overview.count, overview.failures) == ((), 0, ())
    assert await job_service.cancellable(ELSEWHERE) == []
    assert await job_service.retryable(ELSEWHERE) == []


@pytest.mark.parametrize("state", [JobState.QUEUED, *IN_PROGRESS, JobState.FAILED])
async def test_a_job_of_another_server_is_treated_as_unknown(
    store: JobStore, job_service: JobService, database: Database, state: JobState
) -> None:
    job = await bring_to(store, state)
    before = await read(store, job)

    for attempt in (
        job_service.cancel(ELSEWHERE, job.id, even_if_paid=True),
        job_service.cancel(ELSEWHERE, job.id, even_if_paid=False),
        job_service.retry(ELSEWHERE, job.id),
        job_service.cancel(ELSEWHERE, "nothing", even_if_paid=True),
        job_service.retry(ELSEWHERE, "nothing"),
    ):
        with pytest.raises(NotPossible, match="UNKNOWN_JOB"):
            await attempt

    assert await read(store, job) == before
    assert await audit_log_and_notifications(database) == ([], [])


async def test_a_queued_job_is_cancelled_uncharged(
    store: JobStore, job_service: JobService, database: Database, woken: list[None]
) -> None:
    job = await add_waiting(store)

    done = await job_service.cancel(HERE, job.id, even_if_paid=False)

    assert done.result is CancelResult.CANCELLED
    assert (await read(store, job)).state is JobState.CANCELLED
    assert await videos_in_window(store, job) == 0
    assert await usd_today(database) == 0
    assert woken


async def test_a_job_awaiting_approval_is_cancelled_uncharged(
    store: JobStore, job_service: JobService, database: Database
) -> None:
    await set_guild(store, approval_required=True)
    job = await add(store)
    assert job.state is JobState.AWAITING

    done = await job_service.cancel(HERE, job.id, even_if_paid=False)

    assert done.result is CancelResult.CANCELLED
    assert await videos_in_window(store, job) == 0
    assert await usd_today(database) == 0


@pytest.mark.parametrize("state", IN_PROGRESS)
async def test_cancelling_a_paid_job_requires_confirmation(
    store: JobStore, job_service: JobService, database: Database, state: JobState
) -> None:
    job = await bring_to(store, state)
    before = await read(store, job)

    done = await job_service.cancel(HERE, job.id, even_if_paid=False)

    assert done.result is CancelResult.PAID
    assert await read(store, job) == before
    assert await audit_log_and_notifications(database) == ([], [])


@pytest.mark.parametrize("state", IN_PROGRESS)
async def test_an_admins_cancellation_charges_no_member_and_keeps_the_cost(
    store: JobStore, job_service: JobService, database: Database, state: JobState
) -> None:
    job = await bring_to(store, state)
    reserved = await usd_today(database)
    assert reserved > 0

    done = await job_service.cancel(HERE, job.id, even_if_paid=True)

    assert done.result is CancelResult.FLAGGED
    now = await read(store, job)
    assert (now.state, now.cancel_requested, now.charged) == (state, True, False)
    assert await videos_in_window(store, job) == 0
    assert await usd_today(database) == reserved


async def test_the_actual_cost_of_a_cancelled_job_is_settled_at_its_end(
    store: JobStore, job_service: JobService, database: Database
) -> None:
    job = await bring_to(store, JobState.RUNNING)
    await job_service.cancel(HERE, job.id, even_if_paid=True)

    ended = MoveTo(JobState.CANCELLED, JobUpdate(cost_usd=Decimal("0.07")))
    assert await store.apply(job, ended, NOW)

    assert await usd_today(database) == Decimal("0.07")
    assert await videos_in_window(store, job) == 0


async def test_an_admins_cancellation_returns_the_credit(store: JobStore, job_service: JobService) -> None:
    await set_guild(store, videos_per_window=0)
    await grant(store, 1)
    job = await bring_to(store, JobState.RUNNING)
    assert job.credit_grant_id is not None

    await job_service.cancel(HERE, job.id, even_if_paid=True)

    allowance = await store.allowance(requester_of(new_job()), NOW)
    assert [credit.left for credit in allowance.usage.credits] == [1]


async def test_a_running_job_that_is_cancelled_is_due_at_once(
    store: JobStore, job_service: JobService, woken: list[None]
) -> None:
    job = await reschedule(store, await bring_to(store, JobState.RUNNING))

    await job_service.cancel(HERE, job.id, even_if_paid=True)

    assert (await read(store, job)).due_at == NOW
    assert woken


async def test_a_second_cancellation_is_refused(
    store: JobStore, job_service: JobService, database: Database
) -> None:
    job = await bring_to(store, JobState.RUNNING)
    await job_service.cancel(HERE, job.id, even_if_paid=True)

    with pytest.raises(NotPossible, match="ALREADY_CANCELLED"):
        await job_service.cancel(HERE, job.id, even_if_paid=True)

    assert len((await audit_log_and_notifications(database))[0]) == 1
    assert await job_service.cancellable(HERE) == []


@pytest.mark.parametrize("state", [JobState.DELIVERED, JobState.FAILED, JobState.CANCELLED])
async def test_an_ended_job_cannot_be_cancelled(store: JobStore, job_service: JobService, state: JobState) -> None:
    job = await bring_to(store, state)

    with pytest.raises(NotPossible, match="NOTHING_TO_CANCEL"):
        await job_service.cancel(HERE, job.id, even_if_paid=True)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
async def test_a_cancellation_stores_its_cause_and_the_admin_as_the_ledger_actor(
    store: JobStore, job_service: JobService, state: JobState
) -> None:
    job = await bring_to(store, state)

    await job_service.cancel(HERE, job.id, even_if_paid=True)

    assert (await read(store, job)).failure_detail == FailureDetail(FailureCause.CANCELLED_BY_ADMIN)
    assert [entry.actor_id for entry in await entries(store, job)] == [job.user_id, HERE.user_id]


async def test_a_cancellation_is_in_the_audit_log_and_notified(
    store: JobStore, job_service: JobService, database: Database
) -> None:
    await set_guild(store, log_channel_id=5)
    job = await add_waiting(store, user_id=7)

    await job_service.cancel(HERE, job.id, even_if_paid=False)

    audit_log, texts = await audit_log_and_notifications(database)
    assert audit_log == [(10, 99, f"cancelled a video for <@7> (`{job.id}`)")]
    (text,) = texts
    assert "<@99>" in text
    assert "cancelled a video for <@7>" in text


async def test_the_cancellable_jobs_are_the_servers_active_jobs(store: JobStore, job_service: JobService) -> None:
    running = await bring_to(store, JobState.RUNNING)
    await bring_to(store, JobState.DELIVERED, NOW + MINUTE)
    queued = await add(store, NOW + 2 * MINUTE)
    await add(store, guild_id=20)

    assert [job.id for job in await job_service.cancellable(HERE)] == [running.id, queued.id]


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
    assert await usd_today(database) == 0

    done = await job_service.retry(HERE, job.id)

    now = await read(store, job)
    assert done.state is JobState.FAILED
    assert (now.state, now.due_at, now.failure_reason, now.charged) == (JobState.RUNNING, NOW, None, False)
    assert await videos_in_window(store, job) == 0
    assert await usd_today(database) == job.estimated_cost_usd
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
    await reschedule(store, await bring_to(store, JobState.RUNNING))

    offered = await job_service.retryable(HERE)

    assert {job.id for job in offered} == {waiting.id, failed.id}
