from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from bot.chat.messages import job_overview_texts as texts
from bot.chat.messages.failure_texts import failure_detail
from bot.chat.messages.markdown import discord_length
from bot.chat.messages.member_texts import STAGES
from bot.domain.jobs import ENDED, FailureCause, FailureDetail, FailureReason, Job, JobState, Order
from bot.services.admin.jobs import JobOverview
from bot.store.jobs.overview import ActiveJob

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
LARGEST = 2**63 - 1
JOB = Job("abcdefgh-ijklmn_", JobState.QUEUED, LARGEST, LARGEST, LARGEST, Order("a fox runs"), NOW, NOW)
MENTION = f"<@{LARGEST}>"
STAMP = int(NOW.timestamp())


def job(state: JobState = JobState.QUEUED, *, prompt: str = "a fox runs", **changes: object) -> Job:
    return replace(JOB, state=state, order=replace(JOB.order, prompt=prompt), **changes)  # type: ignore[arg-type]


def overview_text(*active: ActiveJob, failures: tuple[Job, ...] = (), **changes: object) -> str:
    whole = JobOverview(active, len(active), failures, None)
    return texts.job_overview(replace(whole, **changes))  # type: ignore[arg-type]


def test_an_overview_without_jobs_says_so() -> None:
    assert overview_text() == "No videos are queued or being made in this server."


def test_a_queued_job_shows_its_member_time_queue_position_and_prompt() -> None:
    text = overview_text(ActiveJob(job(), 3))

    assert "⏳ queued" in text
    assert MENTION in text
    assert f"<t:{STAMP}:R>" in text
    assert "number 3 in line" in text
    assert "> a fox runs" in text


def test_the_first_job_in_the_queue_is_next_in_line() -> None:
    assert "next in line" in overview_text(ActiveJob(job(), 1))


@pytest.mark.parametrize("state", sorted(set(JobState) - ENDED))
def test_each_state_has_its_text(state: JobState) -> None:
    assert STAGES[state] in overview_text(ActiveJob(job(state)))


def test_a_running_job_shows_its_progress() -> None:
    assert "42%" in overview_text(ActiveJob(job(JobState.RUNNING, progress=0.42)))


def test_a_failing_job_shows_how_often_it_failed_and_when_it_is_retried() -> None:
    text = overview_text(ActiveJob(job(JobState.RUNNING, attempts=3, due_at=NOW)))

    assert f"failed 3 times in a row, next try <t:{STAMP}:R>" in text


def test_a_running_job_with_a_requested_cancellation_says_that_it_will_not_be_posted() -> None:
    assert "won't be posted" in overview_text(ActiveJob(job(JobState.RUNNING, cancel_requested=True)))


def test_a_closed_video_service_is_shown_with_the_time_of_the_next_try() -> None:
    text = overview_text(ActiveJob(job()), closed_until=NOW)

    assert f"isn't accepting videos right now. I'll try again <t:{STAMP}:R>" in text


def test_failures_are_shown_with_reason_and_detail() -> None:
    failed = job(
        JobState.FAILED,
        failure_reason=FailureReason.TIMED_OUT,
        failure_detail=FailureDetail(FailureCause.IN_WORDS, "It took *too* long."),
    )

    text = overview_text(failures=(failed,))

    assert "**Recent failures**" in text
    assert "took too long" in text
    assert r"It took \*too\* long." in text


@pytest.mark.parametrize("reason", [FailureReason.DECLINED, FailureReason.EXPIRED])
def test_an_unapproved_jobs_reason_is_not_repeated_as_its_detail(reason: FailureReason) -> None:
    detail = FailureDetail(FailureCause.CANCELLED_BY_ADMIN)
    text = overview_text(failures=(job(JobState.FAILED, failure_reason=reason, failure_detail=detail),))

    assert texts.REASONS[reason] in text
    assert failure_detail(detail) not in text


@pytest.mark.parametrize("reason", FailureReason)
def test_each_failure_reason_has_its_text(reason: FailureReason) -> None:
    assert texts.REASONS[reason] in overview_text(failures=(job(JobState.FAILED, failure_reason=reason),))


@pytest.mark.parametrize("hostile", ["@everyone\n# look", "**bold** <@1>", "||x|| `y`"])
def test_hostile_text_is_inert(hostile: str) -> None:
    failed = job(
        JobState.FAILED,
        failure_reason=FailureReason.REFUSED,
        failure_detail=FailureDetail(FailureCause.TASK_FAILED, hostile),
    )

    text = overview_text(ActiveJob(job(prompt=hostile)), failures=(failed,))

    assert hostile not in text
    assert "\n# " not in text
    assert "<@1>" not in text


@pytest.mark.parametrize("char", ["x", "*", "🎬", "字"])
@pytest.mark.parametrize("count", [1, 10, 25])
@pytest.mark.parametrize("failed", [0, 1, 5])
def test_a_long_overview_fits_a_message_and_says_how_many_jobs_are_left_out(
    char: str, count: int, failed: int
) -> None:
    active_job = ActiveJob(
        job(
            JobState.RUNNING,
            prompt=char * 800,
            attempts=12,
            due_at=NOW,
            progress=0.5,
            status_message_id=LARGEST,
            cancel_requested=True,
        ),
        1000,
    )
    failure = job(
        JobState.FAILED,
        failure_reason=FailureReason.OUTCOME_UNKNOWN,
        failure_detail=FailureDetail(FailureCause.IN_WORDS, char * 3000),
    )

    text = overview_text(*[active_job] * count, failures=(failure,) * failed, count=1234, closed_until=NOW)

    assert discord_length(text) <= 2000
    shown = text.count("ordered <t:")
    assert shown >= 1
    assert f"…and {1234 - shown} more" in text
    assert text.count("unknown whether") >= min(failed, 2)


def test_a_complete_overview_does_not_mention_more_jobs() -> None:
    assert "more" not in overview_text(ActiveJob(job()), ActiveJob(job()))


@pytest.mark.parametrize("state", JobState)
@pytest.mark.parametrize("prompt", ["x" * 800, "🎬" * 800, "**x**\n" * 100])
def test_a_choice_fits_discords_limit(state: JobState, prompt: str) -> None:
    for name in (None, "n" * 32, "🔥" * 32):
        assert 0 < discord_length(texts.choice(job(state, prompt=prompt), name)) <= 100


def test_a_choice_shows_state_member_time_and_prompt() -> None:
    assert texts.choice(job(), "Ann\nLee") == "⏳ queued · Ann Lee · 31 Jan 12:00 UTC · a fox runs"
    assert f" · {LARGEST} · " in texts.choice(job(), None)
    assert " · a deleted member · " in texts.choice(job(user_id=0), None)


def test_choices_with_the_same_prompt_are_distinguishable() -> None:
    later = job(created_at=NOW + timedelta(minutes=1))

    assert texts.choice(job(), "Ann") != texts.choice(later, "Ann")
    assert texts.choice(job(), "Ann") != texts.choice(job(), "Bob")


def test_retrying_a_failed_job_says_that_it_is_free_for_the_member() -> None:
    text = texts.retried(job(JobState.FAILED))

    assert f"checking on {MENTION}'s video again" in text
    assert "doesn't count against their limits" in text


def test_retrying_a_waiting_job_says_that_it_no_longer_waits() -> None:
    text = texts.retried(job(JobState.DELIVERING))

    assert f"trying {MENTION}'s video again now instead of waiting" in text
