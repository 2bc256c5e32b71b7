"""The clock is changed by an hour while nothing runs: nothing times out, repeats or waits for an hour."""

import pytest

from bot.domain.jobs import Job, JobState
from bot.providers.base import TaskStatus
from bot.worker.config import LEASE_DURATIONS
from bot.worker.loop import Worker
from tests.harness import POLL_INTERVAL_S, WorkerHarness, run_until_idle
from tests.providers_asked import vtrix

pytestmark = pytest.mark.full

SOON_S = 120
"""Longer than any lease and any first pause, much shorter than the change."""


async def one_of_each(harness: WorkerHarness, worker: Worker) -> dict[JobState, Job]:
    """Four jobs: running, delivering after a failed post, submitted by a worker that died, and queued."""
    found = {JobState.RUNNING: await harness.running_job(worker)}
    found[JobState.DELIVERING] = await harness.running_job(worker, user_id=2)
    harness.provider.finish("task-2")
    harness.messenger.fail("post_video", TimeoutError())
    harness.advance_clock(seconds=POLL_INTERVAL_S)
    await run_until_idle(worker)
    found[JobState.SUBMITTING] = await harness.queued_job(worker)
    if await harness.state(found[JobState.SUBMITTING]) is JobState.QUEUED:
        assert await harness.store.claim_queued(harness.clock(), vtrix(5), LEASE_DURATIONS[JobState.SUBMITTING])
    found[JobState.QUEUED] = await harness.order()
    for state, job in found.items():
        assert await harness.state(job) is state or state is JobState.SUBMITTING
    return found


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_clock_changed_between_stop_and_start_loses_nothing(harness: WorkerHarness, hours: int) -> None:
    jobs = await one_of_each(harness, harness.worker())
    posts = harness.provider.submit_count

    harness.advance_clock(hours=hours)
    await harness.store.free_leases()
    worker = harness.worker(started_at=harness.clock())
    for _ in range(SOON_S):
        harness.advance_clock(seconds=1)
        await run_until_idle(worker)
    assert await harness.state(jobs[JobState.RUNNING]) is JobState.RUNNING, (
        "an hour passed for nobody but the clock"
    )
    harness.provider.finish_all()
    for _ in range(SOON_S):
        harness.advance_clock(seconds=1)
        await run_until_idle(worker)

    for state in (JobState.RUNNING, JobState.DELIVERING, JobState.QUEUED):
        assert await harness.state(jobs[state]) is JobState.DELIVERED, state
        assert len(harness.messenger.posted("video", jobs[state])) == 1
    assert harness.provider.submit_count == posts + 1


@pytest.mark.parametrize("hours", [1, -1])
async def test_another_workers_clock_that_is_an_hour_off_repeats_no_effect(
    harness: WorkerHarness, hours: int
) -> None:
    """The two workers disagree about every lease, and still every effect happens once."""
    harness.provider.submit_status = TaskStatus.COMPLETED
    worker = harness.worker()
    job = await harness.queued_job(worker)
    await worker.run_once()
    assert await harness.state(job) is JobState.DELIVERING
    harness.messenger.fail("post_video", TimeoutError(), response_lost=True)
    await worker.run_once()
    harness.advance_clock(hours=hours)
    await run_until_idle(harness.worker())
    harness.advance_clock(seconds=SOON_S)
    await run_until_idle(harness.worker())
    assert await harness.state(job) is JobState.DELIVERED
    assert len(harness.messenger.posted("video", job)) == 1


async def test_a_task_that_this_process_watched_for_too_long_still_times_out(harness: WorkerHarness) -> None:
    job = await harness.running_job(harness.worker())
    harness.advance_clock(hours=1)
    worker = harness.worker(started_at=harness.clock())
    await run_until_idle(worker)
    assert await harness.state(job) is JobState.RUNNING
    harness.advance_clock(minutes=31)
    await run_until_idle(worker)
    assert await harness.state(job) is JobState.FAILED
