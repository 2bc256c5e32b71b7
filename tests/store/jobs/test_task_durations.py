"""How long tasks took is kept with the outcomes that say so."""

import math
from dataclasses import replace

import pytest
from sqlalchemy import insert

from bot.domain.jobs import FailureReason, Job, JobState
from bot.domain.models import TaskKind
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Reschedule
from bot.domain.task_durations import SAMPLES, TaskDuration
from bot.store.engine import Database
from bot.store.jobs import task_durations
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.task_durations import TaskDurationStore
from bot.store.privacy.retention import RetentionStore
from bot.store.schema import task_durations as task_durations_table
from tests.providers_asked import P480, P720
from tests.store.factories import DETAIL, MINUTE, NOW, SECOND, bring_to, claim, read, resume_failed_job

FINISHED = MoveTo(JobState.DELIVERING, JobUpdate(task_duration=TaskDuration(55.5, 60.25)))
GIVEN_UP = Fail(FailureReason.TIMED_OUT, DETAIL, JobUpdate(task_duration=TaskDuration(1800, None)))


@pytest.fixture
def durations(database: Database) -> TaskDurationStore:
    return TaskDurationStore(database)


async def running(store: JobStore) -> Job:
    return await bring_to(store, JobState.RUNNING)


async def record(database: Database, *found: TaskDuration, of: TaskKind = P720) -> None:
    async with database.write() as connection:
        for duration in found:
            await task_durations.record(connection, of, duration)


@pytest.mark.parametrize("outcome", [FINISHED, GIVEN_UP])
async def test_a_duration_is_kept_with_the_outcome(
    store: JobStore, durations: TaskDurationStore, outcome: MoveTo | Fail
) -> None:
    assert await store.apply(await running(store), outcome, NOW)
    assert await durations.latest() == {P720: [outcome.update.task_duration]}


async def test_a_worker_that_lost_its_lease_keeps_no_duration(
    store: JobStore, durations: TaskDurationStore
) -> None:
    job = await running(store)
    assert not await store.apply(replace(job, lease_token="another"), FINISHED, NOW)
    assert await durations.newest_id() == 0


async def test_an_outcome_that_says_nothing_about_durations_keeps_none(
    store: JobStore, durations: TaskDurationStore
) -> None:
    assert await store.apply(await running(store), MoveTo(JobState.DELIVERING), NOW)
    assert await durations.newest_id() == 0


async def test_a_poll_records_when_the_task_was_seen_running(store: JobStore) -> None:
    job = await running(store)
    seen_at = NOW + 7 * SECOND
    await store.reschedule([(job, Reschedule(NOW + MINUTE, JobUpdate(seen_running_at=seen_at)))], NOW)
    assert (await read(store, job)).seen_running_at == seen_at


async def test_the_latest_durations_come_newest_first(database: Database, durations: TaskDurationStore) -> None:
    await record(database, TaskDuration(1, 2), TaskDuration(3, 4), TaskDuration(5, None))
    await record(database, TaskDuration(7, 8), of=P480)
    assert await durations.latest() == {
        P480: [TaskDuration(7, 8)],
        P720: [TaskDuration(5, None), TaskDuration(3, 4), TaskDuration(1, 2)],
    }


async def test_a_duration_that_can_not_be_true_is_left_out(
    database: Database, durations: TaskDurationStore
) -> None:
    await record(database, TaskDuration(30, 20), TaskDuration(-5, 3))
    assert await durations.newest_id() == 0


async def test_a_duration_that_can_not_be_true_is_not_read_either(
    database: Database, durations: TaskDurationStore
) -> None:
    rows = [(math.inf, None), (1e300, None), (-5.0, 3.0), (5.0, 3.0), (5.0, math.inf), (5.0, 8.0)]
    async with database.write() as connection:  # as another program may have written them
        columns = [{"resolution": "720P", "over_s": over, "within_s": within} for over, within in rows]
        await connection.execute(insert(task_durations_table), columns)
    assert (await durations.latest())[P720] == [TaskDuration(5, 8)]


async def test_the_newest_id_grows_with_each_duration(database: Database, durations: TaskDurationStore) -> None:
    ids = []
    for number in range(3):
        await record(database, TaskDuration(number, number + 1))
        ids.append(await durations.newest_id())
    assert ids == sorted(set(ids))


async def test_only_durations_that_are_used_are_kept(database: Database, durations: TaskDurationStore) -> None:
    retention = RetentionStore(database)
    await record(database, TaskDuration(7, 8), of=P480)
    await record(database, *[TaskDuration(number, number + 1) for number in range(SAMPLES + 5)])
    before = await durations.latest()
    assert [await retention.drop_durations(), await retention.drop_durations()] == [5, 0]
    assert await durations.latest() == before


async def test_a_resumed_job_still_knows_when_its_task_was_seen_running(store: JobStore) -> None:
    job = await running(store)
    await store.reschedule([(job, Reschedule(NOW, JobUpdate(seen_running_at=NOW)))], NOW)
    await store.apply(await claim(store, job.id), GIVEN_UP, NOW)
    resumed = await resume_failed_job(store, job.id, NOW + MINUTE, actor_id=None)
    assert isinstance(resumed, Job)
    assert resumed.seen_running_at == NOW
