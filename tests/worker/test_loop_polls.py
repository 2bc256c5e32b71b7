"""Polls beside the other stages: many at once, in batches, and in nobody's way."""

import asyncio

import pytest

from bot.domain.jobs import Job, JobState
from bot.worker.loop import Worker
from bot.worker.outcome_writer import POLLS_AT_ONCE
from tests.harness import POLL_INTERVAL_S, WorkerHarness, hang_call, let_loop_run, run_until_idle, running_loop
from tests.providers_asked import vtrix
from tests.worker.test_loop_stop import FakeService


async def running_jobs(harness: WorkerHarness, worker: Worker, count: int) -> list[Job]:
    """Jobs whose tasks are due to be polled."""
    jobs = [await harness.order(user_id=number) for number in range(count)]
    await run_until_idle(worker)
    harness.advance_clock(seconds=POLL_INTERVAL_S)
    return jobs


async def test_polls_that_hang_take_no_place_from_a_stage(harness: WorkerHarness) -> None:
    worker = harness.worker(max_concurrent_jobs=1)
    await running_jobs(harness, worker, 3)
    answered, run = await hang_call(worker, harness.provider, "status")
    job = await harness.order()
    assert await worker._claim() == 1
    answered.set()
    await run
    assert (await harness.reload(job)).status_message_id is not None


async def test_no_more_polls_than_allowed_are_under_way(harness: WorkerHarness) -> None:
    worker = harness.worker(max_concurrent_polls=2)
    await running_jobs(harness, worker, 5)
    answered, run = await hang_call(worker, harness.provider, "status")
    await let_loop_run(harness)
    assert await worker._claim_polls() == 0
    assert harness.provider.calls.count("status") == 2
    answered.set()
    await run


@pytest.mark.full
async def test_tasks_that_end_together_leave_turns_at_the_store_to_everybody_else(harness: WorkerHarness) -> None:
    worker = harness.worker(providers=vtrix(100))
    jobs = await running_jobs(harness, worker, 3 * POLLS_AT_ONCE)
    harness.provider.finish_all()
    applied = harness.worker_store.calls.count("apply")
    written, run = await hang_call(worker, harness.worker_store, "apply")
    await let_loop_run(harness)
    assert harness.worker_store.calls.count("apply") - applied == POLLS_AT_ONCE
    written.set()
    await run
    assert {await harness.state(job) for job in jobs} == {JobState.DELIVERING}


async def test_polls_are_claimed_again_once_half_of_their_places_are_free(harness: WorkerHarness) -> None:
    worker = harness.worker(max_concurrent_polls=4)
    await running_jobs(harness, worker, 5)
    answered = harness.provider.hang("status")
    assert await worker._claim_polls() == 4
    assert await worker._claim_polls() == 0
    answered.set()
    await worker._wait_until_idle()
    assert await worker._claim_polls() == 1
    await worker._wait_until_idle()
    assert harness.provider.calls.count("status") == 5


async def test_more_are_polled_while_the_answers_to_others_are_written(harness: WorkerHarness) -> None:
    worker = harness.worker(max_concurrent_polls=2)
    await running_jobs(harness, worker, 4)
    harness.worker_store.calls.clear()
    written = harness.worker_store.hang("reschedule")
    assert await worker._claim_polls() == 2
    await harness.worker_store.wait_for_call("reschedule")
    assert await worker._claim_polls() == 2
    await harness.provider.wait_for_call("status", 4)
    written.set()
    await worker._wait_until_idle()


async def test_a_poll_that_changes_nothing_wakes_nobody(harness: WorkerHarness) -> None:
    service = FakeService()
    worker = harness.worker(background_services=[service])
    [job] = await running_jobs(harness, worker, 1)
    wakes = service.wakes
    await worker.run_once()
    assert harness.provider.calls.count("status") == 1
    assert service.wakes == wakes
    harness.provider.finish_all()
    harness.advance_clock(seconds=POLL_INTERVAL_S)
    await worker.run_once()
    assert await harness.state(job) is JobState.DELIVERING
    assert service.wakes > wakes


async def test_the_loop_polls_more_jobs_than_it_claims_at_once(harness: WorkerHarness) -> None:
    jobs = await running_jobs(harness, harness.worker(), 5)
    harness.provider.finish_all()
    async with asyncio.timeout(60), running_loop(harness.worker(max_concurrent_polls=2)):
        for job in jobs:
            await harness.wait_for_state(job, JobState.DELIVERED)
