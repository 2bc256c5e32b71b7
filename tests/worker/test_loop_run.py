import asyncio
from datetime import timedelta

import pytest

from bot.domain.errors import UpstreamClosed
from bot.domain.jobs import ENDED, JobState
from bot.providers.base import TaskStatus
from bot.store.jobs.due import GUILD_MAX_IN_PROGRESS
from bot.worker.config import LEASE_DURATIONS
from tests.fakes import FaultyJobStore
from tests.harness import (
    POLL_INTERVAL_S,
    STORE_DOWN,
    WorkerHarness,
    run_until_idle,
    running_loop,
    wait_until_quiet,
)
from tests.providers_asked import vtrix


async def test_the_loop_processes_a_job_from_start_to_end(harness: WorkerHarness) -> None:
    harness.provider.submit_status = TaskStatus.COMPLETED
    job = await harness.order()
    async with running_loop(harness.worker()):
        await harness.wait_for_state(job, JobState.DELIVERED)
    assert len(harness.messenger.posted("video", job)) == 1


async def test_a_wake_makes_the_loop_check_at_once(harness: WorkerHarness) -> None:
    worker = harness.worker()  # it would sleep for an hour
    async with running_loop(worker):
        await harness.worker_store.wait_for_call("next_due_at")
        job = await harness.order()
        worker.wake()
        await harness.wait_for_state(job, JobState.RUNNING)


async def test_a_wake_while_the_loop_is_checking_is_not_lost(harness: WorkerHarness) -> None:
    worker = harness.worker()
    looking = harness.worker_store.hang("next_due_at")
    async with running_loop(worker):
        await harness.worker_store.wait_for_call("next_due_at")
        job = await harness.order()
        worker.wake()
        looking.set()
        await harness.wait_for_state(job, JobState.RUNNING)


async def test_the_loop_wakes_by_itself_when_something_is_due(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.running_job(worker)
    harness.provider.finish_all()
    harness.advance_clock(seconds=POLL_INTERVAL_S - 0.01)
    async with running_loop(worker):
        await harness.worker_store.wait_for_call("next_due_at")
        harness.advance_clock(seconds=0.01)
        await harness.wait_for_state(job, JobState.DELIVERED)


async def test_the_loop_sleeps_while_the_maximum_of_jobs_is_in_progress(harness: WorkerHarness) -> None:
    """Jobs are due then, but the loop must not ask for them in a busy loop."""
    for _ in range(3):
        await harness.order()
    shown = harness.messenger.hang("show_status")
    async with running_loop(harness.worker(max_concurrent_jobs=1)):
        await harness.messenger.wait_for_call("show_status")
        await wait_until_quiet(harness)
        shown.set()


async def test_the_loop_sleeps_while_others_hold_what_is_due(harness: WorkerHarness) -> None:
    await harness.order()
    await harness.store.claim_due(harness.clock(), 1, LEASE_DURATIONS)
    async with running_loop(harness.worker()):
        await harness.worker_store.wait_for_call("next_due_at")
        await wait_until_quiet(harness)


async def test_the_loop_sleeps_while_a_server_has_its_maximum_in_progress(harness: WorkerHarness) -> None:
    for _ in range(GUILD_MAX_IN_PROGRESS + 3):
        await harness.order()
    shown = harness.messenger.hang("show_status")
    held = await harness.store.claim_due(harness.clock(), 3, LEASE_DURATIONS)
    async with running_loop(harness.worker()):
        await harness.messenger.wait_for_call("show_status")
        await harness.store.release(held)
        await wait_until_quiet(harness)
        shown.set()


async def test_the_loop_sleeps_while_submissions_are_paused(harness: WorkerHarness) -> None:
    for _ in range(3):
        await harness.order()
    harness.provider.fail_always("submit", UpstreamClosed("no balance", status=403))
    async with running_loop(harness.worker()):
        await harness.provider.wait_for_call("submit")
        await wait_until_quiet(harness)


async def test_an_outage_of_the_store_ends_no_loop(harness: WorkerHarness) -> None:
    worker = harness.worker()
    harness.worker_store.fail_always("claim_due", STORE_DOWN)
    async with running_loop(worker):
        await harness.worker_store.wait_for_call("claim_due", 5)
        job = await harness.order()
        harness.worker_store.stop_failing()
        await harness.wait_for_state(job, JobState.RUNNING)


@pytest.mark.full
async def test_the_number_of_running_tasks_never_exceeds_its_maximum(harness: WorkerHarness) -> None:
    worker = harness.worker(providers=vtrix(3))
    jobs = [await harness.order(user_id=number) for number in range(10)]
    for _ in range(5):
        await run_until_idle(worker)
        harness.provider.finish_all()
        harness.advance_clock(minutes=1)
    assert harness.provider.max_running == 3
    assert {await harness.state(job) for job in jobs} == {JobState.DELIVERED}


async def test_submissions_keep_their_interval(harness: WorkerHarness) -> None:
    worker = harness.worker(providers=vtrix(5, timedelta(seconds=0.5)))
    for number in range(3):
        await harness.order(user_id=number)
    posts = []
    for _ in range(5):
        await run_until_idle(worker)
        posts.append(harness.provider.submit_count)
        harness.advance_clock(seconds=0.25)
    assert posts == [1, 1, 2, 2, 3]


async def test_a_member_with_many_orders_does_not_delay_others(harness: WorkerHarness) -> None:
    worker = harness.worker(providers=vtrix(2))
    for user_id in (1, 1, 1, 1, 2, 3):
        await harness.order(user_id=user_id)
    for _ in range(4):
        await run_until_idle(worker)
        harness.provider.finish(f"task-{len(harness.provider.orders) - 1}")
        harness.provider.finish(f"task-{len(harness.provider.orders)}")
        harness.advance_clock(minutes=1)
    members = [order.prompt for order in harness.provider.orders]
    assert members == [f"member {number}" for number in (1, 2, 1, 3, 1, 1)]


async def test_the_number_of_jobs_in_progress_is_limited(harness: WorkerHarness) -> None:
    worker = harness.worker(max_concurrent_jobs=2)
    for _ in range(5):
        await harness.order()
    shown = harness.messenger.hang("show_status")
    assert await worker._claim() == 2
    assert await worker._claim() == 0
    assert harness.worker_store.calls == ["claim_due"]
    shown.set()
    await run_until_idle(worker)


async def test_two_workers_never_run_one_job_at_once(harness: WorkerHarness) -> None:
    jobs = [await harness.order(user_id=number) for number in range(12)]
    harness.provider.submit_status = TaskStatus.COMPLETED
    workers = [
        harness.worker(store=FaultyJobStore(harness.store), max_idle=timedelta(milliseconds=1)) for _ in range(2)
    ]
    loops = [asyncio.create_task(worker.run()) for worker in workers]
    for job in jobs:
        await harness.wait_for_state(job, *ENDED)
    for worker in workers:
        await worker.stop(grace_s=10)
    await asyncio.gather(*loops)
    assert {await harness.state(job) for job in jobs} == {JobState.DELIVERED}
    assert harness.provider.submit_count == len(jobs)
    assert [len(harness.messenger.posted("video", job)) for job in jobs] == [1] * len(jobs)
    assert harness.messenger.calls.count("show_status") == len(jobs)
