"""Once a job is cancelled, its next poll has its task stopped, where the provider can do that."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, Job, JobState, StopResult
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Reschedule
from bot.providers.base import Task, TaskStatus
from bot.worker.stages.generation import poll, submit
from tests.stage_harness import BUSY, CLOSED, ILL, UNREACHED, StageHarness, failure


async def a_cancelled_job(stages: StageHarness, result: StopResult, **changes: object) -> Job:
    stages.provider.stop_result = result
    return await stages.running_job(cancel_requested=True, can_be_stopped=True, **changes)


def end(stages: StageHarness, status: TaskStatus, **changes: object) -> None:
    """Ends the task without a video."""
    task = Task("task-1", status, raw=lambda: {"status": status.value})
    stages.provider.tasks["task-1"] = replace(task, **changes)  # type: ignore[arg-type]  # mypy: any field


async def test_a_task_that_was_stopped_ends_its_job_at_once_and_free(stages: StageHarness) -> None:
    job = await a_cancelled_job(stages, StopResult.STOPPED)

    outcome = await poll(job, stages.context)

    assert outcome == MoveTo(JobState.CANCELLED, JobUpdate(stop_result=StopResult.STOPPED), charged=False)
    assert not outcome.cost_unknown
    assert stages.provider.calls == ["stop"]


@pytest.mark.parametrize("result", [StopResult.ASKED, StopResult.RUNNING, StopResult.ENDED, StopResult.UNKNOWN])
async def test_any_other_answer_is_kept_and_the_task_is_polled_on(
    stages: StageHarness, result: StopResult
) -> None:
    outcome = await poll(await a_cancelled_job(stages, result), stages.context)

    assert isinstance(outcome, Reschedule)
    assert outcome.update.stop_result is result
    assert outcome.update.seen_running_at is not None
    assert stages.provider.calls == ["stop", "status"]


@pytest.mark.parametrize("result", StopResult)
async def test_a_provider_that_answered_is_not_asked_again(stages: StageHarness, result: StopResult) -> None:
    job = await a_cancelled_job(stages, StopResult.STOPPED, stop_result=result)

    await poll(job, stages.context)

    assert stages.provider.calls == ["status"]


@pytest.mark.parametrize("error", [CLOSED, BUSY, UNREACHED, ILL])
async def test_a_provider_that_gives_no_answer_is_asked_again_at_the_next_poll(
    stages: StageHarness, error: Exception
) -> None:
    job = await a_cancelled_job(stages, StopResult.STOPPED)
    stages.provider.fail("stop", error)

    first = await poll(job, stages.context)

    assert isinstance(first, Reschedule)
    assert first.update.stop_result is None
    assert await poll(job, stages.context) == MoveTo(
        JobState.CANCELLED, JobUpdate(stop_result=StopResult.STOPPED), charged=False
    )
    assert stages.provider.calls == ["stop", "status", "stop"]


async def test_a_process_that_died_after_the_request_asks_again(stages: StageHarness) -> None:
    job = await a_cancelled_job(stages, StopResult.STOPPED)
    assert await poll(job, stages.context) == await poll(replace(job, claim_count=2), stages.context)
    assert stages.provider.calls == ["stop", "stop"]


@pytest.mark.parametrize("changes", [{"cancel_requested": False}, {"can_be_stopped": False}])
async def test_nothing_else_is_stopped(stages: StageHarness, changes: dict[str, bool]) -> None:
    job = replace(await a_cancelled_job(stages, StopResult.STOPPED), **changes)  # type: ignore[arg-type]

    await poll(job, stages.context)

    assert stages.provider.calls == ["status"]


@pytest.mark.parametrize(
    ("task", "cost_unknown"), [({"may_be_billed": True}, True), ({}, False)], ids=["perhaps billed", "free"]
)
async def test_a_task_that_was_stopped_on_request_does_not_count_and_its_cost_is_held_if_it_may_be_billed(
    stages: StageHarness, task: dict[str, bool], *, cost_unknown: bool
) -> None:
    job = await a_cancelled_job(stages, StopResult.ASKED, stop_result=StopResult.ASKED)
    end(stages, TaskStatus.CANCELLED, **task)

    outcome = await poll(job, stages.context)

    assert isinstance(outcome, MoveTo)
    assert (outcome.to, outcome.charged, outcome.cost_unknown) == (JobState.CANCELLED, False, cost_unknown)


async def test_the_cost_of_a_stopped_task_is_kept(stages: StageHarness) -> None:
    job = await a_cancelled_job(stages, StopResult.ASKED, stop_result=StopResult.ASKED)
    end(stages, TaskStatus.CANCELLED, may_be_billed=True, cost_usd=Decimal("0.05"))

    outcome = await poll(job, stages.context)

    assert isinstance(outcome, MoveTo)
    assert (outcome.charged, outcome.update.cost_usd) == (False, Decimal("0.05"))


@pytest.mark.parametrize("result", [StopResult.ASKED, StopResult.RUNNING, StopResult.ENDED])
async def test_a_task_that_could_not_be_stopped_counts_and_is_not_posted(
    stages: StageHarness, result: StopResult
) -> None:
    job = await a_cancelled_job(stages, result)
    stages.provider.finish("task-1")

    outcome = await poll(job, stages.context)

    assert isinstance(outcome, MoveTo)
    assert (outcome.to, outcome.charged, outcome.update.stop_result) == (JobState.CANCELLED, None, result)
    assert outcome.update.cost_usd == Decimal("0.12")


@pytest.mark.parametrize("may_be_billed", [True, False])
async def test_a_task_that_was_cancelled_by_nobody_here_fails_its_job(
    stages: StageHarness, *, may_be_billed: bool
) -> None:
    job = await stages.running_job()
    end(stages, TaskStatus.CANCELLED, may_be_billed=may_be_billed)

    outcome = await poll(job, stages.context)

    assert isinstance(outcome, Fail)
    assert outcome.reason is FailureReason.UPSTREAM_FAILED
    assert outcome.detail == FailureDetail(FailureCause.TASK_CANCELLED)
    assert outcome.cost_unknown is may_be_billed
    assert outcome.update.upstream_response == {"status": "cancelled"}


async def test_a_task_that_is_cancelled_when_it_is_made_fails_its_job(stages: StageHarness) -> None:
    stages.provider.submit_status = TaskStatus.CANCELLED
    assert failure(await submit(stages.job(JobState.SUBMITTING), stages.context)) is FailureReason.UPSTREAM_FAILED


@pytest.mark.parametrize(("attempts", "is_gone"), [(0, False), (1, False), (2, True)])
async def test_a_task_is_gone_once_the_upstream_has_said_so_some_times_in_a_row(
    stages: StageHarness, attempts: int, *, is_gone: bool
) -> None:
    job = await stages.running_job(attempts=attempts)
    end(stages, TaskStatus.GONE)

    outcome = await poll(job, stages.context)

    if not is_gone:
        assert isinstance(outcome, Reschedule)
        assert outcome.attempt
        return
    assert isinstance(outcome, Fail)
    assert outcome.reason is FailureReason.UPSTREAM_FAILED
    assert outcome.detail.cause is FailureCause.TASK_UNKNOWN
    assert outcome.cost_unknown


async def test_a_task_that_is_gone_when_it_is_made_is_polled(stages: StageHarness) -> None:
    stages.provider.submit_status = TaskStatus.GONE
    outcome = await submit(stages.job(JobState.SUBMITTING), stages.context)
    assert isinstance(outcome, MoveTo)
    assert outcome.to is JobState.RUNNING


async def test_a_cancelled_job_whose_task_is_gone_does_not_count_and_its_cost_is_held(
    stages: StageHarness,
) -> None:
    job = await a_cancelled_job(stages, StopResult.UNKNOWN, attempts=2)
    end(stages, TaskStatus.GONE)

    outcome = await poll(job, stages.context)

    assert isinstance(outcome, MoveTo)
    assert (outcome.to, outcome.charged, outcome.cost_unknown) == (JobState.CANCELLED, False, True)
