import asyncio
from datetime import timedelta

from bot.domain.errors import UpstreamClosed
from bot.domain.jobs import ENDED, JobState
from bot.providers.base import TaskStatus
from bot.store.jobs.leasing import GUILD_MAX_IN_PROGRESS
from bot.worker.loop import LEASES
from tests.fakes import WatchedBoard
from tests.harness import DOWN, LOOK_S, OperatorState, come_to_rest, loop_of, settle


async def test_the_loop_brings_a_job_all_the_way_by_itself(house: OperatorState) -> None:
    house.provider.answer = TaskStatus.COMPLETED
    job = await house.order()
    async with loop_of(house.worker()):
        await house.until(job, JobState.DELIVERED)
    assert len(house.messenger.of("video", job)) == 1


async def test_a_wake_makes_the_loop_look_at_once(house: OperatorState) -> None:
    worker = house.worker()  # it would sleep for an hour
    async with loop_of(worker):
        await house.board.called("next_due_at")
        job = await house.order()
        worker.wake()
        await house.until(job, JobState.RUNNING)


async def test_a_wake_while_the_loop_is_looking_is_not_lost(house: OperatorState) -> None:
    worker = house.worker()
    looking = house.board.hang("next_due_at")
    async with loop_of(worker):
        await house.board.called("next_due_at")
        job = await house.order()
        worker.wake()
        looking.set()
        await house.until(job, JobState.RUNNING)


async def test_the_loop_wakes_by_itself_when_something_is_due(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.running(worker)
    house.provider.end_all()
    house.pass_time(seconds=LOOK_S - 0.01)
    async with loop_of(worker):
        await house.board.called("next_due_at")
        house.pass_time(seconds=0.01)
        await house.until(job, JobState.DELIVERED)


async def test_the_loop_rests_while_all_its_places_are_taken(house: OperatorState) -> None:
    """What is due then lies in the past, and must not be asked for again and again."""
    for _ in range(3):
        await house.order()
    shown = house.messenger.hang("show_status")
    async with loop_of(house.worker(max_steps=1)):
        await house.messenger.called("show_status")
        await come_to_rest(house)
        shown.set()


async def test_the_loop_rests_while_leases_hold_what_is_due(house: OperatorState) -> None:
    await house.order()
    await house.store.claim_due(house.clock(), 1, LEASES)
    async with loop_of(house.worker()):
        await house.board.called("next_due_at")
        await come_to_rest(house)


async def test_the_loop_rests_while_a_server_is_busy_that_has_more_to_do(house: OperatorState) -> None:
    for _ in range(GUILD_MAX_IN_PROGRESS + 3):
        await house.order()
    shown = house.messenger.hang("show_status")
    held = await house.store.claim_due(house.clock(), 3, LEASES)
    async with loop_of(house.worker()):
        await house.messenger.called("show_status")
        await house.store.release(held)
        await come_to_rest(house)
        shown.set()


async def test_the_loop_rests_while_the_upstream_holds_all_jobs(house: OperatorState) -> None:
    for _ in range(3):
        await house.order()
    house.provider.fail_from_now_on("submit", UpstreamClosed("no balance", status=403))
    async with loop_of(house.worker()):
        await house.provider.called("submit")
        await come_to_rest(house)


async def test_an_outage_of_the_store_ends_no_loop(house: OperatorState) -> None:
    worker = house.worker()
    house.board.fail_from_now_on("claim_due", DOWN)
    async with loop_of(worker):
        await house.board.called("claim_due", 5)
        job = await house.order()
        house.board.heal()
        await house.until(job, JobState.RUNNING)


async def test_slots_are_never_exceeded(house: OperatorState) -> None:
    worker = house.worker(max_running=3)
    jobs = [await house.order(user_id=number) for number in range(10)]
    for _ in range(5):
        await settle(worker)
        house.provider.end_all()
        house.pass_time(minutes=1)
    assert house.provider.most_at_once == 3
    assert {await house.state(job) for job in jobs} == {JobState.DELIVERED}


async def test_submissions_keep_their_pause(house: OperatorState) -> None:
    worker = house.worker(submit_pause=timedelta(seconds=0.5))
    for number in range(3):
        await house.order(user_id=number)
    posts = []
    for _ in range(5):
        await settle(worker)
        posts.append(house.provider.posts)
        house.pass_time(seconds=0.25)
    assert posts == [1, 1, 2, 2, 3]


async def test_a_member_with_many_orders_does_not_keep_the_others_waiting(house: OperatorState) -> None:
    worker = house.worker(max_running=2)
    for user_id in (1, 1, 1, 1, 2, 3):
        await house.order(user_id=user_id)
    for _ in range(4):
        await settle(worker)
        house.provider.end(f"task-{len(house.provider.orders) - 1}")
        house.provider.end(f"task-{len(house.provider.orders)}")
        house.pass_time(minutes=1)
    members = [order.prompt for order in house.provider.orders]
    assert members == [f"member {number}" for number in (1, 2, 1, 3, 1, 1)]


async def test_steps_side_by_side_are_bounded(house: OperatorState) -> None:
    worker = house.worker(max_steps=2)
    for _ in range(5):
        await house.order()
    shown = house.messenger.hang("show_status")
    assert await worker._claim() == 2
    assert await worker._claim() == 0
    assert house.board.calls == ["claim_due"]
    shown.set()
    await settle(worker)


async def test_two_workers_never_run_one_job_at_once(house: OperatorState) -> None:
    jobs = [await house.order(user_id=number) for number in range(12)]
    house.provider.answer = TaskStatus.COMPLETED
    workers = [house.worker(board=WatchedBoard(house.store), idle=timedelta(milliseconds=1)) for _ in range(2)]
    loops = [asyncio.create_task(worker.run()) for worker in workers]
    for job in jobs:
        await house.until(job, *ENDED)
    for worker in workers:
        await worker.stop(grace_s=10)
    await asyncio.gather(*loops)
    assert {await house.state(job) for job in jobs} == {JobState.DELIVERED}
    assert house.provider.posts == len(jobs)
    for kind in ("status", "video"):
        assert [len(house.messenger.of(kind, job)) for job in jobs] == [1] * len(jobs)
