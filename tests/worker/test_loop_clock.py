"""A clock set by an hour while the machine stood still: nothing times out, doubles or waits for an hour."""

from datetime import timedelta

import pytest

from bot.domain.jobs import Job, JobState
from bot.providers.base import TaskStatus
from bot.worker.loop import LEASES, Worker
from tests.harness import LOOK_S, OperatorState, settle

SOON_S = 120
"""Longer than any lease and any first pause, much shorter than the jump."""


async def one_of_each(house: OperatorState, worker: Worker) -> dict[JobState, Job]:
    """Four jobs: running, delivering after a failed post, handed in by a worker that died, and queued."""
    found = {JobState.RUNNING: await house.running(worker)}
    found[JobState.DELIVERING] = await house.running(worker, user_id=2)
    house.provider.end("task-2")
    house.messenger.fail("post_video", TimeoutError())
    house.pass_time(seconds=LOOK_S)
    await settle(worker)
    found[JobState.SUBMITTING] = await house.waiting(worker)
    if await house.state(found[JobState.SUBMITTING]) is JobState.QUEUED:
        assert await house.store.claim_queued(house.clock(), 5, timedelta(0), LEASES[JobState.SUBMITTING])
    found[JobState.QUEUED] = await house.order()
    for state, job in found.items():
        assert await house.state(job) is state or state is JobState.SUBMITTING
    return found


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_clock_set_between_stop_and_start_costs_nothing(house: OperatorState, hours: int) -> None:
    jobs = await one_of_each(house, house.worker())
    posts = house.provider.posts

    house.pass_time(hours=hours)
    await house.store.free_leases()
    worker = house.worker(since=house.clock())
    for _ in range(SOON_S):
        house.pass_time(seconds=1)
        await settle(worker)
    assert await house.state(jobs[JobState.RUNNING]) is JobState.RUNNING, "an hour passed for nobody but the clock"
    house.provider.end_all()
    for _ in range(SOON_S):
        house.pass_time(seconds=1)
        await settle(worker)

    for state in (JobState.RUNNING, JobState.DELIVERING, JobState.QUEUED):
        assert await house.state(jobs[state]) is JobState.DELIVERED, state
        assert len(house.messenger.of("video", jobs[state])) == 1
    assert house.provider.posts == posts + 1


@pytest.mark.parametrize("hours", [1, -1])
async def test_a_neighbours_clock_that_is_an_hour_off_takes_no_job_twice(house: OperatorState, hours: int) -> None:
    """Short of the server's time: two workers agree on no lease, and still every effect happens once."""
    house.provider.answer = TaskStatus.COMPLETED
    worker = house.worker()
    job = await house.waiting(worker)
    await worker.turn()
    assert await house.state(job) is JobState.DELIVERING
    house.messenger.fail("post_video", TimeoutError(), late=True)
    await worker.turn()
    house.pass_time(hours=hours)
    await settle(house.worker())
    house.pass_time(seconds=SOON_S)
    await settle(house.worker())
    assert await house.state(job) is JobState.DELIVERED
    assert len(house.messenger.of("video", job)) == 1


async def test_a_task_that_this_process_watched_for_too_long_still_times_out(house: OperatorState) -> None:
    job = await house.running(house.worker())
    house.pass_time(hours=1)
    worker = house.worker(since=house.clock())
    await settle(worker)
    assert await house.state(job) is JobState.RUNNING
    house.pass_time(minutes=31)
    await settle(worker)
    assert await house.state(job) is JobState.FAILED
