"""What polls say about how long tasks take, and when a failed poll is tried again."""

from dataclasses import replace
from datetime import timedelta

from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Outcome, Reschedule
from bot.domain.task_durations import TaskDuration
from bot.providers.base import TaskStatus
from bot.worker.stages.generation import poll
from tests.fakes import NOW
from tests.providers_asked import P720
from tests.stage_harness import ILL, POLL_SCHEDULE, StageHarness


def update_of(outcome: Outcome) -> JobUpdate:
    assert isinstance(outcome, MoveTo | Fail | Reschedule)
    return outcome.update


async def test_a_task_ended_between_the_last_poll_that_saw_it_running_and_the_one_that_did_not(
    stages: StageHarness,
) -> None:
    job = await stages.running_job()
    stages.clock.move(seconds=50)
    seen_running_at = update_of(await poll(job, stages.context)).seen_running_at
    stages.provider.finish("task-1")
    stages.clock.move(seconds=7)
    outcome = await poll(replace(job, seen_running_at=seen_running_at), stages.context)
    assert update_of(outcome).task_duration == TaskDuration(50, 57)


async def test_a_poll_that_failed_says_nothing_about_the_task(stages: StageHarness) -> None:
    job = await stages.running_job(seen_running_at=NOW + timedelta(seconds=20))
    stages.clock.move(seconds=25)
    stages.provider.fail("status", ILL)
    assert update_of(await poll(job, stages.context)) == JobUpdate()
    stages.provider.finish("task-1")
    stages.clock.move(seconds=3)
    assert update_of(await poll(job, stages.context)).task_duration == TaskDuration(20, 28)


async def test_a_task_that_is_given_up_took_longer_than_it_was_watched(stages: StageHarness) -> None:
    job = await stages.running_job()
    stages.clock.move(minutes=31)
    assert update_of(await poll(job, stages.context)).task_duration == TaskDuration(31 * 60, None)


async def test_a_task_that_failed_does_not_say_how_long_a_video_takes(stages: StageHarness) -> None:
    job = await stages.running_job()
    stages.provider.finish("task-1", TaskStatus.FAILED)
    stages.clock.move(seconds=5)
    assert update_of(await poll(job, stages.context)).task_duration is None


async def test_the_duration_of_a_resumed_jobs_task_counts_from_its_submission(stages: StageHarness) -> None:
    job = await stages.running_job(seen_running_at=NOW + timedelta(minutes=30))
    stages.clock.move(hours=2)
    stages.provider.finish("task-1")
    outcome = await poll(replace(job, state_changed_at=stages.clock()), stages.context)
    assert update_of(outcome).task_duration == TaskDuration(1800, 7200)


async def test_after_a_failed_poll_the_task_may_have_ended_since_it_was_seen_running(stages: StageHarness) -> None:
    job = await stages.running_job(seen_running_at=NOW + timedelta(seconds=5))
    stages.clock.move(seconds=10)
    stages.provider.fail("status", ILL)
    outcome = await poll(job, stages.context)
    assert isinstance(outcome, Reschedule)
    pause_s = POLL_SCHEDULE.next_pause_s(P720, 10, 5)
    assert outcome.due_at == stages.clock() + timedelta(seconds=pause_s)
    assert pause_s < POLL_SCHEDULE.next_pause_s(P720, 10)
