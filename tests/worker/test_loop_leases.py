"""Leases of a living worker: renewed while a step runs, lost only to somebody who had reason to take them."""

import asyncio
from datetime import timedelta

from bot.domain.jobs import FailureReason, JobState
from bot.worker.loop import LEASE, LEASES
from tests.fakes import WatchedBoard
from tests.harness import DOWN, OperatorState, loop_of, settle

OFTEN = timedelta(milliseconds=1)


async def renewed(board: WatchedBoard, times: int = 2) -> None:
    """Returns once that many more renewals have begun, so all but the last of them have ended."""
    await board.called("renew", board.calls.count("renew") + times)


async def test_a_step_that_takes_longer_than_its_lease_stays_this_workers(house: OperatorState) -> None:
    job = await house.finished(house.worker())
    fetched = house.provider.hang("download")
    async with loop_of(house.worker(renew_every=OFTEN)):
        await house.provider.called("download")
        for _ in range(4):
            house.pass_time(seconds=LEASE.total_seconds() - 1)
            await renewed(house.board)
            assert await house.store.claim_due(house.clock(), 1, LEASES) == []
        fetched.set()
        await house.until(job, JobState.DELIVERED)
    assert house.provider.calls.count("download") == 1
    assert len(house.messenger.of("video", job)) == 1


async def test_a_lease_that_was_lost_ends_its_step(house: OperatorState) -> None:
    job = await house.finished(house.worker())
    house.provider.hang("download")
    async with asyncio.timeout(60), loop_of(house.worker(renew_every=OFTEN)):
        await house.provider.called("download")
        async with house.store._db.write() as connection:
            await connection.exec_driver_sql("UPDATE jobs SET lease_token = 'a thief', due_at = NULL")
        await house.board.called("apply_later", house.board.calls.count("apply_later") + 1)
    assert await house.state(job) is JobState.DELIVERING
    assert (await house.now(job)).attempts == 0
    assert "post_video" not in house.messenger.calls


async def test_a_create_on_its_way_is_not_cut_off_when_its_lease_was_lost(house: OperatorState) -> None:
    job = await house.waiting(house.worker())
    answer = house.provider.hang("submit")
    async with loop_of(house.worker(renew_every=OFTEN)):
        await house.provider.called("submit")
        async with house.store._db.write() as connection:
            await connection.exec_driver_sql("UPDATE jobs SET lease_token = 'a thief', due_at = NULL")
        await renewed(house.board)
        answer.set()
        await house.board.called("apply")
    assert await house.state(job) is JobState.SUBMITTING
    assert len(house.provider.tasks) == 1


async def test_leases_are_renewed_through_the_grace_of_a_stop(house: OperatorState) -> None:
    await house.finished(house.worker())
    fetched = house.provider.hang("download")
    worker = house.worker(renew_every=OFTEN)
    loop = asyncio.create_task(worker.run())
    await house.provider.called("download")
    stop = asyncio.create_task(worker.stop(grace_s=30))
    for _ in range(3):
        house.pass_time(seconds=LEASE.total_seconds() - 1)
        await renewed(house.board)
    assert await house.store.claim_due(house.clock(), 1, LEASES) == []
    fetched.set()
    await stop
    await loop


async def test_a_store_that_can_not_renew_for_a_while_costs_no_lease(house: OperatorState) -> None:
    job = await house.finished(house.worker())
    fetched = house.provider.hang("download")
    async with loop_of(house.worker(renew_every=OFTEN)):
        await house.provider.called("download")
        house.board.fail_from_now_on("renew", DOWN)
        house.pass_time(hours=1)
        await renewed(house.board, 5)
        house.board.heal()
        await renewed(house.board)
        assert await house.store.claim_due(house.clock(), 1, LEASES) == []
        fetched.set()
        await house.until(job, JobState.DELIVERED)


async def test_a_worker_that_saw_an_outage_leaves_others_the_time_to_renew(house: OperatorState) -> None:
    """Its neighbour has an answer that was paid for, and can only now write it down."""
    neighbour = house.worker()
    job = await house.waiting(neighbour)
    answer = house.provider.hang("submit")
    turn = asyncio.create_task(neighbour.turn())
    await house.provider.called("submit")
    house.pass_time(hours=1)

    board = WatchedBoard(house.store)
    board.fail("claim_due", DOWN)
    async with loop_of(house.worker(board=board)):
        await board.called("next_due_at")
        answer.set()
        await turn
    assert await house.state(job) is JobState.RUNNING


async def test_what_a_dead_worker_held_is_taken_when_its_lease_is_over(house: OperatorState) -> None:
    job = await house.finished(house.worker())
    assert await house.store.claim_due(house.clock(), 1, LEASES)
    house.pass_time(seconds=LEASE.total_seconds() - 1)
    assert await house.worker().turn() == 0
    house.pass_time(seconds=1)
    await settle(house.worker())
    assert await house.state(job) is JobState.DELIVERED


async def test_a_create_of_a_dead_worker_is_given_longer(house: OperatorState) -> None:
    job = await house.waiting(house.worker())
    assert await house.store.claim_queued(house.clock(), 5, timedelta(0), LEASES[JobState.SUBMITTING])
    house.pass_time(seconds=119)
    assert await house.worker().turn() == 0
    house.pass_time(seconds=1)
    await settle(house.worker())
    assert (await house.now(job)).failure is FailureReason.OUTCOME_UNKNOWN


async def test_the_answer_to_a_create_counts_though_its_lease_was_lost_meanwhile(house: OperatorState) -> None:
    job = await house.waiting(house.worker())
    answered = house.provider.hang("submit")
    handing_in = asyncio.create_task(house.worker().turn())
    await house.provider.called("submit")
    house.pass_time(hours=1)
    await settle(house.worker())  # another one's, whose clock is ahead
    assert (await house.now(job)).failure is FailureReason.OUTCOME_UNKNOWN
    answered.set()
    await handing_in
    assert await house.state(job) is JobState.RUNNING
    house.provider.end_all()
    await settle(house.worker())
    found = await house.now(job)
    assert (found.state, found.counted) == (JobState.DELIVERED, False)
    assert house.provider.calls.count("submit") == len(house.messenger.of("video", job)) == 1
    assert await house.counted() == 0
