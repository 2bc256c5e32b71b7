import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from bot.domain.errors import (
    ContentRefused,
    OutcomeUnknown,
    StoreError,
    UpstreamBusy,
    UpstreamRefused,
)
from bot.domain.jobs import (
    Fail,
    FailureCause,
    FailureDetail,
    FailureReason,
    JobState,
    JobUpdate,
    MoveTo,
    PauseSubmissions,
    Reschedule,
    Resolution,
)
from bot.domain.task_durations import TaskDuration
from bot.providers.base import TaskStatus
from bot.worker.stages import STAGES
from bot.worker.stages.acceptance import MAX_STATUS_ATTEMPTS, post_status
from bot.worker.stages.delivery import deliver, finalise_status
from bot.worker.stages.generation import poll, submit
from tests.fakes import NOW, OPEN_GATE
from tests.stage_harness import (
    BUSY,
    CLOSED,
    DELAYED,
    FORBIDDEN,
    GONE,
    ILL,
    KEYLESS,
    POLL_SCHEDULE,
    UNREACHED,
    StageHarness,
    failure,
    wait_s,
)

FIRST_PAUSE_S = POLL_SCHEDULE.next_pause_s(Resolution.P720, 0)


def test_every_state_has_a_stage() -> None:
    assert set(STAGES) == set(JobState)


# --- post_status ---


async def test_the_status_message_is_posted_and_the_job_waits_in_the_queue(stages: StageHarness) -> None:
    job = stages.job(JobState.QUEUED)
    shown = JobUpdate(status_message_id=1000)
    assert await post_status(job, stages.context) == Reschedule(None, shown)
    assert len(stages.messenger.posted("status", job)) == 1


@pytest.mark.parametrize("error", [FORBIDDEN, GONE])
async def test_if_the_status_message_cannot_be_posted_the_job_fails_before_it_costs(
    stages: StageHarness, error: Exception
) -> None:
    stages.messenger.fail("show_status", error)
    outcome = await post_status(stages.job(JobState.QUEUED), stages.context)
    assert failure(outcome) is FailureReason.UNDELIVERABLE
    assert stages.provider.calls == []


async def test_a_delayed_status_message_is_retried(stages: StageHarness) -> None:
    stages.messenger.fail("show_status", DELAYED)
    outcome = await post_status(stages.job(JobState.QUEUED), stages.context)
    assert outcome == Reschedule(NOW + timedelta(seconds=1), attempt=True)


async def test_a_retried_status_message_adopts_an_existing_one(stages: StageHarness) -> None:
    job = stages.job(JobState.QUEUED)
    stages.messenger.fail("show_status", DELAYED, response_lost=True)
    await post_status(job, stages.context)
    await post_status(replace(job, attempts=1), stages.context)
    await post_status(replace(job, claim_count=2), stages.context)
    assert len(stages.messenger.posted("status", job)) == 1


async def test_a_status_message_that_never_succeeds_does_not_block_the_video(stages: StageHarness) -> None:
    stages.messenger.fail("show_status", DELAYED)
    job = stages.job(JobState.QUEUED, attempts=MAX_STATUS_ATTEMPTS - 1)
    assert await post_status(job, stages.context) == Reschedule(None)


# --- submit ---


async def test_a_submitted_job_is_running_with_its_task_id(stages: StageHarness) -> None:
    outcome = await submit(stages.job(JobState.SUBMITTING), stages.context)
    update = JobUpdate(upstream_id="task-1", submitted_at=NOW, upstream_response={"id": "task-1"})
    assert outcome == MoveTo(JobState.RUNNING, update, due_at=NOW + timedelta(seconds=FIRST_PAUSE_S))


async def test_a_task_that_is_done_at_once_is_not_polled(stages: StageHarness) -> None:
    stages.provider.submit_status = TaskStatus.COMPLETED
    outcome = await submit(stages.job(JobState.SUBMITTING), stages.context)
    assert outcome == MoveTo(
        JobState.DELIVERING,
        JobUpdate(
            upstream_id="task-1",
            submitted_at=NOW,
            result_url="https://cdn.example/task-1.mp4",
            cost_usd=Decimal("0.12"),
            upstream_response={"id": "task-1"},
        ),
    )


async def test_a_task_that_fails_at_once_fails_its_job_and_is_kept_on_record(stages: StageHarness) -> None:
    stages.provider.submit_status = TaskStatus.FAILED
    outcome = await submit(stages.job(JobState.SUBMITTING), stages.context)
    assert isinstance(outcome, Fail)
    assert outcome.reason is FailureReason.UPSTREAM_FAILED
    assert outcome.update.upstream_id == "task-1"


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UpstreamRefused("the prompt is unkind"), FailureReason.REFUSED),
        (OutcomeUnknown("the connection broke"), FailureReason.OUTCOME_UNKNOWN),
    ],
)
async def test_a_create_that_was_refused_or_lost_fails_the_job(
    stages: StageHarness, error: Exception, reason: FailureReason
) -> None:
    stages.provider.fail("submit", error)
    assert failure(await submit(stages.job(JobState.SUBMITTING), stages.context)) is reason


async def test_a_refusal_gives_the_member_the_upstreams_message(stages: StageHarness) -> None:
    stages.provider.fail("submit", UpstreamRefused("400", code="E7", said="the prompt is unkind"))
    outcome = await submit(stages.job(JobState.SUBMITTING), stages.context)
    assert isinstance(outcome, Fail)
    assert outcome.detail == FailureDetail(FailureCause.REFUSED_BY_SERVICE, "the prompt is unkind", code="E7")


async def test_a_refusal_for_the_content_is_told_as_such(stages: StageHarness) -> None:
    stages.provider.fail("submit", ContentRefused("400", code="DataInspectionFailed", said="too much"))
    outcome = await submit(stages.job(JobState.SUBMITTING), stages.context)
    detail = FailureDetail(FailureCause.CONTENT_REFUSED, "too much", code="DataInspectionFailed")
    assert outcome == Fail(FailureReason.REFUSED, detail)


@pytest.mark.parametrize("error", [CLOSED, KEYLESS, BUSY, UNREACHED])
async def test_an_upstream_that_accepts_nothing_pauses_submissions(stages: StageHarness, error: Exception) -> None:
    stages.provider.fail("submit", error)
    outcome = await submit(stages.job(JobState.SUBMITTING), stages.context)
    assert outcome == PauseSubmissions(NOW + timedelta(seconds=2.5), str(error))


async def test_each_consecutive_pause_is_longer(stages: StageHarness) -> None:
    stages.store.submission_gate = replace(OPEN_GATE, failures=3)
    stages.provider.fail("submit", KEYLESS)
    outcome = await submit(stages.job(JobState.SUBMITTING), stages.context)
    assert outcome == PauseSubmissions(NOW + timedelta(seconds=20), "no such key")


async def test_submissions_pause_for_the_retry_time_of_a_busy_upstream(stages: StageHarness) -> None:
    stages.provider.fail("submit", UpstreamBusy("slow down", retry_after_s=77))
    outcome = await submit(stages.job(JobState.SUBMITTING), stages.context)
    assert outcome == PauseSubmissions(NOW + timedelta(seconds=77), "slow down")


async def test_a_busy_upstream_with_a_retry_time_of_zero_still_pauses_submissions(stages: StageHarness) -> None:
    stages.provider.fail("submit", UpstreamBusy("slow down", retry_after_s=0))
    outcome = await submit(stages.job(JobState.SUBMITTING), stages.context)
    assert outcome == PauseSubmissions(NOW + timedelta(seconds=2.5), "slow down")


async def test_a_job_found_submitting_after_a_crash_is_never_submitted_again(stages: StageHarness) -> None:
    outcome = await submit(stages.job(JobState.SUBMITTING, claim_count=2), stages.context)
    assert failure(outcome) is FailureReason.OUTCOME_UNKNOWN
    assert stages.provider.calls == []


@pytest.mark.parametrize("method", ["frame", "gate"])
async def test_a_store_that_fails_before_the_submission_puts_the_job_back_into_the_queue(
    stages: StageHarness, method: str
) -> None:
    stages.store.fail(method, StoreError("the disk is full"))
    outcome = await submit(stages.job(JobState.SUBMITTING), stages.context)
    assert isinstance(outcome, PauseSubmissions)
    assert stages.provider.calls == []


async def test_a_job_without_its_picture_fails_before_it_costs(stages: StageHarness) -> None:
    job = stages.job(JobState.SUBMITTING)
    stages.store.frames.clear()
    assert failure(await submit(job, stages.context)) is FailureReason.REFUSED
    assert stages.provider.calls == []


# --- poll ---


async def test_a_task_in_progress_is_polled_again_when_the_schedule_says(stages: StageHarness) -> None:
    job = await stages.running_job()
    stages.provider.tasks["task-1"] = replace(stages.provider.tasks["task-1"], progress=0.4)
    stages.clock.move(seconds=80)
    now = stages.clock()
    pause = timedelta(seconds=POLL_SCHEDULE.next_pause_s(Resolution.P720, 80))
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
    assert (outcome.reason, outcome.detail.cause) == (FailureReason.UPSTREAM_FAILED, FailureCause.CONTENT_REFUSED)
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


async def test_a_resumed_job_has_all_its_time_again(stages: StageHarness) -> None:
    stages.clock.move(hours=20)
    job = replace(await stages.running_job(), state_changed_at=stages.clock())
    assert isinstance(await poll(job, stages.context), Reschedule)


async def test_the_upstream_cannot_stop_all_submissions_for_a_day(stages: StageHarness) -> None:
    stages.provider.fail("submit", UpstreamBusy("slow down", retry_after_s=86_400))
    outcome = await submit(stages.job(JobState.SUBMITTING), stages.context)
    assert isinstance(outcome, PauseSubmissions)
    assert outcome.until == NOW + timedelta(minutes=15)


async def test_a_failure_notifies_even_if_the_card_can_not_be_removed(stages: StageHarness) -> None:
    stages.messenger.fail("remove_status", GONE)
    job = stages.job(JobState.FAILED)
    await finalise_status(job, stages.context)
    assert len(stages.messenger.posted("failure", job)) == 1


async def test_a_video_that_fits_waits_for_no_encoder(stages: StageHarness) -> None:
    outcome = await deliver(
        stages.job(JobState.DELIVERING), replace(stages.context, encoder_slots=asyncio.Semaphore(0))
    )
    assert isinstance(outcome, MoveTo)


async def test_a_work_folder_that_was_deleted_is_created_again(stages: StageHarness) -> None:
    context = replace(stages.context, workdir=stages.workdir / "swept")
    assert isinstance(await deliver(stages.job(JobState.DELIVERING), context), MoveTo)


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
