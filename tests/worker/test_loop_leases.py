"""Leases: renewed while a stage runs, taken over only once their worker is dead."""

import asyncio
from datetime import timedelta

from bot.domain.jobs import FailureReason, JobState
from bot.worker.config import DEFAULT_LEASE, LEASE_DURATIONS
from tests.fakes import FaultyJobStore
from tests.harness import STORE_DOWN, WorkerHarness, run_until_idle, running_loop
from tests.providers_asked import vtrix

OFTEN = timedelta(milliseconds=1)


async def renewed(store: FaultyJobStore, times: int = 2) -> None:
    """Returns once that many more renewals have started, so all but the last have ended."""
    await store.wait_for_call("renew", store.calls.count("renew") + times)


async def test_a_stage_that_takes_longer_than_its_lease_keeps_it(harness: WorkerHarness) -> None:
    job = await harness.finished_job(harness.worker())
    fetched = harness.provider.hang("download")
    async with running_loop(harness.worker(renew_interval=OFTEN)):
        await harness.provider.wait_for_call("download")
        for _ in range(4):
            harness.advance_clock(seconds=DEFAULT_LEASE.total_seconds() - 1)
            await renewed(harness.worker_store)
            assert await harness.store.claim_due(harness.clock(), 1, LEASE_DURATIONS) == []
        fetched.set()
        await harness.wait_for_state(job, JobState.DELIVERED)
    assert harness.provider.calls.count("download") == 1
    assert len(harness.messenger.posted("video", job)) == 1


async def test_a_lost_lease_ends_its_stage(harness: WorkerHarness) -> None:
    job = await harness.finished_job(harness.worker())
    harness.provider.hang("download")
    async with asyncio.timeout(60), running_loop(harness.worker(renew_interval=OFTEN)):
        await harness.provider.wait_for_call("download")
        async with harness.store._db.write() as connection:
            await connection.exec_driver_sql("UPDATE jobs SET lease_token = 'another worker', due_at = NULL")
        await harness.worker_store.wait_for_call("reschedule", harness.worker_store.calls.count("reschedule") + 1)
    assert await harness.state(job) is JobState.DELIVERING
    assert (await harness.reload(job)).attempts == 0
    assert "post_video" not in harness.messenger.calls


async def test_a_submission_in_flight_is_not_cancelled_when_its_lease_was_lost(harness: WorkerHarness) -> None:
    job = await harness.queued_job(harness.worker())
    answer = harness.provider.hang("submit")
    async with running_loop(harness.worker(renew_interval=OFTEN)):
        await harness.provider.wait_for_call("submit")
        async with harness.store._db.write() as connection:
            await connection.exec_driver_sql("UPDATE jobs SET lease_token = 'another worker', due_at = NULL")
        await renewed(harness.worker_store)
        answer.set()
        await harness.worker_store.wait_for_call("apply")
    assert await harness.state(job) is JobState.SUBMITTING
    assert len(harness.provider.tasks) == 1


async def test_leases_are_renewed_during_the_grace_period(harness: WorkerHarness) -> None:
    await harness.finished_job(harness.worker())
    fetched = harness.provider.hang("download")
    worker = harness.worker(renew_interval=OFTEN)
    loop = asyncio.create_task(worker.run())
    await harness.provider.wait_for_call("download")
    stop = asyncio.create_task(worker.stop(grace_s=30))
    for _ in range(3):
        harness.advance_clock(seconds=DEFAULT_LEASE.total_seconds() - 1)
        await renewed(harness.worker_store)
    assert await harness.store.claim_due(harness.clock(), 1, LEASE_DURATIONS) == []
    fetched.set()
    await stop
    await loop


async def test_a_store_that_can_not_renew_for_a_while_loses_no_lease(harness: WorkerHarness) -> None:
    job = await harness.finished_job(harness.worker())
    fetched = harness.provider.hang("download")
    async with running_loop(harness.worker(renew_interval=OFTEN)):
        await harness.provider.wait_for_call("download")
        harness.worker_store.fail_always("renew", STORE_DOWN)
        harness.advance_clock(hours=1)
        await renewed(harness.worker_store, 5)
        harness.worker_store.stop_failing()
        await renewed(harness.worker_store)
        assert await harness.store.claim_due(harness.clock(), 1, LEASE_DURATIONS) == []
        fetched.set()
        await harness.wait_for_state(job, JobState.DELIVERED)


async def test_after_an_outage_a_worker_gives_others_time_to_renew(harness: WorkerHarness) -> None:
    """Another worker holds a response that was paid for, and can write it only now."""
    neighbour = harness.worker()
    job = await harness.queued_job(neighbour)
    answer = harness.provider.hang("submit")
    run = asyncio.create_task(neighbour.run_once())
    await harness.provider.wait_for_call("submit")
    harness.advance_clock(hours=1)

    store = FaultyJobStore(harness.store)
    store.fail("claim_due", STORE_DOWN)
    async with running_loop(harness.worker(store=store)):
        await store.wait_for_call("next_due_at")
        answer.set()
        await run
    assert await harness.state(job) is JobState.RUNNING


async def test_the_jobs_of_a_dead_worker_are_claimed_when_their_leases_expire(harness: WorkerHarness) -> None:
    job = await harness.finished_job(harness.worker())
    assert await harness.store.claim_due(harness.clock(), 1, LEASE_DURATIONS)
    harness.advance_clock(seconds=DEFAULT_LEASE.total_seconds() - 1)
    assert await harness.worker().run_once() == 0
    harness.advance_clock(seconds=1)
    await run_until_idle(harness.worker())
    assert await harness.state(job) is JobState.DELIVERED


async def test_a_submission_of_a_dead_worker_is_left_alone_for_longer(harness: WorkerHarness) -> None:
    job = await harness.queued_job(harness.worker())
    assert await harness.store.claim_queued(harness.clock(), vtrix(5), LEASE_DURATIONS[JobState.SUBMITTING])
    harness.advance_clock(seconds=119)
    assert await harness.worker().run_once() == 0
    harness.advance_clock(seconds=1)
    await run_until_idle(harness.worker())
    assert (await harness.reload(job)).failure_reason is FailureReason.OUTCOME_UNKNOWN


async def test_the_response_to_a_submission_counts_even_if_its_lease_was_lost(harness: WorkerHarness) -> None:
    job = await harness.queued_job(harness.worker())
    answered = harness.provider.hang("submit")
    handing_in = asyncio.create_task(harness.worker().run_once())
    await harness.provider.wait_for_call("submit")
    harness.advance_clock(hours=1)
    await run_until_idle(harness.worker())  # another one's, whose clock is ahead
    assert (await harness.reload(job)).failure_reason is FailureReason.OUTCOME_UNKNOWN
    answered.set()
    await handing_in
    assert await harness.state(job) is JobState.RUNNING
    harness.provider.finish_all()
    await run_until_idle(harness.worker())
    found = await harness.reload(job)
    assert (found.state, found.charged) == (JobState.DELIVERED, False)
    assert harness.provider.calls.count("submit") == len(harness.messenger.posted("video", job)) == 1
    assert await harness.charged_count() == 0
