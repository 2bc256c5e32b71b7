import asyncio
from datetime import timedelta

from bot.domain.errors import UpstreamUnreached
from bot.domain.jobs import FailureReason, JobState
from bot.domain.schedule import Backoff
from bot.worker.loop import MAX_CLAIMS
from bot.worker.outcome_writer import FAULT_TRIES
from tests.harness import DOWN, LOOK_S, OperatorState, come_to_rest, hanging, pass_rounds, settle


async def test_an_outcome_that_can_not_be_written_is_kept_until_the_store_is_back(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.waiting(worker)
    house.board.fail_from_now_on("apply", DOWN)
    turn = asyncio.create_task(worker.turn())
    await house.board.called("apply", 3)
    house.pass_time(minutes=10)  # the lease is long over: the row is due
    assert await worker._claim() == 0
    house.board.heal()
    await turn
    kept = await house.now(job)
    assert (kept.state, kept.upstream_id) == (JobState.RUNNING, "task-1")
    assert house.provider.posts == 1
    await settle(worker)
    assert await house.state(job) is JobState.RUNNING


async def test_a_not_yet_that_can_not_be_written_is_kept_too(house: OperatorState) -> None:
    worker = house.worker()
    await house.order()
    await house.order()
    house.board.fail("apply_later", DOWN, DOWN, DOWN)
    await worker.turn()
    await settle(worker)
    assert house.provider.posts == 2
    assert house.messenger.calls.count("show_status") == 2
    assert house.messenger.calls.count("update_status") == 2


async def test_a_gate_that_can_not_be_opened_does_not_cost_the_outcome_before_it(house: OperatorState) -> None:
    worker = house.worker()
    house.provider.fail("submit", UpstreamUnreached("connection refused"))
    job = await house.order()
    await settle(worker)
    house.board.fail_from_now_on("open_gate", DOWN)
    house.pass_time(minutes=1)
    await settle(worker)
    assert await house.state(job) is JobState.RUNNING
    assert [one.shows for one in house.messenger.of("status", job)] == [JobState.RUNNING]


async def test_an_outcome_that_can_never_be_written_stops_nobody_else_and_is_given_up(
    house: OperatorState,
) -> None:
    worker = house.worker()
    broken = await house.finished(worker)
    await worker.turn()
    house.messenger.next_id = 2**70  # no database takes it
    await worker.turn()
    house.messenger.next_id = 1
    other = await house.order(user_id=2)
    await settle(worker)
    assert await house.state(other) is JobState.RUNNING
    for _ in range(MAX_CLAIMS - 1):
        house.pass_time(minutes=5)
        await settle(worker)
    assert len(house.messenger.of("video", broken)) == 1
    house.messenger.messages.clear()  # else its video would be found, and be its end
    house.pass_time(minutes=5)
    await settle(worker)
    assert (await house.now(broken)).failure_reason is FailureReason.ABANDONED


async def test_many_looks_are_written_at_once(house: OperatorState) -> None:
    worker = house.worker(max_running=30)
    for number in range(30):
        await house.order(user_id=number)
    await settle(worker)
    house.pass_time(seconds=LOOK_S)
    house.board.calls.clear()
    assert await worker.turn() == 30
    assert house.provider.calls.count("status") == 30
    assert house.board.calls == ["claim_due", "claim_queued", "apply_later"]


async def test_the_loop_rests_while_a_write_waits_for_the_store(house: OperatorState) -> None:
    """The job's lease is over by then, so that it is due, but it must not be claimed."""
    await house.order()
    house.board.fail_from_now_on("apply_later", DOWN)
    worker = house.worker(write_backoff=Backoff(first_s=60, cap_s=60), last_write=timedelta(0))
    loop = asyncio.create_task(worker.run())
    await house.board.called("apply_later")
    house.pass_time(minutes=10)
    worker.wake()
    await come_to_rest(house)
    await worker.stop(grace_s=0)
    await loop
    assert house.messenger.calls == ["show_status"]


async def test_an_outcome_that_is_known_at_the_stop_is_still_written(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.waiting(worker)
    written, turn = await hanging(worker, house.board, "apply")
    stop = asyncio.create_task(worker.stop(grace_s=0))
    await pass_rounds(house)
    assert not stop.done()
    written.set()
    await stop
    await turn
    assert await house.state(job) is JobState.RUNNING
    assert house.provider.posts == 1


async def test_a_not_yet_that_is_known_at_the_stop_is_still_written(house: OperatorState) -> None:
    worker = house.worker(linger=timedelta(seconds=0.2))
    job = await house.order()
    turn = asyncio.create_task(worker.turn())
    await house.messenger.called("show_status")
    while not worker._outbox._not_yet:
        await asyncio.sleep(0)
    await worker.stop(grace_s=0)
    await turn
    greeted = await house.now(job)
    assert (greeted.status_message_id, greeted.claim_count) == (1000, 0)


async def test_a_stop_waits_not_for_ever_for_a_store_that_is_gone(house: OperatorState) -> None:
    worker = house.worker(last_write=timedelta(milliseconds=10))
    await house.order()
    house.board.fail_from_now_on("apply_later", DOWN)
    house.board.fail_from_now_on("release", DOWN)
    turn = asyncio.create_task(worker.turn())
    await house.board.called("apply_later", 2)
    await worker.stop(grace_s=0)
    await turn


async def test_a_write_that_fails_by_a_fault_of_ours_is_tried_a_few_times_more(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.waiting(worker)
    house.board.fail("apply", *[ZeroDivisionError("a bug")] * FAULT_TRIES)
    await worker.turn()
    assert await house.state(job) is JobState.RUNNING
    assert house.provider.posts == 1


async def test_a_not_yet_that_can_never_be_written_takes_no_other_along(house: OperatorState) -> None:
    worker = house.worker()
    jobs = [await house.order() for _ in range(3)]
    house.messenger.next_id = 2**63 - 2  # the third message's is more than a database takes
    shown = house.messenger.hang("show_status")
    turn = asyncio.create_task(worker.turn())
    await house.messenger.called("show_status", 3)
    shown.set()
    await turn
    assert house.board.calls.count("apply_later") == 1 + 3
    assert [(await house.now(job)).status_message_id for job in jobs].count(None) == 1
