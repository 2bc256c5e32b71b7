import asyncio
import logging
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.errors import (
    DeliveryForbidden,
    OutcomeUnknown,
    StoreError,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamError,
    UpstreamIll,
    UpstreamRefused,
    UpstreamUnreached,
)
from bot.domain.jobs import FailureReason, Job, JobState
from bot.providers.base import TaskStatus
from bot.worker.config import LEASE_DURATIONS
from bot.worker.loop import MAX_CLAIMS
from tests.harness import POLL_INTERVAL_S, SHORT_TIMEOUTS, STORE_DOWN, WorkerHarness, hang_call, run_until_idle
from tests.providers_asked import VTRIX, vtrix


async def test_a_job_found_submitting_is_never_submitted_again(
    harness: WorkerHarness, caplog: pytest.LogCaptureFixture
) -> None:
    job = await harness.order()
    await harness.worker().run_once()
    lease = timedelta(minutes=2)
    assert await harness.store.claim_queued(harness.clock(), vtrix(5), lease)  # and here its worker died
    harness.advance_clock(minutes=2)
    await run_until_idle(harness.worker())
    assert (await harness.reload(job)).failure_reason is FailureReason.OUTCOME_UNKNOWN
    assert harness.provider.submit_count == 0
    assert await harness.charged_count() == 0
    assert len(harness.messenger.posted("failure", job)) == 1
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert any(job.id in record.getMessage() and "paid task" in record.getMessage() for record in told)


async def test_a_submission_whose_response_was_lost_is_never_repeated(harness: WorkerHarness) -> None:
    worker = harness.worker()
    harness.provider.fail("submit", OutcomeUnknown("the connection broke"), response_lost=True)
    job = await harness.order()
    await run_until_idle(worker)
    harness.advance_clock(hours=1)
    await run_until_idle(worker)
    assert (await harness.reload(job)).failure_reason is FailureReason.OUTCOME_UNKNOWN
    assert harness.provider.submit_count == 1
    assert await harness.charged_count() == 0


async def test_a_video_posted_by_a_worker_that_died_is_not_posted_twice(harness: WorkerHarness) -> None:
    worker = harness.worker()
    harness.provider.submit_status = TaskStatus.COMPLETED
    job = await harness.queued_job(worker)
    await worker.run_once()
    [held] = await harness.store.claim_due(harness.clock(), 1, LEASE_DURATIONS)
    video = await harness.messenger.post_video(held, Path(__file__))  # and here its worker died
    harness.advance_clock(minutes=5)
    await run_until_idle(harness.worker())
    done = await harness.reload(job)
    assert (done.state, done.result_message_id) == (JobState.DELIVERED, video)
    assert len(harness.messenger.posted("video", job)) == 1


async def test_a_job_that_crashes_its_workers_is_abandoned(harness: WorkerHarness) -> None:
    job = await harness.running_job(harness.worker())
    harness.advance_clock(seconds=POLL_INTERVAL_S)
    await harness.claim_and_crash(MAX_CLAIMS)
    await run_until_idle(harness.worker())
    assert (await harness.reload(job)).failure_reason is FailureReason.ABANDONED
    assert "status" not in harness.provider.calls
    assert await harness.charged_count() == 0


async def test_a_job_whose_last_worker_died_right_after_it_posted_is_delivered_and_counts(
    harness: WorkerHarness,
) -> None:
    worker = harness.worker()
    harness.provider.submit_status = TaskStatus.COMPLETED
    job = await harness.queued_job(worker)
    await worker.run_once()
    video = await harness.messenger.post_video(job, Path(__file__))  # and here the last of them died
    await harness.claim_and_crash(MAX_CLAIMS)
    await run_until_idle(harness.worker())
    done = await harness.reload(job)
    assert (done.state, done.result_message_id) == (JobState.DELIVERED, video)
    assert harness.messenger.posted("failure", job) == []
    assert await harness.charged_count() == 1


async def test_a_job_whose_workers_died_is_retried_up_to_the_limit(harness: WorkerHarness) -> None:
    job = await harness.finished_job(harness.worker())
    await harness.claim_and_crash(MAX_CLAIMS - 1)
    await run_until_idle(harness.worker())
    assert await harness.state(job) is JobState.DELIVERED


async def failed_job(harness: WorkerHarness) -> Job:
    """A job that has failed, which its member doesn't know yet."""
    harness.messenger.fail("show_status", DeliveryForbidden("Missing Permissions"))
    job = await harness.queued_job(harness.worker())
    assert await harness.state(job) is JobState.FAILED
    return job


async def test_an_end_over_which_five_workers_died_is_told(harness: WorkerHarness) -> None:
    job = await failed_job(harness)
    await harness.claim_and_crash(MAX_CLAIMS)
    await run_until_idle(harness.worker())
    assert (await harness.reload(job)).due_at is None
    assert len(harness.messenger.posted("failure", job)) == 1


async def test_an_end_over_which_more_workers_died_is_told_after_a_pause(harness: WorkerHarness) -> None:
    job = await failed_job(harness)
    await harness.claim_and_crash(MAX_CLAIMS + 1)
    await run_until_idle(harness.worker())
    assert harness.messenger.posted("failure", job) == []
    harness.advance_clock(minutes=10)
    await run_until_idle(harness.worker())
    assert (await harness.reload(job)).due_at is None
    assert len(harness.messenger.posted("failure", job)) == 1


async def test_an_end_that_crashes_workers_for_a_day_is_left_alone(harness: WorkerHarness) -> None:
    job = await failed_job(harness)
    harness.advance_clock(hours=24)
    await harness.claim_and_crash(MAX_CLAIMS + 1)
    await run_until_idle(harness.worker())
    assert (await harness.reload(job)).due_at is None
    assert harness.messenger.posted("failure", job) == []


async def test_a_worker_that_lost_its_lease_writes_and_shows_nothing(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.queued_job(worker)
    harness.provider.fail("submit", UpstreamRefused("no"), response_lost=True)
    answer, run = await hang_call(worker, harness.provider, "submit")
    harness.advance_clock(minutes=2)
    await run_until_idle(harness.worker())
    assert (await harness.reload(job)).failure_reason is FailureReason.OUTCOME_UNKNOWN
    answer.set()
    await run
    assert (await harness.reload(job)).failure_reason is FailureReason.OUTCOME_UNKNOWN
    assert [one.kind for one in harness.messenger.messages.values()] == ["failure"]


async def test_a_store_that_fails_before_the_submission_puts_the_job_back_into_the_queue(
    harness: WorkerHarness,
) -> None:
    worker = harness.worker()
    job = await harness.order()
    harness.worker_store.fail("frame", STORE_DOWN)
    await run_until_idle(worker)
    assert await harness.state(job) is JobState.QUEUED
    assert harness.provider.submit_count == 0
    harness.advance_clock(minutes=1)
    await run_until_idle(worker)
    assert await harness.state(job) is JobState.RUNNING


async def test_a_store_that_fails_between_two_claims_loses_no_claimed_job(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.order()
    harness.worker_store.fail("claim_queued", STORE_DOWN)
    with pytest.raises(StoreError):
        await worker.run_once()
    await worker._wait_until_idle()
    await run_until_idle(worker)
    assert await harness.state(job) is JobState.RUNNING


@pytest.mark.full
@pytest.mark.parametrize(
    "error",
    [
        UpstreamClosed("no such key", status=401),
        UpstreamClosed("no balance", status=403),
        UpstreamBusy("slow down", retry_after_s=None),
        UpstreamUnreached("connection refused"),
    ],
)
async def test_an_upstream_that_accepts_nothing_pauses_all_jobs_and_fails_none(
    harness: WorkerHarness, error: UpstreamError
) -> None:
    worker = harness.worker()
    jobs = [await harness.order(user_id=number) for number in (1, 2, 3)]
    harness.provider.fail_always("submit", error)
    await run_until_idle(worker)
    for _ in range(12):
        harness.advance_clock(minutes=5)
        await run_until_idle(worker)
    assert {await harness.state(job) for job in jobs} == {JobState.QUEUED}
    assert harness.provider.submit_count == 13
    assert (await harness.store.gate(VTRIX)).reason == str(error)
    harness.provider.stop_failing()
    harness.advance_clock(minutes=5)
    await run_until_idle(worker)
    assert [order.prompt for order in harness.provider.orders] == ["member 1", "member 2", "member 3"]
    assert {await harness.state(job) for job in jobs} == {JobState.RUNNING}
    assert (await harness.store.gate(VTRIX)).failures == 0


async def test_retry_after_is_respected(harness: WorkerHarness) -> None:
    worker = harness.worker()
    await harness.order()
    harness.provider.fail("submit", UpstreamBusy("slow down", retry_after_s=600))
    await run_until_idle(worker)
    harness.advance_clock(seconds=599)
    await run_until_idle(worker)
    assert harness.provider.submit_count == 1
    harness.advance_clock(seconds=1)
    await run_until_idle(worker)
    assert harness.provider.submit_count == 2


async def test_a_submission_in_flight_does_not_undo_retry_after(harness: WorkerHarness) -> None:
    worker = harness.worker()
    first, _, third = [await harness.order() for _ in range(3)]
    await worker.run_once()
    answer = harness.provider.hang("submit")
    assert await worker._claim() == 1
    await harness.provider.wait_for_call("submit")
    harness.provider.fail("submit", UpstreamBusy("slow down", retry_after_s=600))
    assert await worker._claim() == 1
    await harness.provider.wait_for_call("submit", 2)
    while not (await harness.store.gate(VTRIX)).is_closed(harness.clock()):
        await asyncio.sleep(0)
    answer.set()
    await worker.run_once()
    await run_until_idle(worker)
    assert await harness.state(first) is JobState.RUNNING
    assert await harness.state(third) is JobState.QUEUED
    assert harness.provider.submit_count == 2
    harness.advance_clock(seconds=600)
    await run_until_idle(worker)
    assert await harness.state(third) is JobState.RUNNING


@pytest.mark.full
async def test_an_hour_of_failed_polls_loses_nothing(harness: WorkerHarness) -> None:
    worker = harness.worker()
    jobs = [await harness.running_job(worker) for _ in range(3)]
    harness.provider.fail_always("status", UpstreamIll("502"))
    for _ in range(60):
        harness.advance_clock(minutes=1)
        await run_until_idle(worker)
    harness.provider.stop_failing()
    harness.provider.finish_all()
    harness.advance_clock(minutes=2)
    await run_until_idle(worker)
    assert {await harness.state(job) for job in jobs} == {JobState.DELIVERED}
    assert len(harness.messenger.posted("video", jobs[0])) == 1


async def test_a_task_over_its_time_fails_when_the_upstream_responds(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.running_job(worker)
    harness.advance_clock(minutes=31)
    harness.provider.fail("status", UpstreamIll("502"))
    await run_until_idle(worker)
    assert await harness.state(job) is JobState.RUNNING
    harness.advance_clock(minutes=2)
    await run_until_idle(worker)
    assert (await harness.reload(job)).failure_reason is FailureReason.TIMED_OUT
    assert await harness.charged_count() == 0


async def test_a_stage_that_hangs_before_money_is_spent_is_retried(harness: WorkerHarness) -> None:
    worker = harness.worker(stage_timeouts=SHORT_TIMEOUTS)
    harness.messenger.hang("show_status")
    job = await harness.queued_job(worker)
    hung = await harness.reload(job)
    assert (hung.state, hung.attempts) == (JobState.QUEUED, 1)


async def test_a_submission_that_hangs_is_never_repeated(harness: WorkerHarness) -> None:
    worker = harness.worker(stage_timeouts=SHORT_TIMEOUTS)
    job = await harness.queued_job(worker)
    harness.provider.hang("submit")
    await run_until_idle(worker)
    assert (await harness.reload(job)).failure_reason is FailureReason.OUTCOME_UNKNOWN
    assert harness.provider.submit_count == 1
    assert await harness.charged_count() == 0


@pytest.mark.parametrize(("method", "state"), [("status", JobState.RUNNING), ("download", JobState.DELIVERING)])
async def test_a_poll_or_a_download_that_hangs_is_retried(
    harness: WorkerHarness, method: str, state: JobState
) -> None:
    job = await harness.running_job(harness.worker())
    worker = harness.worker(stage_timeouts=SHORT_TIMEOUTS)
    if method == "download":
        harness.provider.finish_all()
    harness.advance_clock(seconds=POLL_INTERVAL_S)
    harness.provider.hang(method)
    await run_until_idle(worker)
    hung = await harness.reload(job)
    assert (hung.state, hung.attempts) == (state, 1)
    assert hung.due_at is not None
    assert hung.due_at > harness.clock()


async def test_a_post_that_hangs_is_found_by_the_next_attempt(harness: WorkerHarness) -> None:
    job = await harness.finished_job(harness.worker())
    harness.messenger.fail("post_video", TimeoutError(), response_lost=True)
    worker = harness.worker()
    await run_until_idle(worker)
    harness.advance_clock(minutes=1)
    await run_until_idle(worker)
    assert await harness.state(job) is JobState.DELIVERED
    assert len(harness.messenger.posted("video", job)) == 1


@pytest.mark.full
@pytest.mark.parametrize(
    ("method", "state"),
    [
        ("show_status", JobState.QUEUED),
        ("status", JobState.RUNNING),
        ("download", JobState.DELIVERING),
        ("post_video", JobState.DELIVERING),
    ],
)
async def test_a_stage_with_a_bug_keeps_its_job_and_is_retried_with_growing_pauses(
    harness: WorkerHarness, method: str, state: JobState
) -> None:
    worker = harness.worker()
    fake = harness.provider if method in {"status", "download"} else harness.messenger
    fake.fail_always(method, ZeroDivisionError("a bug"))
    job = await harness.order()
    await run_until_idle(worker)
    harness.provider.finish_all()
    for _ in range(20):
        harness.advance_clock(seconds=5)
        await run_until_idle(worker)
    assert 5 <= fake.calls.count(method) <= 10
    assert await harness.state(job) is state
    fake.stop_failing()
    for _ in range(3):
        harness.advance_clock(minutes=2)
        await run_until_idle(worker)
        harness.provider.finish_all()
    assert await harness.state(job) is JobState.DELIVERED


async def test_a_submission_with_a_bug_is_never_repeated(harness: WorkerHarness) -> None:
    worker = harness.worker()
    harness.provider.fail("submit", ZeroDivisionError("a bug"), response_lost=True)
    job = await harness.order()
    await run_until_idle(worker)
    harness.advance_clock(hours=1)
    await run_until_idle(worker)
    assert (await harness.reload(job)).failure_reason is FailureReason.OUTCOME_UNKNOWN
    assert harness.provider.submit_count == 1


async def test_a_stage_that_fails_right_after_a_start_does_not_end_its_job(harness: WorkerHarness) -> None:
    job = await harness.running_job(harness.worker())
    harness.advance_clock(hours=24, seconds=1)  # no process ran, or the system's clock was set
    harness.provider.fail("status", TimeoutError())
    await run_until_idle(harness.worker(started_at=harness.clock()))
    assert await harness.state(job) is JobState.RUNNING


async def test_a_stage_that_fails_for_a_day_ends_its_job(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.running_job(worker)
    harness.provider.fail_always("status", ZeroDivisionError("a bug"))
    harness.advance_clock(hours=24, seconds=1)
    await run_until_idle(worker)
    assert (await harness.reload(job)).failure_reason is FailureReason.ABANDONED
    assert await harness.charged_count() == 0
