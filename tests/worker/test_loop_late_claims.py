"""Claims and submissions that a stop overtakes: what was certainly not sent goes back to the queue."""

import asyncio
from datetime import timedelta

import pytest

from bot.domain.jobs import JobState
from tests.harness import STORE_DOWN, WorkerHarness, hang_call, let_loop_run, run_until_idle
from tests.providers_asked import VTRIX


async def test_a_claim_that_outlasts_the_grace_sends_nothing(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.queued_job(worker)
    claimed = harness.worker_store.hang("claim_queued")
    loop = asyncio.create_task(worker.run())
    await harness.worker_store.wait_for_call("claim_queued", 2)
    stop = asyncio.create_task(worker.stop(grace_s=0))
    await let_loop_run(harness)
    assert not stop.done()  # the store is closed after it
    claimed.set()
    await stop
    await loop

    left = await harness.reload(job)
    assert (left.state, left.lease_token, left.claim_count) == (JobState.QUEUED, None, 0)
    assert harness.provider.submit_count == 0
    assert (await harness.store.gate(VTRIX)).failures == 0
    await run_until_idle(harness.worker())
    assert await harness.state(job) is JobState.RUNNING
    assert harness.provider.submit_count == 1


async def test_a_stop_does_not_wait_for_such_a_claim_forever(harness: WorkerHarness) -> None:
    worker = harness.worker(final_write_timeout=timedelta(milliseconds=1))
    await harness.queued_job(worker)
    claimed = harness.worker_store.hang("claim_queued")
    loop = asyncio.create_task(worker.run())
    await harness.worker_store.wait_for_call("claim_queued", 2)
    async with asyncio.timeout(60):
        await worker.stop(grace_s=0)
    claimed.set()
    await loop
    assert harness.provider.submit_count == 0


async def test_a_due_poll_that_is_claimed_after_the_grace_is_released(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.finished_job(worker)
    claimed, run = await hang_call(worker, harness.worker_store, "claim_polls")
    stop = asyncio.create_task(worker.stop(grace_s=0))
    await let_loop_run(harness)
    claimed.set()
    await stop
    assert await run == 0
    left = await harness.reload(job)
    assert (left.state, left.lease_token) == (JobState.RUNNING, None)
    assert "status" not in harness.provider.calls


@pytest.mark.parametrize("reading", ["frame", "gate"])
async def test_a_submission_that_is_cancelled_before_it_sends_goes_back_to_the_queue(
    harness: WorkerHarness, reading: str
) -> None:
    worker = harness.worker()
    job = await harness.queued_job(worker)
    _, run = await hang_call(worker, harness.worker_store, reading)
    await worker.stop(grace_s=0)
    await run
    left = await harness.reload(job)
    assert (left.state, left.lease_token, left.claim_count) == (JobState.QUEUED, None, 0)
    assert harness.provider.submit_count == 0


async def test_a_submission_that_is_cancelled_before_it_began_goes_back_too(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.queued_job(worker)
    harness.worker_store.hang("frame")
    run = asyncio.create_task(worker.run_once())
    while await harness.state(job) is not JobState.SUBMITTING:
        await asyncio.sleep(0)
    await worker.stop(grace_s=0)
    await run
    assert await harness.state(job) is JobState.QUEUED


async def test_a_late_claim_with_the_store_down_ends_the_stop_all_the_same(harness: WorkerHarness) -> None:
    worker = harness.worker()
    await harness.queued_job(worker)
    claimed = harness.worker_store.hang("claim_due")
    loop = asyncio.create_task(worker.run())
    await harness.worker_store.wait_for_call("claim_due", 2)
    harness.worker_store.fail_always("release", STORE_DOWN)
    stop = asyncio.create_task(worker.stop(grace_s=0))
    await let_loop_run(harness)
    claimed.set()
    await stop
    await loop
    assert harness.provider.submit_count == 0
