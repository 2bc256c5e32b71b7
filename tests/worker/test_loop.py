import logging

import pytest

from bot.domain.errors import DeliveryDelayed, DeliveryForbidden, UpstreamIll
from bot.domain.jobs import FailureReason, JobState
from bot.providers.base import TaskStatus
from tests.harness import LOOK_S, SHORT_LIMITS, OperatorState, hanging, settle


async def test_a_job_goes_all_the_way(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.running(worker)
    assert [one.shows for one in house.messenger.of("status", job)] == [JobState.RUNNING]
    house.provider.end_all()
    house.pass_time(seconds=LOOK_S)
    await settle(worker)
    [video] = house.messenger.of("video", job)
    done = await house.now(job)
    assert (done.state, done.result_message_id, done.due_at) == (JobState.DELIVERED, video.id, None)
    assert [one.shows for one in house.messenger.of("status", job)] == [JobState.DELIVERED]
    assert house.provider.posts == 1
    assert await house.counted() == 1


async def test_a_finished_job_wants_nothing_any_more(house: OperatorState) -> None:
    worker = house.worker()
    house.provider.answer = TaskStatus.COMPLETED
    await house.order()
    await settle(worker)
    house.pass_time(days=2)
    assert await worker.turn() == 0
    assert await house.store.next_due_at(house.clock(), 5) is None


async def test_a_task_that_fails_gives_the_quota_back_and_is_told_once(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.running(worker)
    house.provider.end_all(TaskStatus.FAILED)
    house.pass_time(seconds=LOOK_S)
    await settle(worker)
    assert (await house.now(job)).failure_reason is FailureReason.UPSTREAM_FAILED
    assert await house.counted() == 0
    assert len(house.messenger.of("failure", job)) == 1


async def test_a_channel_without_permission_ends_the_job_before_money_is_spent(house: OperatorState) -> None:
    house.messenger.fail_from_now_on("show_status", DeliveryForbidden("Missing Permissions"))
    job = await house.order()
    await settle(house.worker())
    assert (await house.now(job)).failure_reason is FailureReason.UNDELIVERABLE
    assert await house.counted() == 0
    assert house.provider.posts == 0


async def test_a_forbidden_channel_waits_for_its_admin_and_then_fails(house: OperatorState) -> None:
    worker = house.worker()
    house.provider.answer = TaskStatus.COMPLETED
    house.messenger.fail_from_now_on("post_video", DeliveryForbidden("Missing Permissions"))
    job = await house.order()
    await settle(worker)
    house.pass_time(minutes=29)
    await settle(worker)
    assert await house.state(job) is JobState.DELIVERING
    house.pass_time(minutes=2)
    await settle(worker)
    assert (await house.now(job)).failure_reason is FailureReason.UNDELIVERABLE
    assert await house.counted() == 0


async def test_a_status_message_that_can_not_follow_is_no_error(
    house: OperatorState, caplog: pytest.LogCaptureFixture
) -> None:
    worker = house.worker()
    job = await house.waiting(worker)
    house.messenger.fail("show_status", DeliveryDelayed("Discord is ill"))
    await settle(worker)
    assert await house.state(job) is JobState.RUNNING
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


async def test_a_status_message_that_hangs_gives_its_place_free(house: OperatorState) -> None:
    worker = house.worker(limits=SHORT_LIMITS)
    job = await house.waiting(worker)
    house.messenger.hang("show_status")
    await settle(worker)
    assert await house.state(job) is JobState.RUNNING


async def test_a_job_cancelled_in_the_queue_is_free_and_never_posted(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.waiting(worker)
    await house.store.cancel(job.id, house.clock(), paid_too=False)
    await settle(worker)
    assert [one.shows for one in house.messenger.of("status", job)] == [JobState.CANCELLED]
    assert house.provider.posts == 0
    assert await house.counted() == 0


@pytest.mark.parametrize(("status", "counts"), [(TaskStatus.COMPLETED, 1), (TaskStatus.FAILED, 0)])
async def test_a_job_cancelled_while_running_ends_unposted_when_its_task_does(
    house: OperatorState, status: TaskStatus, counts: int
) -> None:
    worker = house.worker(max_running=1)
    job = await house.running(worker)
    waiting = await house.order()
    await house.store.cancel(job.id, house.clock(), paid_too=True)
    await settle(worker)
    house.pass_time(minutes=1)
    await settle(worker)
    assert await house.state(job) is JobState.RUNNING  # its task holds its slot
    assert await house.state(waiting) is JobState.QUEUED
    house.provider.end_all(status)
    house.pass_time(minutes=1)
    await settle(worker)
    assert await house.state(job) is JobState.CANCELLED
    assert await house.state(waiting) is JobState.RUNNING
    assert house.messenger.of("video", job) == house.messenger.of("failure", job) == []
    assert await house.counted() == counts + 1


async def test_a_job_cancelled_while_it_is_handed_in_ends_unposted(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.waiting(worker)
    answer, turn = await hanging(worker, house.provider, "submit")
    await house.store.cancel(job.id, house.clock(), paid_too=True)
    answer.set()
    await turn
    house.provider.end_all()
    house.pass_time(minutes=1)
    await settle(worker)
    assert await house.state(job) is JobState.CANCELLED
    assert house.messenger.of("video", job) == []
    assert await house.counted() == 1


async def test_a_job_cancelled_before_its_video_is_posted_stays_unposted(house: OperatorState) -> None:
    worker = house.worker()
    house.provider.answer = TaskStatus.COMPLETED
    house.provider.fail("download", UpstreamIll("502"))
    job = await house.order()
    await settle(worker)
    await house.store.cancel(job.id, house.clock(), paid_too=True)
    house.pass_time(minutes=5)
    await settle(worker)
    assert await house.state(job) is JobState.CANCELLED
    assert house.messenger.of("video", job) == []
