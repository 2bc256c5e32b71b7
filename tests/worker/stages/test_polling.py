"""A running job's task is polled until it ends, is gone or takes too long."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from bot.domain.errors import UpstreamBusy
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, JobState
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Reschedule
from bot.domain.task_durations import TaskDuration
from bot.providers.base import TaskStatus
from bot.worker.stages.generation import LAST_ERROR, poll
from tests.providers_asked import P720
from tests.stage_harness import (
    BUSY,
    CLOSED,
    FIRST_PAUSE_S,
    ILL,
    KEYLESS,
    POLL_SCHEDULE,
    UNREACHED,
    StageHarness,
    failure,
    wait_s,
)


async def test_a_task_in_progress_is_polled_again_when_the_schedule_says(stages: StageHarness) -> None:
    job = await stages.running_job()
    stages.provider.tasks["task-1"] = replace(stages.provider.tasks["task-1"], progress=0.4)
    stages.clock.move(seconds=80)
    now = stages.clock()
    pause = timedelta(seconds=POLL_SCHEDULE.next_pause_s(P720, 80))
    update = JobUpdate(progress=0.4, seen_running_at=now)
    assert await poll(job, stages.context) == Reschedule(now + pause, update)


async def test_a_finished_task_goes_on_to_delivery_with_its_cost(stages: StageHarness) -> None:
    job = await stages.running_job()
    stages.provider.finish("task-1")
    update = JobUpdate(
        result_url="https://cdn.example/task-1.mp4",
        cost_usd=Decimal("0.12"),
        upstream_response={"id": "task-1"},
        task_duration=TaskDuration(0, 0),
    )
    assert await poll(job, stages.context) == MoveTo(JobState.DELIVERING, update)


async def test_a_finished_task_without_a_video_fails_the_job(stages: StageHarness) -> None:
    job = await stages.running_job()
    stages.provider.finish("task-1", video=False)
    assert failure(await poll(job, stages.context)) is FailureReason.RESULT_UNUSABLE


async def test_a_failed_task_fails_the_job_with_the_upstreams_message(stages: StageHarness) -> None:
    job = await stages.running_job()
    stages.provider.finish("task-1", TaskStatus.FAILED)
    outcome = await poll(job, stages.context)
    assert isinstance(outcome, Fail)
    assert outcome.reason is FailureReason.UPSTREAM_FAILED
    assert outcome.detail.cause is FailureCause.TASK_FAILED
    assert outcome.detail.quote == "the model stumbled"


async def test_a_task_that_failed_for_its_content_is_told_as_such(stages: StageHarness) -> None:
    job = await stages.running_job()
    stages.provider.finish("task-1", TaskStatus.FAILED)
    stages.provider.tasks["task-1"] = replace(stages.provider.tasks["task-1"], is_content_refused=True)
    outcome = await poll(job, stages.context)
    assert isinstance(outcome, Fail)
    assert (outcome.reason, outcome.detail.cause) == (FailureReason.REJECTED, FailureCause.CONTENT_REFUSED)
    assert not outcome.cost_unknown


@pytest.mark.parametrize(
    ("minutes", "attempts", "fails"), [(29, 99, False), (31, 6, False), (31, 7, True), (9999, 0, False)]
)
async def test_a_task_is_gone_only_after_refused_polls_for_as_long_as_a_task_may_run(
    stages: StageHarness, minutes: int, attempts: int, *, fails: bool
) -> None:
    job = stages.job(JobState.RUNNING, upstream_id="never heard of", attempts=attempts)
    stages.clock.move(minutes=minutes)
    outcome = await poll(job, stages.context)
    if fails:
        assert failure(outcome) is FailureReason.UPSTREAM_FAILED
    else:
        assert isinstance(outcome, Reschedule)
        assert outcome.attempt
    assert stages.provider.calls == ["status"]


async def test_an_answer_that_the_client_cannot_place_is_kept_and_polled_on(stages: StageHarness) -> None:
    job = await stages.running_job()
    unclear = replace(stages.provider.tasks["task-1"], is_unclear=True, raw=lambda: {"status": "pondering"})
    stages.provider.tasks["task-1"] = unclear
    outcome = await poll(job, stages.context)
    assert isinstance(outcome, Reschedule)
    assert outcome.update.upstream_response == {"status": "pondering"}


async def test_what_was_said_last_is_kept_of_a_task_that_is_given_up(stages: StageHarness) -> None:
    job = await stages.running_job()
    stages.clock.move(hours=25)
    stages.provider.fail("status", ILL)
    outcome = await poll(job, stages.context)
    assert isinstance(outcome, Fail)
    assert outcome.update.upstream_response == {LAST_ERROR: str(ILL)}


async def test_a_resumed_job_has_all_its_time_again(stages: StageHarness) -> None:
    stages.clock.move(hours=20)
    job = replace(await stages.running_job(), state_changed_at=stages.clock())
    assert isinstance(await poll(job, stages.context), Reschedule)


@pytest.mark.parametrize("error", [CLOSED, KEYLESS, BUSY, UNREACHED, ILL])
async def test_a_failed_poll_is_retried_with_growing_pauses(stages: StageHarness, error: Exception) -> None:
    job = await stages.running_job()
    stages.provider.fail("status", error, error)
    first = await poll(job, stages.context)
    later = await poll(replace(job, attempts=9), stages.context)
    assert isinstance(first, Reschedule)
    assert first.attempt
    assert wait_s(first) == pytest.approx(FIRST_PAUSE_S)
    assert wait_s(later) == 60


async def test_a_poll_waits_as_long_as_a_busy_upstream_asks(stages: StageHarness) -> None:
    job = await stages.running_job()
    stages.provider.fail("status", UpstreamBusy("slow down", retry_after_s=77))
    assert wait_s(await poll(job, stages.context)) == 77


async def test_a_task_over_its_time_fails_the_job(stages: StageHarness) -> None:
    job = await stages.running_job()
    stages.clock.move(minutes=30, seconds=1)
    outcome = await poll(job, stages.context)
    assert isinstance(outcome, Fail)
    assert outcome.reason is FailureReason.TIMED_OUT
    assert outcome.detail == FailureDetail(FailureCause.NOT_FINISHED, minutes=30)


async def test_a_timeout_applies_only_when_the_upstream_responds(stages: StageHarness) -> None:
    job = await stages.running_job()
    stages.clock.move(hours=5)
    stages.provider.fail("status", ILL)
    assert isinstance(await poll(job, stages.context), Reschedule)


async def test_a_task_that_ended_during_an_outage_is_delivered_however_late(stages: StageHarness) -> None:
    job = await stages.running_job()
    stages.clock.move(hours=5)
    stages.provider.finish("task-1")
    outcome = await poll(job, stages.context)
    assert isinstance(outcome, MoveTo)
    assert outcome.to is JobState.DELIVERING


async def test_a_task_that_the_upstream_no_longer_knows_fails(stages: StageHarness) -> None:
    job = await stages.running_job()
    stages.clock.move(hours=24, seconds=1)
    stages.provider.fail("status", ILL)
    assert failure(await poll(job, stages.context)) is FailureReason.TIMED_OUT


async def test_a_poll_that_fails_right_after_a_start_gives_no_task_up(stages: StageHarness) -> None:
    job = await stages.running_job()
    stages.clock.move(hours=25)  # the process did not run, or the system's clock was set
    just_started = replace(stages.context, started_at=stages.clock())
    stages.provider.fail("status", UNREACHED, UNREACHED)
    assert isinstance(await poll(job, just_started), Reschedule)
    stages.clock.move(minutes=31)
    assert failure(await poll(job, just_started)) is FailureReason.TIMED_OUT


async def test_a_cancelled_job_is_polled_until_its_task_ends(stages: StageHarness) -> None:
    job = await stages.running_job(cancel_requested=True)
    assert isinstance(await poll(job, stages.context), Reschedule)
    stages.provider.finish("task-1")
    outcome = await poll(job, stages.context)
    assert isinstance(outcome, MoveTo)
    assert (outcome.to, outcome.charged) == (JobState.CANCELLED, None)
    assert outcome.update.cost_usd == Decimal("0.12")


def end_as_failed(stages: StageHarness) -> None:
    stages.provider.finish("task-1", TaskStatus.FAILED)


def forget(stages: StageHarness) -> None:
    stages.provider.tasks.clear()
    stages.clock.move(hours=1)


def take_too_long(stages: StageHarness) -> None:
    stages.clock.move(hours=1)


def be_silent_for_a_day(stages: StageHarness) -> None:
    stages.clock.move(hours=25)
    stages.provider.fail("status", ILL)


@pytest.mark.parametrize(
    ("happen", "cost_unknown"),
    [(end_as_failed, False), (forget, True), (take_too_long, True), (be_silent_for_a_day, True)],
)
async def test_a_cancelled_job_whose_task_brings_no_video_does_not_count(
    stages: StageHarness, happen: Callable[[StageHarness], None], *, cost_unknown: bool
) -> None:
    job = await stages.running_job(cancel_requested=True, attempts=9)
    happen(stages)
    outcome = await poll(job, stages.context)
    assert isinstance(outcome, MoveTo)
    assert (outcome.to, outcome.charged, outcome.cost_unknown) == (JobState.CANCELLED, False, cost_unknown)
