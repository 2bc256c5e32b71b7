from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from bot.domain.approvals import PATIENCE, Decision, Verdict
from bot.domain.errors import DeliveryForbidden
from bot.domain.jobs import Fail, FailureCause, FailureDetail, FailureReason, Job, JobState, JobUpdate, Reschedule
from bot.worker.stages import GREETING_ATTEMPTS, announce, ask, greet
from tests.approval_fakes import LOG_CHANNEL
from tests.bench import DELAYED, FORBIDDEN, GONE, Bench, failure
from tests.fakes import FRAME, NOW

EXPIRES_AT = NOW + PATIENCE


async def test_the_moderators_are_asked_with_the_picture_and_the_member_sees_it_wait(bench: Bench) -> None:
    job = bench.job(JobState.AWAITING)
    outcome = await ask(job, bench.tools)
    assert outcome == Reschedule(EXPIRES_AT, JobUpdate(status_message_id=1000, review_message_id=5000))
    [question] = bench.moderators.of(job)
    assert (question.frame, question.channel_id) == (FRAME, LOG_CHANNEL)
    assert [one.shows for one in bench.messenger.of("status", job)] == [JobState.AWAITING]
    assert bench.provider.calls == []


async def test_one_who_was_asked_is_not_asked_again(bench: Bench) -> None:
    job = bench.job(JobState.AWAITING, review_message_id=5000, attempts=1)
    assert await ask(job, bench.tools) == Reschedule(EXPIRES_AT)
    assert bench.moderators.calls == []


@pytest.mark.parametrize("place", ["status", "question"])
async def test_a_crash_while_asking_leaves_one_status_and_one_question(bench: Bench, place: str) -> None:
    job = bench.job(JobState.AWAITING)
    faulty, method = (bench.messenger, "show_status") if place == "status" else (bench.moderators, "ask")
    faulty.fail(method, DELAYED, late=True)
    await ask(job, bench.tools)
    await ask(replace(job, attempts=1), bench.tools)
    await ask(replace(job, claims=2), bench.tools)
    assert len(bench.messenger.of("status", job)) == 1
    assert len(bench.moderators.of(job)) == 1


@pytest.mark.parametrize("faulty", ["messenger", "moderators"])
async def test_a_delay_is_tried_again(bench: Bench, faulty: str) -> None:
    if faulty == "messenger":
        bench.messenger.fail("show_status", DELAYED)
    else:
        bench.moderators.fail("ask", DELAYED)
    outcome = await ask(bench.job(JobState.AWAITING), bench.tools)
    assert outcome == Reschedule(NOW + timedelta(seconds=1), attempt=True)


async def test_it_is_asked_as_long_as_the_job_may_wait(bench: Bench) -> None:
    """Unlike a first status message, the question is nothing to go on without."""
    bench.moderators.fail("ask", DELAYED)
    outcome = await ask(bench.job(JobState.AWAITING, attempts=500), bench.tools)
    assert isinstance(outcome, Reschedule)
    assert outcome.attempt


@pytest.mark.parametrize("error", [FORBIDDEN, GONE])
async def test_moderators_who_can_not_be_asked_let_nothing_through(bench: Bench, error: Exception) -> None:
    bench.moderators.fail("ask", error)
    outcome = await ask(bench.job(JobState.AWAITING), bench.tools)
    assert isinstance(outcome, Fail)
    assert outcome.reason is FailureReason.UNDELIVERABLE
    assert outcome.detail == FailureDetail(FailureCause.REVIEW_CHANNEL_CLOSED)


async def test_without_a_log_channel_it_ends_free(bench: Bench) -> None:
    bench.reviews.channel_id = None
    outcome = await ask(bench.job(JobState.AWAITING), bench.tools)
    assert isinstance(outcome, Fail)
    assert outcome.reason is FailureReason.UNDELIVERABLE
    assert outcome.detail == FailureDetail(FailureCause.NO_REVIEW_CHANNEL)
    assert bench.moderators.calls == []


@pytest.mark.parametrize("error", [FORBIDDEN, GONE])
async def test_where_the_video_could_not_be_posted_nobody_is_asked(bench: Bench, error: Exception) -> None:
    bench.messenger.fail("show_status", error)
    outcome = await ask(bench.job(JobState.AWAITING), bench.tools)
    assert failure(outcome) is FailureReason.UNDELIVERABLE
    assert bench.moderators.calls == []


@pytest.mark.parametrize("review_message_id", [None, 5000])
async def test_after_a_day_it_expires(bench: Bench, review_message_id: int | None) -> None:
    job = bench.job(JobState.AWAITING, review_message_id=review_message_id)
    bench.clock.move(seconds=PATIENCE.total_seconds())
    outcome = await ask(job, bench.tools)
    assert failure(outcome) is FailureReason.EXPIRED
    assert bench.moderators.calls == []


# --- what follows the answer ---


async def asked(bench: Bench, state: JobState, decision: Decision | None = None, **changes: Any) -> Job:
    job = bench.job(JobState.AWAITING)
    outcome = await ask(job, bench.tools)
    assert isinstance(outcome, Reschedule)
    if decision is not None:
        bench.reviews.decisions[job.id] = decision
    facts = outcome.facts
    return replace(
        job,
        state=state,
        status_message_id=facts.status_message_id,
        review_message_id=facts.review_message_id,
        **changes,
    )


APPROVED = Decision(Verdict.APPROVED, 77, NOW)
DECLINED = Decision(Verdict.DECLINED, 77, NOW)


async def test_an_approved_job_closes_the_question_and_waits_for_its_turn(bench: Bench) -> None:
    job = await asked(bench, JobState.QUEUED, APPROVED)
    assert await greet(job, bench.tools) == Reschedule(None, JobUpdate(status_message_id=1000))
    [question] = bench.moderators.of(job)
    assert question.closed == (job, APPROVED)
    assert [one.shows for one in bench.messenger.of("status", job)] == [JobState.QUEUED]


@pytest.mark.parametrize(
    ("state", "decision"),
    [(JobState.FAILED, DECLINED), (JobState.FAILED, None), (JobState.CANCELLED, None)],
    ids=["declined", "expired", "cancelled"],
)
async def test_a_job_that_ends_while_it_waits_closes_the_question_once_it_is_told(
    bench: Bench, state: JobState, decision: Decision | None
) -> None:
    job = await asked(bench, state, decision)
    assert await announce(job, bench.tools) == Reschedule(None, JobUpdate(status_message_id=1000))
    [question] = bench.moderators.of(job)
    assert question.closed == (job, decision)
    assert len(bench.messenger.of("failure", job)) == (state is JobState.FAILED)


async def test_a_job_given_up_before_its_question_was_written_down_closes_it_when_it_is_told(bench: Bench) -> None:
    job = bench.job(JobState.AWAITING)
    await ask(job, bench.tools)  # and here its worker lost it to the member who gave it up
    given_up = replace(job, state=JobState.CANCELLED)
    await announce(given_up, bench.tools)
    assert bench.moderators.of(job)[0].closed == (given_up, None)


async def test_a_job_given_up_while_it_is_asked_about_leaves_no_open_question(bench: Bench) -> None:
    job = bench.job(JobState.AWAITING)
    bench.desk.jobs[job.id] = replace(job, state=JobState.CANCELLED)  # its end was told before the question came
    await ask(job, bench.tools)
    assert bench.moderators.of(job)[0].closed is not None


async def test_a_job_let_through_before_its_status_message_was_written_down_gets_no_second_one(
    bench: Bench,
) -> None:
    job = bench.job(JobState.AWAITING)
    await ask(job, bench.tools)  # and here its worker died; a moderator let it through before the next try
    outcome = await greet(replace(job, state=JobState.QUEUED, review_message_id=5000), bench.tools)
    assert outcome == Reschedule(None, JobUpdate(status_message_id=1000))
    assert len(bench.messenger.of("status", job)) == 1


async def test_a_job_that_waits_for_its_turn_searches_no_question_that_nobody_asked(bench: Bench) -> None:
    await greet(bench.job(JobState.QUEUED), bench.tools)
    assert "close" not in bench.moderators.calls


async def test_an_ill_discord_closes_the_question_later_and_does_not_tell_twice(bench: Bench) -> None:
    job = await asked(bench, JobState.FAILED, DECLINED)
    bench.moderators.fail("close", DELAYED)
    outcome = await announce(job, bench.tools)
    assert outcome == Reschedule(NOW + timedelta(seconds=1), JobUpdate(status_message_id=1000), attempt=True)
    assert (await announce(replace(job, attempts=1), bench.tools)) == Reschedule(
        None, JobUpdate(status_message_id=1000)
    )
    assert len(bench.messenger.of("failure", job)) == 1
    assert bench.moderators.of(job)[0].closed is not None


@pytest.mark.parametrize("error", [DELAYED, DeliveryForbidden("Missing Access"), GONE])
async def test_a_question_that_can_not_be_closed_keeps_no_video_back(bench: Bench, error: Exception) -> None:
    job = await asked(bench, JobState.QUEUED, APPROVED)
    bench.moderators.fail_from_now_on("close", error)
    last_try = replace(job, attempts=GREETING_ATTEMPTS - 1)
    assert await greet(last_try, bench.tools) == Reschedule(None, JobUpdate(status_message_id=1000))


async def test_a_question_in_a_channel_that_was_taken_back_keeps_no_video_back(bench: Bench) -> None:
    job = await asked(bench, JobState.QUEUED, APPROVED)
    bench.reviews.channel_id = None
    assert await greet(job, bench.tools) == Reschedule(None, JobUpdate(status_message_id=1000))


async def test_a_video_that_was_made_asks_nothing_of_the_moderators_any_more(bench: Bench) -> None:
    job = await asked(bench, JobState.DELIVERED, APPROVED, submitted_at=NOW)
    await announce(job, bench.tools)
    assert "close" not in bench.moderators.calls
