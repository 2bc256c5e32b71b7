"""Workers learn how long tasks take from the database that they share."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from bot.domain.errors import StoreError
from bot.domain.jobs import JobState
from bot.domain.models import TaskKind
from bot.domain.schedule import PollSchedule
from bot.domain.task_durations import TaskDuration
from bot.store.jobs.task_durations import TaskDurationStore
from bot.worker.duration_learner import DurationLearner
from tests.fakes import Faulty
from tests.harness import POLL_INTERVAL_S, WorkerHarness, run_until_idle
from tests.providers_asked import P720


class FakeDurations(Faulty, TaskDurationStore):
    """Durations without a database."""

    def __init__(self, *seen: TaskDuration) -> None:
        super().__init__()
        self.seen = [*seen]

    async def newest_id(self) -> int:
        async with self._call("newest_id"):
            return len(self.seen)

    async def latest(self) -> Mapping[TaskKind, Sequence[TaskDuration]]:
        async with self._call("latest"):
            return {P720: self.seen[::-1]}


def first_pause_s(schedule: PollSchedule) -> float:
    return schedule.next_pause_s(P720, 0)


MINUTES = [TaskDuration(110, 113)] * 20


async def test_it_learns_what_is_known_at_the_start() -> None:
    schedule = PollSchedule(3, 15)
    before_s = first_pause_s(schedule)
    await DurationLearner(FakeDurations(*MINUTES), schedule).run_once()
    assert first_pause_s(schedule) > before_s


async def test_it_reads_nothing_while_there_is_nothing_new() -> None:
    store = FakeDurations(*MINUTES)
    learner = DurationLearner(store, PollSchedule(3, 15))
    await learner.run_once()
    await learner.run_once()
    assert store.calls == ["newest_id", "latest", "newest_id"]
    store.seen.append(TaskDuration(5, 8))
    await learner.run_once()
    assert store.calls.count("latest") == 2


async def test_what_could_not_be_read_is_read_the_next_time() -> None:
    store, schedule = FakeDurations(*MINUTES), PollSchedule(3, 15)
    unknown_s = first_pause_s(schedule)
    learner = DurationLearner(store, schedule)
    store.fail("latest", StoreError("the disk is full"))
    await learner.run_once()
    assert first_pause_s(schedule) == unknown_s
    await learner.run_once()
    assert first_pause_s(schedule) > unknown_s


async def test_it_runs_at_the_start_and_again_until_it_is_stopped() -> None:
    store = FakeDurations()
    learner = DurationLearner(store, PollSchedule(3, 15), interval_s=0)
    running = asyncio.create_task(learner.run())
    await store.wait_for_call("newest_id", times=3)
    learner.stop()
    await running


async def test_durations_that_can_not_be_used_leave_the_schedule_as_it_is() -> None:
    text: Any = "ten"  # SQLite keeps whatever another program wrote
    store, schedule = FakeDurations(TaskDuration(text, None)), PollSchedule(3, 15)
    unknown_s = first_pause_s(schedule)
    learner = DurationLearner(store, schedule)
    await learner.run_once()
    assert first_pause_s(schedule) == unknown_s
    store.seen = MINUTES
    await learner.run_once()
    assert first_pause_s(schedule) > unknown_s


@pytest.mark.full
async def test_a_worker_that_starts_knows_what_another_one_learned(harness: WorkerHarness) -> None:
    worker = harness.worker()
    for number in range(5):
        job = await harness.running_job(worker, user_id=number)
        for _ in range(11):  # polls, each of which sees it running
            harness.advance_clock(seconds=POLL_INTERVAL_S)
            await run_until_idle(worker)
        harness.provider.finish_all()
        harness.advance_clock(seconds=POLL_INTERVAL_S)
        await run_until_idle(worker)
        assert await harness.state(job) is JobState.DELIVERED
    started_again = PollSchedule(3, 15)
    await DurationLearner(TaskDurationStore(harness.store._db), started_again).run_once()
    remaining = started_again.remaining(P720, 0)
    assert remaining is not None
    assert 50 < remaining.p50_s < 65
