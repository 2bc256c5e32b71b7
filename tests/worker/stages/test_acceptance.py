from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.domain.approvals import APPROVAL_TIMEOUT, Decision, Verdict
from bot.domain.errors import DeliveryForbidden
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, Job, JobState
from bot.domain.outcomes import Fail, JobUpdate, Reschedule
from bot.worker.stages.acceptance import MAX_STATUS_ATTEMPTS, post_status, request_approval
from bot.worker.stages.delivery import finalise_status
from tests.fakes import FRAME, LOG_CHANNEL, NOW
from tests.stage_harness import DELAYED, FORBIDDEN, GONE, StageHarness, failure

EXPIRES_AT = NOW + APPROVAL_TIMEOUT


async def test_the_moderators_get_the_picture_and_the_member_sees_the_job_wait(stages: StageHarness) -> None:
    job = stages.job(JobState.AWAITING)
    outcome = await request_approval(job, stages.context)
    assert outcome == Reschedule(EXPIRES_AT, JobUpdate(status_message_id=1000, approval_message_id=5000))
    [request] = stages.approval_messenger.requests_for(job)
    assert (request.frame, request.channel_id) == (FRAME, LOG_CHANNEL)
    assert [one.job_state for one in stages.messenger.posted("status", job)] == [JobState.AWAITING]
    assert stages.provider.calls == []


async def test_an_approval_request_is_posted_once(stages: StageHarness) -> None:
    job = stages.job(JobState.AWAITING, approval_message_id=5000, attempts=1)
    assert await request_approval(job, stages.context) == Reschedule(EXPIRES_AT)
    assert stages.approval_messenger.calls == []


@pytest.mark.parametrize("message", ["status", "approval request"])
async def test_a_crash_while_posting_leaves_one_status_message_and_one_approval_request(
    stages: StageHarness, message: str
) -> None:
    job = stages.job(JobState.AWAITING)
    faulty, method = (
        (stages.messenger, "show_status") if message == "status" else (stages.approval_messenger, "post")
    )
    faulty.fail(method, DELAYED, response_lost=True)
    await request_approval(job, stages.context)
    await request_approval(replace(job, attempts=1), stages.context)
    await request_approval(replace(job, claim_count=2), stages.context)
    assert len(stages.messenger.posted("status", job)) == 1
    assert len(stages.approval_messenger.requests_for(job)) == 1


@pytest.mark.parametrize("faulty", ["messenger", "approval_messenger"])
async def test_a_delay_is_retried(stages: StageHarness, faulty: str) -> None:
    if faulty == "messenger":
        stages.messenger.fail("show_status", DELAYED)
    else:
        stages.approval_messenger.fail("post", DELAYED)
    outcome = await request_approval(stages.job(JobState.AWAITING), stages.context)
    assert outcome == Reschedule(NOW + timedelta(seconds=1), attempt=True)


async def test_the_approval_request_is_retried_as_long_as_the_job_may_wait(stages: StageHarness) -> None:
    """A job can continue without a status card, but not without approval."""
    stages.approval_messenger.fail("post", DELAYED)
    outcome = await request_approval(stages.job(JobState.AWAITING, attempts=500), stages.context)
    assert isinstance(outcome, Reschedule)
    assert outcome.attempt


@pytest.mark.parametrize("error", [FORBIDDEN, GONE])
async def test_without_a_way_to_ask_moderators_the_job_fails(stages: StageHarness, error: Exception) -> None:
    stages.approval_messenger.fail("post", error)
    outcome = await request_approval(stages.job(JobState.AWAITING), stages.context)
    assert isinstance(outcome, Fail)
    assert outcome.reason is FailureReason.UNDELIVERABLE
    assert outcome.detail == FailureDetail(FailureCause.REVIEW_CHANNEL_CLOSED)


async def test_without_a_log_channel_the_job_fails_for_free(stages: StageHarness) -> None:
    stages.approvals.channel_id = None
    outcome = await request_approval(stages.job(JobState.AWAITING), stages.context)
    assert isinstance(outcome, Fail)
    assert outcome.reason is FailureReason.UNDELIVERABLE
    assert outcome.detail == FailureDetail(FailureCause.NO_REVIEW_CHANNEL)
    assert stages.approval_messenger.calls == []


@pytest.mark.parametrize("error", [FORBIDDEN, GONE])
async def test_no_moderator_is_asked_if_the_video_could_not_be_posted(
    stages: StageHarness, error: Exception
) -> None:
    stages.messenger.fail("show_status", error)
    outcome = await request_approval(stages.job(JobState.AWAITING), stages.context)
    assert failure(outcome) is FailureReason.UNDELIVERABLE
    assert stages.approval_messenger.calls == []


@pytest.mark.parametrize("review_message_id", [None, 5000])
async def test_after_a_day_an_approval_request_expires(
    stages: StageHarness, review_message_id: int | None
) -> None:
    job = stages.job(JobState.AWAITING, approval_message_id=review_message_id)
    stages.clock.move(seconds=APPROVAL_TIMEOUT.total_seconds())
    outcome = await request_approval(job, stages.context)
    assert failure(outcome) is FailureReason.EXPIRED
    assert stages.approval_messenger.calls == []


# --- after the decision ---


async def after_request(
    stages: StageHarness, state: JobState, decision: Decision | None = None, **changes: Any
) -> Job:
    job = stages.job(JobState.AWAITING)
    outcome = await request_approval(job, stages.context)
    assert isinstance(outcome, Reschedule)
    if decision is not None:
        stages.approvals.decisions[job.id] = decision
    update = outcome.update
    return replace(
        job,
        state=state,
        status_message_id=update.status_message_id,
        approval_message_id=update.approval_message_id,
        **changes,
    )


SHOWN = JobUpdate(status_message_id=1000)
APPROVED = Decision(Verdict.APPROVED, 77, NOW)
DECLINED = Decision(Verdict.DECLINED, 77, NOW)


async def test_an_approved_job_closes_its_request_and_waits_in_the_queue(stages: StageHarness) -> None:
    job = await after_request(stages, JobState.QUEUED, APPROVED)
    assert await post_status(job, stages.context) == Reschedule(None, SHOWN)
    [request] = stages.approval_messenger.requests_for(job)
    assert request.closed == (job, APPROVED)
    assert [one.job_state for one in stages.messenger.posted("status", job)] == [JobState.QUEUED]


@pytest.mark.parametrize(
    ("state", "decision"),
    [(JobState.FAILED, DECLINED), (JobState.FAILED, None), (JobState.CANCELLED, None)],
    ids=["declined", "expired", "cancelled"],
)
async def test_a_job_that_ends_while_it_waits_closes_its_request(
    stages: StageHarness, state: JobState, decision: Decision | None
) -> None:
    job = await after_request(stages, state, decision)
    assert await finalise_status(job, stages.context) == Reschedule(None)
    [request] = stages.approval_messenger.requests_for(job)
    assert request.closed == (job, decision)
    assert len(stages.messenger.posted("failure", job)) == (state is JobState.FAILED)


async def test_a_job_cancelled_before_its_request_was_recorded_still_closes_it(
    stages: StageHarness,
) -> None:
    job = stages.job(JobState.AWAITING)
    await request_approval(job, stages.context)  # and here its worker lost it to the member who gave it up
    given_up = replace(job, state=JobState.CANCELLED)
    await finalise_status(given_up, stages.context)
    assert stages.approval_messenger.requests_for(job)[0].closed == (given_up, None)


async def test_a_job_cancelled_while_its_request_is_posted_leaves_no_open_request(stages: StageHarness) -> None:
    job = stages.job(JobState.AWAITING)
    stages.store.jobs[job.id] = replace(job, state=JobState.CANCELLED)  # it ended before the request was posted
    await request_approval(job, stages.context)
    assert stages.approval_messenger.requests_for(job)[0].closed is not None


async def test_a_job_approved_before_its_status_message_was_recorded_gets_no_second_one(
    stages: StageHarness,
) -> None:
    job = stages.job(JobState.AWAITING)
    await request_approval(
        job, stages.context
    )  # and here its worker died; a moderator let it through before the next try
    outcome = await post_status(replace(job, state=JobState.QUEUED, approval_message_id=5000), stages.context)
    assert outcome == Reschedule(None, SHOWN)
    assert len(stages.messenger.posted("status", job)) == 1


async def test_a_queued_job_without_approval_searches_for_no_request(stages: StageHarness) -> None:
    await post_status(stages.job(JobState.QUEUED), stages.context)
    assert "close" not in stages.approval_messenger.calls


@pytest.mark.parametrize("error", [DELAYED, DeliveryForbidden("Missing Access")], ids=["outage", "permission"])
async def test_a_request_that_can_not_be_closed_now_is_closed_later_and_the_member_notified_once(
    stages: StageHarness, error: Exception
) -> None:
    job = await after_request(stages, JobState.FAILED, DECLINED)
    stages.approval_messenger.fail("close", error)
    outcome = await finalise_status(job, stages.context)
    assert outcome == Reschedule(NOW + timedelta(seconds=1), attempt=True)
    assert await finalise_status(replace(job, attempts=1), stages.context) == Reschedule(None)
    assert len(stages.messenger.posted("failure", job)) == 1
    assert stages.approval_messenger.requests_for(job)[0].closed is not None


@pytest.mark.parametrize("error", [DELAYED, DeliveryForbidden("Missing Access"), GONE])
async def test_a_request_that_can_not_be_closed_blocks_no_video(stages: StageHarness, error: Exception) -> None:
    job = await after_request(stages, JobState.QUEUED, APPROVED)
    stages.approval_messenger.fail_always("close", error)
    last_try = replace(job, attempts=MAX_STATUS_ATTEMPTS - 1)
    assert await post_status(last_try, stages.context) == Reschedule(None, SHOWN)


async def test_a_request_in_a_channel_that_was_unset_blocks_no_video(stages: StageHarness) -> None:
    job = await after_request(stages, JobState.QUEUED, APPROVED)
    stages.approvals.channel_id = None
    assert await post_status(job, stages.context) == Reschedule(None, SHOWN)


async def test_a_delivered_video_leaves_its_closed_request_alone(stages: StageHarness) -> None:
    job = await after_request(stages, JobState.DELIVERED, APPROVED, submitted_at=NOW)
    await finalise_status(job, stages.context)
    assert "close" not in stages.approval_messenger.calls
