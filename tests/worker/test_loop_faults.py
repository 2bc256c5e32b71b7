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
from bot.domain.jobs import FailureReason, JobState
from bot.providers.base import TaskStatus
from bot.worker.loop import LEASES, MAX_CLAIMS
from tests.harness import DOWN, LOOK_S, SHORT_LIMITS, OperatorState, hanging, settle


async def test_a_job_found_submitting_is_never_posted_again(
    house: OperatorState, caplog: pytest.LogCaptureFixture
) -> None:
    job = await house.order()
    await house.worker().turn()
    lease = timedelta(minutes=2)
    assert await house.store.claim_queued(house.clock(), 5, timedelta(0), lease)  # and here its worker died
    house.pass_time(minutes=2)
    await settle(house.worker())
    assert (await house.now(job)).failure_reason is FailureReason.OUTCOME_UNKNOWN
    assert house.provider.posts == 0
    assert await house.counted() == 0
    assert len(house.messenger.of("failure", job)) == 1
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert any(job.id in record.getMessage() and "paid task" in record.getMessage() for record in told)


async def test_a_create_whose_answer_was_lost_is_never_posted_again(house: OperatorState) -> None:
    worker = house.worker()
    house.provider.fail("submit", OutcomeUnknown("the connection broke"), late=True)
    job = await house.order()
    await settle(worker)
    house.pass_time(hours=1)
    await settle(worker)
    assert (await house.now(job)).failure_reason is FailureReason.OUTCOME_UNKNOWN
    assert house.provider.posts == 1
    assert await house.counted() == 0


async def test_a_video_posted_by_a_worker_that_died_is_not_posted_twice(house: OperatorState) -> None:
    worker = house.worker()
    house.provider.answer = TaskStatus.COMPLETED
    job = await house.waiting(worker)
    await worker.turn()
    [held] = await house.store.claim_due(house.clock(), 1, LEASES)
    video = await house.messenger.post_video(held, Path(__file__))  # and here its worker died
    house.pass_time(minutes=5)
    await settle(house.worker())
    done = await house.now(job)
    assert (done.state, done.result_message_id) == (JobState.DELIVERED, video)
    assert len(house.messenger.of("video", job)) == 1


async def test_a_job_that_takes_its_workers_down_is_given_up(house: OperatorState) -> None:
    job = await house.running(house.worker())
    house.pass_time(seconds=LOOK_S)
    await house.lose_workers(MAX_CLAIMS)
    await settle(house.worker())
    assert (await house.now(job)).failure_reason is FailureReason.ABANDONED
    assert "status" not in house.provider.calls
    assert await house.counted() == 0


async def test_a_job_whose_last_worker_died_right_after_it_posted_is_delivered_and_counts(
    house: OperatorState,
) -> None:
    worker = house.worker()
    house.provider.answer = TaskStatus.COMPLETED
    job = await house.waiting(worker)
    await worker.turn()
    video = await house.messenger.post_video(job, Path(__file__))  # and here the last of them died
    await house.lose_workers(MAX_CLAIMS)
    await settle(house.worker())
    done = await house.now(job)
    assert (done.state, done.result_message_id) == (JobState.DELIVERED, video)
    assert house.messenger.of("failure", job) == []
    assert await house.counted() == 1


async def test_a_job_whose_workers_died_is_tried_up_to_the_limit(house: OperatorState) -> None:
    job = await house.finished(house.worker())
    await house.lose_workers(MAX_CLAIMS - 1)
    await settle(house.worker())
    assert await house.state(job) is JobState.DELIVERED


async def test_an_end_that_takes_its_workers_down_is_not_announced(house: OperatorState) -> None:
    worker = house.worker()
    house.messenger.fail("show_status", DeliveryForbidden("Missing Permissions"))
    job = await house.waiting(worker)
    await house.lose_workers(MAX_CLAIMS)
    await settle(worker)
    done = await house.now(job)
    assert (done.state, done.due_at) == (JobState.FAILED, None)
    assert house.messenger.calls == ["show_status"]


async def test_a_lease_that_was_lost_writes_and_shows_nothing(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.waiting(worker)
    house.provider.fail("submit", UpstreamRefused("no"), late=True)
    answer, turn = await hanging(worker, house.provider, "submit")
    house.pass_time(minutes=2)
    await settle(house.worker())
    assert (await house.now(job)).failure_reason is FailureReason.OUTCOME_UNKNOWN
    answer.set()
    await turn
    assert (await house.now(job)).failure_reason is FailureReason.OUTCOME_UNKNOWN
    assert [one.shows for one in house.messenger.of("status", job)] == [JobState.FAILED]


async def test_a_store_that_fails_before_the_post_puts_the_job_back_into_the_queue(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.order()
    house.board.fail("frame", DOWN)
    await settle(worker)
    assert await house.state(job) is JobState.QUEUED
    assert house.provider.posts == 0
    house.pass_time(minutes=1)
    await settle(worker)
    assert await house.state(job) is JobState.RUNNING


async def test_a_store_that_fails_between_two_claims_loses_no_claimed_job(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.order()
    house.board.fail("claim_queued", DOWN)
    with pytest.raises(StoreError):
        await worker.turn()
    await settle(worker)
    assert await house.state(job) is JobState.RUNNING


@pytest.mark.parametrize(
    "error",
    [
        UpstreamClosed("no such key", status=401),
        UpstreamClosed("no balance", status=403),
        UpstreamBusy("slow down", retry_after_s=None),
        UpstreamUnreached("connection refused"),
    ],
)
async def test_an_upstream_that_takes_nothing_holds_all_jobs_and_fails_none(
    house: OperatorState, error: UpstreamError
) -> None:
    worker = house.worker()
    jobs = [await house.order(user_id=number) for number in (1, 2, 3)]
    house.provider.fail_from_now_on("submit", error)
    await settle(worker)
    for _ in range(12):
        house.pass_time(minutes=5)
        await settle(worker)
    assert {await house.state(job) for job in jobs} == {JobState.QUEUED}
    assert house.provider.posts == 13
    assert (await house.store.gate()).reason == str(error)
    house.provider.heal()
    house.pass_time(minutes=5)
    await settle(worker)
    assert [order.prompt for order in house.provider.orders] == ["member 1", "member 2", "member 3"]
    assert {await house.state(job) for job in jobs} == {JobState.RUNNING}
    assert (await house.store.gate()).failures == 0


async def test_retry_after_is_respected(house: OperatorState) -> None:
    worker = house.worker()
    await house.order()
    house.provider.fail("submit", UpstreamBusy("slow down", retry_after_s=600))
    await settle(worker)
    house.pass_time(seconds=599)
    await settle(worker)
    assert house.provider.posts == 1
    house.pass_time(seconds=1)
    await settle(worker)
    assert house.provider.posts == 2


async def test_a_submission_that_was_on_its_way_does_not_undo_retry_after(house: OperatorState) -> None:
    worker = house.worker()
    first, _, third = [await house.order() for _ in range(3)]
    await worker.turn()
    answer = house.provider.hang("submit")
    assert await worker._claim() == 1
    await house.provider.called("submit")
    house.provider.fail("submit", UpstreamBusy("slow down", retry_after_s=600))
    assert await worker._claim() == 1
    await house.provider.called("submit", 2)
    while not (await house.store.gate()).is_closed(house.clock()):
        await asyncio.sleep(0)
    answer.set()
    await worker.turn()
    await settle(worker)
    assert await house.state(first) is JobState.RUNNING
    assert await house.state(third) is JobState.QUEUED
    assert house.provider.posts == 2
    house.pass_time(seconds=600)
    await settle(worker)
    assert await house.state(third) is JobState.RUNNING


async def test_an_hour_without_looks_loses_nothing(house: OperatorState) -> None:
    worker = house.worker()
    jobs = [await house.running(worker) for _ in range(3)]
    house.provider.fail_from_now_on("status", UpstreamIll("502"))
    for _ in range(60):
        house.pass_time(minutes=1)
        await settle(worker)
    house.provider.heal()
    house.provider.end_all()
    house.pass_time(minutes=2)
    await settle(worker)
    assert {await house.state(job) for job in jobs} == {JobState.DELIVERED}
    assert len(house.messenger.of("video", jobs[0])) == 1


async def test_a_task_over_its_time_fails_when_the_upstream_answers(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.running(worker)
    house.pass_time(minutes=31)
    house.provider.fail("status", UpstreamIll("502"))
    await settle(worker)
    assert await house.state(job) is JobState.RUNNING
    house.pass_time(minutes=2)
    await settle(worker)
    assert (await house.now(job)).failure_reason is FailureReason.TIMED_OUT
    assert await house.counted() == 0


async def test_a_step_that_hangs_before_money_is_spent_is_tried_again(house: OperatorState) -> None:
    worker = house.worker(limits=SHORT_LIMITS)
    house.messenger.hang("show_status")
    job = await house.waiting(worker)
    hung = await house.now(job)
    assert (hung.state, hung.attempts) == (JobState.QUEUED, 1)


async def test_a_create_that_hangs_is_never_posted_again(house: OperatorState) -> None:
    worker = house.worker(limits=SHORT_LIMITS)
    job = await house.waiting(worker)
    house.provider.hang("submit")
    await settle(worker)
    assert (await house.now(job)).failure_reason is FailureReason.OUTCOME_UNKNOWN
    assert house.provider.posts == 1
    assert await house.counted() == 0


@pytest.mark.parametrize(("method", "state"), [("status", JobState.RUNNING), ("download", JobState.DELIVERING)])
async def test_a_look_or_a_download_that_hangs_is_tried_again(
    house: OperatorState, method: str, state: JobState
) -> None:
    job = await house.running(house.worker())
    worker = house.worker(limits=SHORT_LIMITS)
    if method == "download":
        house.provider.end_all()
    house.pass_time(seconds=LOOK_S)
    house.provider.hang(method)
    await settle(worker)
    hung = await house.now(job)
    assert (hung.state, hung.attempts) == (state, 1)
    assert hung.due_at is not None
    assert hung.due_at > house.clock()


async def test_a_post_that_hangs_is_adopted_by_the_next_try(house: OperatorState) -> None:
    job = await house.finished(house.worker())
    house.messenger.fail("post_video", TimeoutError(), late=True)
    worker = house.worker()
    await settle(worker)
    house.pass_time(minutes=1)
    await settle(worker)
    assert await house.state(job) is JobState.DELIVERED
    assert len(house.messenger.of("video", job)) == 1


@pytest.mark.parametrize(
    ("method", "state"),
    [
        ("show_status", JobState.QUEUED),
        ("status", JobState.RUNNING),
        ("download", JobState.DELIVERING),
        ("post_video", JobState.DELIVERING),
    ],
)
async def test_a_step_with_a_bug_keeps_its_job_and_comes_back_ever_more_seldom(
    house: OperatorState, method: str, state: JobState
) -> None:
    worker = house.worker()
    place = house.provider if method in {"status", "download"} else house.messenger
    place.fail_from_now_on(method, ZeroDivisionError("a bug"))
    job = await house.order()
    await settle(worker)
    house.provider.end_all()
    for _ in range(20):
        house.pass_time(seconds=5)
        await settle(worker)
    assert 5 <= place.calls.count(method) <= 10
    assert await house.state(job) is state
    place.heal()
    for _ in range(3):
        house.pass_time(minutes=2)
        await settle(worker)
        house.provider.end_all()
    assert await house.state(job) is JobState.DELIVERED


async def test_a_create_with_a_bug_is_never_posted_again(house: OperatorState) -> None:
    worker = house.worker()
    house.provider.fail("submit", ZeroDivisionError("a bug"), late=True)
    job = await house.order()
    await settle(worker)
    house.pass_time(hours=1)
    await settle(worker)
    assert (await house.now(job)).failure_reason is FailureReason.OUTCOME_UNKNOWN
    assert house.provider.posts == 1


async def test_a_step_whose_bug_stays_for_a_day_ends_its_job(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.running(worker)
    house.provider.fail_from_now_on("status", ZeroDivisionError("a bug"))
    house.pass_time(hours=24, seconds=1)
    await settle(worker)
    assert (await house.now(job)).failure_reason is FailureReason.ABANDONED
    assert await house.counted() == 0
