import logging

import pytest

from bot.domain.errors import DeliveryDelayed, DeliveryForbidden, UpstreamIll
from bot.domain.jobs import FailureReason, JobState
from bot.providers.base import TaskStatus
from tests.harness import POLL_INTERVAL_S, SHORT_TIMEOUTS, WorkerHarness, hang_call, run_until_idle
from tests.providers_asked import vtrix


async def test_a_job_is_processed_from_start_to_end(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.running_job(worker)
    assert len(harness.messenger.posted("status", job)) == 1
    harness.provider.finish_all()
    harness.advance_clock(seconds=POLL_INTERVAL_S)
    await run_until_idle(worker)
    [video] = harness.messenger.posted("video", job)
    done = await harness.reload(job)
    assert (done.state, done.result_message_id, done.due_at) == (JobState.DELIVERED, video.id, None)
    assert harness.messenger.posted("status", job) == []
    assert harness.provider.submit_count == 1
    assert await harness.charged_count() == 1


async def test_a_finished_job_is_never_due_again(harness: WorkerHarness) -> None:
    worker = harness.worker()
    harness.provider.submit_status = TaskStatus.COMPLETED
    await harness.order()
    await run_until_idle(worker)
    harness.advance_clock(days=2)
    assert await worker.run_once() == 0
    assert await harness.store.next_due_at(harness.clock(), vtrix(5)) is None


async def test_a_task_that_fails_is_free_and_notifies_the_member_once(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.running_job(worker)
    harness.provider.finish_all(TaskStatus.FAILED)
    harness.advance_clock(seconds=POLL_INTERVAL_S)
    await run_until_idle(worker)
    assert (await harness.reload(job)).failure_reason is FailureReason.UPSTREAM_FAILED
    assert await harness.charged_count() == 0
    assert len(harness.messenger.posted("failure", job)) == 1


async def test_a_channel_without_permission_ends_the_job_before_money_is_spent(harness: WorkerHarness) -> None:
    harness.messenger.fail_always("show_status", DeliveryForbidden("Missing Permissions"))
    job = await harness.order()
    await run_until_idle(harness.worker())
    assert (await harness.reload(job)).failure_reason is FailureReason.UNDELIVERABLE
    assert await harness.charged_count() == 0
    assert harness.provider.submit_count == 0


async def test_a_forbidden_channel_waits_for_its_admin_and_then_fails(harness: WorkerHarness) -> None:
    worker = harness.worker()
    harness.provider.submit_status = TaskStatus.COMPLETED
    harness.messenger.fail_always("post_video", DeliveryForbidden("Missing Permissions"))
    harness.messenger.fail_always("send_video", DeliveryForbidden("Cannot send messages to this user"))
    job = await harness.order()
    await run_until_idle(worker)
    harness.advance_clock(minutes=29)
    await run_until_idle(worker)
    assert await harness.state(job) is JobState.DELIVERING
    harness.advance_clock(minutes=2)
    await run_until_idle(worker)
    assert (await harness.reload(job)).failure_reason is FailureReason.UNDELIVERABLE
    assert await harness.charged_count() == 0


async def test_a_status_message_that_can_not_be_updated_is_no_error(
    harness: WorkerHarness, caplog: pytest.LogCaptureFixture
) -> None:
    worker = harness.worker()
    job = await harness.queued_job(worker)
    harness.messenger.fail("show_status", DeliveryDelayed("Discord is ill"))
    await run_until_idle(worker)
    assert await harness.state(job) is JobState.RUNNING
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_status_message_that_hangs_is_given_up_after_its_timeout(harness: WorkerHarness) -> None:
    worker = harness.worker(stage_timeouts=SHORT_TIMEOUTS)
    job = await harness.queued_job(worker)
    harness.messenger.hang("show_status")
    await run_until_idle(worker)
    assert await harness.state(job) is JobState.RUNNING


async def test_a_job_cancelled_in_the_queue_is_free_and_never_posted(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.queued_job(worker)
    await harness.store.cancel(job.id, harness.clock(), even_if_paid=False)
    await run_until_idle(worker)
    assert harness.messenger.messages == {}
    assert harness.provider.submit_count == 0
    assert await harness.charged_count() == 0


@pytest.mark.parametrize(("status", "counts"), [(TaskStatus.COMPLETED, 1), (TaskStatus.FAILED, 0)])
async def test_a_job_cancelled_while_running_ends_unposted_when_its_task_does(
    harness: WorkerHarness, status: TaskStatus, counts: int
) -> None:
    worker = harness.worker(providers=vtrix(1))
    job = await harness.running_job(worker)
    waiting = await harness.order()
    await harness.store.cancel(job.id, harness.clock(), even_if_paid=True)
    await run_until_idle(worker)
    harness.advance_clock(minutes=1)
    await run_until_idle(worker)
    assert await harness.state(job) is JobState.RUNNING  # its task holds its slot
    assert await harness.state(waiting) is JobState.QUEUED
    harness.provider.finish_all(status)
    harness.advance_clock(minutes=1)
    await run_until_idle(worker)
    assert await harness.state(job) is JobState.CANCELLED
    assert await harness.state(waiting) is JobState.RUNNING
    assert harness.messenger.posted("video", job) == harness.messenger.posted("failure", job) == []
    assert await harness.charged_count() == counts + 1


async def test_a_job_cancelled_while_it_is_submitted_ends_unposted(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.queued_job(worker)
    answer, run = await hang_call(worker, harness.provider, "submit")
    await harness.store.cancel(job.id, harness.clock(), even_if_paid=True)
    answer.set()
    await run
    harness.provider.finish_all()
    harness.advance_clock(minutes=1)
    await run_until_idle(worker)
    assert await harness.state(job) is JobState.CANCELLED
    assert harness.messenger.posted("video", job) == []
    assert await harness.charged_count() == 1


async def test_a_job_cancelled_before_its_video_is_posted_stays_unposted(harness: WorkerHarness) -> None:
    worker = harness.worker()
    harness.provider.submit_status = TaskStatus.COMPLETED
    harness.provider.fail("download", UpstreamIll("502"))
    job = await harness.order()
    await run_until_idle(worker)
    await harness.store.cancel(job.id, harness.clock(), even_if_paid=True)
    harness.advance_clock(minutes=5)
    await run_until_idle(worker)
    assert await harness.state(job) is JobState.CANCELLED
    assert harness.messenger.posted("video", job) == []
