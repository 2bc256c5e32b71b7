import asyncio
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
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, JobState, RejectedPart
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, PauseSubmissions, Reschedule
from bot.providers.base import TaskStatus
from bot.worker.stages import STAGES
from bot.worker.stages.acceptance import MAX_STATUS_ATTEMPTS, post_status
from bot.worker.stages.delivery import deliver, finalise_status
from bot.worker.stages.generation import LAST_ERROR, submit
from tests.fakes import NOW, OPEN_GATE
from tests.stage_harness import (
    BUSY,
    CLOSED,
    DELAYED,
    FIRST_PAUSE_S,
    FORBIDDEN,
    GONE,
    KEYLESS,
    UNREACHED,
    StageHarness,
    failure,
)


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
    response = {"id": "task-1"}
    update = JobUpdate("task-1", NOW, upstream_response=response, can_be_stopped=False)
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
            can_be_stopped=False,
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
    assert outcome == Fail(FailureReason.REJECTED, detail)
    assert not outcome.cost_unknown


async def test_a_rejection_names_what_was_rejected(stages: StageHarness) -> None:
    stages.provider.fail("submit", ContentRefused("400", said="Input text data may contain inappropriate content"))
    outcome = await submit(stages.job(JobState.SUBMITTING), stages.context)
    assert isinstance(outcome, Fail)
    assert outcome.detail.part is RejectedPart.PROMPT


async def test_how_a_task_is_stopped_is_kept_from_its_creation(stages: StageHarness) -> None:
    urls = {"stop": "https://gateway.example/stop"}
    stages.provider.urls = urls
    outcome = await submit(stages.job(JobState.SUBMITTING), stages.context)
    assert isinstance(outcome, MoveTo)
    assert (outcome.update.upstream_urls, outcome.update.can_be_stopped) == (urls, True)


async def test_what_is_known_of_a_lost_answer_is_kept_with_the_job(stages: StageHarness) -> None:
    stages.provider.fail("submit", OutcomeUnknown("unreadable: {'idd': 7}"))
    outcome = await submit(stages.job(JobState.SUBMITTING), stages.context)
    assert isinstance(outcome, Fail)
    assert outcome.update.upstream_response == {LAST_ERROR: "unreadable: {'idd': 7}"}


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
