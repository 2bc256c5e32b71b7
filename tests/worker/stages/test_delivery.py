from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from bot.domain.errors import (
    ResultRefused,
    ResultUnusable,
    TooLargeToPost,
    UpstreamBusy,
)
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, JobState
from bot.domain.outcomes import JobUpdate, MoveTo, PauseSubmissions, Reschedule
from bot.worker.stages.acceptance import post_status
from bot.worker.stages.delivery import abandon, deliver, finalise_status
from bot.worker.stages.generation import submit
from tests.fakes import NOW, VIDEO
from tests.stage_harness import (
    BUSY,
    CLOSED,
    DELAYED,
    FORBIDDEN,
    GONE,
    ILL,
    UNREACHED,
    StageHarness,
    failure,
    noisy_video,
    wait_s,
)

# --- deliver ---

REFUSED = ResultRefused("cdn.example answered 404 instead of the video.")


@pytest.mark.parametrize(("minutes", "attempts"), [(0, 0), (9, 8)])
async def test_a_refused_link_is_tried_again_with_the_link_that_the_task_has_now(
    stages: StageHarness, minutes: int, attempts: int
) -> None:
    await stages.running_job()
    stages.provider.finish("task-1")
    job = stages.job(JobState.DELIVERING, attempts=attempts, result_url="https://cdn.example/stale.mp4")
    stages.provider.fail("download", REFUSED)
    stages.clock.move(minutes=minutes)

    outcome = await deliver(job, stages.context)

    assert isinstance(outcome, Reschedule)
    assert outcome.attempt
    assert outcome.due_at is not None
    assert outcome.due_at > stages.clock()
    assert outcome.update == JobUpdate(result_url="https://cdn.example/task-1.mp4", cost_usd=Decimal("0.12"))


async def test_a_refused_link_is_tried_again_even_if_the_task_cannot_be_polled(stages: StageHarness) -> None:
    stages.provider.fail("download", REFUSED)
    stages.provider.fail("status", ILL)
    outcome = await deliver(stages.job(JobState.DELIVERING), stages.context)
    assert isinstance(outcome, Reschedule)
    assert outcome.update == JobUpdate()


async def test_a_link_that_stays_refused_for_minutes_fails_the_job(stages: StageHarness) -> None:
    job = stages.job(JobState.DELIVERING)
    stages.clock.move(hours=1)  # Discord was away, which is when a signed link expires
    stages.provider.fail("download", *[REFUSED] * 3)
    assert isinstance(await deliver(job, stages.context), Reschedule)
    stages.clock.move(minutes=9)
    assert isinstance(await deliver(job, stages.context), Reschedule)
    stages.clock.move(minutes=2)
    assert failure(await deliver(job, stages.context)) is FailureReason.RESULT_UNUSABLE


async def test_a_link_that_is_refused_now_and_then_has_all_its_minutes_each_time(stages: StageHarness) -> None:
    job = stages.job(JobState.DELIVERING)
    stages.provider.fail("download", REFUSED, ILL, REFUSED)
    for _ in range(3):
        assert isinstance(await deliver(job, stages.context), Reschedule)
        stages.clock.move(minutes=9)


async def test_a_video_is_posted_and_leaves_nothing_on_the_disk(stages: StageHarness) -> None:
    job = stages.job(JobState.DELIVERING)
    outcome = await deliver(job, stages.context)
    [posted] = stages.messenger.posted("video", job)
    assert outcome == MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=posted.id))
    assert posted.content == VIDEO
    assert list(stages.workdir.iterdir()) == []


async def test_a_first_attempt_does_not_search_the_channel(stages: StageHarness) -> None:
    await deliver(stages.job(JobState.DELIVERING), stages.context)
    assert "find_video" not in stages.messenger.calls


@pytest.mark.parametrize("trace", [{"attempts": 1}, {"claim_count": 2}])
async def test_a_video_whose_posting_lost_its_response_is_found_and_kept(
    stages: StageHarness, trace: dict[str, int]
) -> None:
    job = stages.job(JobState.DELIVERING)
    stages.messenger.fail("post_video", DELAYED, response_lost=True)
    assert isinstance(await deliver(job, stages.context), Reschedule)
    outcome = await deliver(replace(job, **trace), stages.context)  # type: ignore[arg-type]  # mypy: a dict is any field
    [posted] = stages.messenger.posted("video", job)
    assert outcome == MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=posted.id))
    assert stages.provider.calls == ["download"]


async def test_a_second_attempt_posts_if_the_first_did_not(stages: StageHarness) -> None:
    job = stages.job(JobState.DELIVERING, attempts=1)
    outcome = await deliver(job, stages.context)
    [posted] = stages.messenger.posted("video", job)
    assert outcome == MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=posted.id))


async def test_nothing_is_posted_while_it_is_unknown_whether_it_was_posted(stages: StageHarness) -> None:
    job = stages.job(JobState.DELIVERING, attempts=1)
    stages.messenger.fail("find_video", DELAYED)
    assert isinstance(await deliver(job, stages.context), Reschedule)
    assert stages.messenger.messages == {}


async def test_a_job_abandoned_right_after_its_video_was_posted_is_delivered(stages: StageHarness) -> None:
    job = stages.job(JobState.DELIVERING, claim_count=6)
    video = await stages.messenger.post_video(job, Path(__file__))
    assert await abandon(job, stages.context) == MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=video))


async def test_a_job_is_not_abandoned_before_it_is_known_whether_its_video_was_posted(
    stages: StageHarness,
) -> None:
    job = stages.job(JobState.DELIVERING, claim_count=6)
    stages.messenger.fail("find_video", DELAYED)
    assert isinstance(await abandon(job, stages.context), Reschedule)
    assert failure(await abandon(job, stages.context)) is FailureReason.ABANDONED


@pytest.mark.parametrize("error", [FORBIDDEN, GONE])
async def test_a_job_whose_channel_can_not_be_read_is_abandoned(stages: StageHarness, error: Exception) -> None:
    stages.messenger.fail("find_video", error)
    assert (
        failure(await abandon(stages.job(JobState.DELIVERING, claim_count=6), stages.context))
        is FailureReason.ABANDONED
    )


async def test_a_cancelled_job_is_not_posted(stages: StageHarness) -> None:
    outcome = await deliver(stages.job(JobState.DELIVERING, cancel_requested=True), stages.context)
    assert outcome == MoveTo(JobState.CANCELLED)
    assert stages.messenger.calls == stages.provider.calls == []


async def test_a_cancel_after_the_video_was_posted_is_too_late(stages: StageHarness) -> None:
    stages.messenger.fail("post_video", DELAYED, response_lost=True)
    job = stages.job(JobState.DELIVERING)
    await deliver(job, stages.context)
    [posted] = stages.messenger.posted("video", job)
    outcome = await deliver(replace(job, attempts=1, cancel_requested=True), stages.context)
    assert outcome == MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=posted.id))


async def test_a_video_cancelled_while_it_is_fetched_is_not_posted(stages: StageHarness) -> None:
    job = stages.job(JobState.DELIVERING)
    stages.store.jobs[job.id] = replace(job, cancel_requested=True)
    assert await deliver(job, stages.context) == MoveTo(JobState.CANCELLED)
    assert stages.messenger.messages == {}


async def test_a_status_message_that_hangs_counts_as_an_attempt(stages: StageHarness) -> None:
    stages.messenger.hang("show_status")
    outcome = await post_status(stages.job(JobState.QUEUED), replace(stages.context, status_timeout_s=0.01))
    assert isinstance(outcome, Reschedule)
    assert outcome.attempt


async def test_a_store_that_hangs_before_the_submission_lets_the_job_wait(stages: StageHarness) -> None:
    stages.store.hang("frame")
    outcome = await submit(stages.job(JobState.SUBMITTING), replace(stages.context, store_timeout_s=0.01))
    assert isinstance(outcome, PauseSubmissions)
    assert stages.provider.submit_count == 0


async def test_a_result_that_can_not_be_fetched_fails_the_job(stages: StageHarness) -> None:
    stages.provider.fail("download", ResultUnusable("404"))
    assert failure(await deliver(stages.job(JobState.DELIVERING), stages.context)) is FailureReason.RESULT_UNUSABLE


@pytest.mark.parametrize("method", ["upload_limit_bytes", "post_video"])
async def test_a_channel_that_is_gone_fails_the_job(stages: StageHarness, method: str) -> None:
    stages.messenger.fail(method, GONE)
    stages.messenger.fail("send_video", FORBIDDEN)
    assert failure(await deliver(stages.job(JobState.DELIVERING), stages.context)) is FailureReason.UNDELIVERABLE


async def test_a_forbidden_channel_gets_time_to_be_opened_again(stages: StageHarness) -> None:
    job = stages.job(JobState.DELIVERING)
    stages.messenger.fail("post_video", FORBIDDEN, FORBIDDEN)
    stages.clock.move(minutes=30)
    assert isinstance(await deliver(job, stages.context), Reschedule)
    stages.clock.move(seconds=1)
    stages.messenger.fail("send_video", FORBIDDEN)
    assert failure(await deliver(job, stages.context)) is FailureReason.UNDELIVERABLE


@pytest.mark.parametrize(
    ("method", "error"),
    [
        ("download", BUSY),
        ("download", UNREACHED),
        ("download", ILL),
        ("download", CLOSED),
        ("post_video", DELAYED),
        ("upload_limit_bytes", DELAYED),
    ],
)
async def test_a_delayed_delivery_is_retried_until_the_result_expires(
    stages: StageHarness, method: str, error: Exception
) -> None:
    job = stages.job(JobState.DELIVERING, attempts=2)
    fake = stages.provider if method == "download" else stages.messenger
    fake.fail(method, error, error)
    assert await deliver(job, stages.context) == Reschedule(NOW + timedelta(seconds=4), attempt=True)
    stages.clock.move(hours=24, seconds=1)
    assert failure(await deliver(job, stages.context)) is FailureReason.UNDELIVERABLE


async def test_what_fails_right_after_a_start_is_not_given_up(stages: StageHarness) -> None:
    video, end = stages.job(JobState.DELIVERING), stages.job(JobState.FAILED)
    stages.clock.move(hours=25)  # the process did not run, or the system's clock was set
    just_started = replace(stages.context, started_at=stages.clock())
    stages.messenger.fail("find_video", DELAYED, DELAYED)
    stages.messenger.fail("notify_failure", DELAYED, DELAYED)
    retried = await deliver(video, just_started), await finalise_status(end, just_started)
    assert [isinstance(one, Reschedule) and one.attempt for one in retried] == [True, True]
    stages.clock.move(minutes=31)
    assert failure(await deliver(video, just_started)) is FailureReason.UNDELIVERABLE
    assert await finalise_status(end, just_started) == Reschedule(None)


async def test_a_download_waits_as_long_as_a_busy_upstream_says(stages: StageHarness) -> None:
    stages.provider.fail("download", UpstreamBusy("slow down", retry_after_s=77))
    assert wait_s(await deliver(stages.job(JobState.DELIVERING), stages.context)) == 77


async def test_a_video_over_the_channels_limit_is_made_to_fit(stages: StageHarness) -> None:
    stages.provider.video = noisy_video(stages.workdir / "noise.mp4")
    limit = len(stages.provider.video) // 3
    stages.messenger.reported_limit_bytes = stages.messenger.actual_limit_bytes = limit
    job = stages.job(JobState.DELIVERING)
    await deliver(job, stages.context)
    [posted] = stages.messenger.posted("video", job)
    assert 0 < len(posted.content) <= limit
    assert stages.messenger.calls.count("post_video") == 1


async def test_a_channel_that_accepts_less_than_it_reported_gets_a_smaller_video(stages: StageHarness) -> None:
    stages.provider.video = noisy_video(stages.workdir / "noise.mp4")
    stages.messenger.actual_limit_bytes = len(stages.provider.video) // 3
    job = stages.job(JobState.DELIVERING)
    await deliver(job, stages.context)
    [posted] = stages.messenger.posted("video", job)
    assert 0 < len(posted.content) <= stages.messenger.actual_limit_bytes


async def test_a_video_that_can_not_be_made_to_fit_is_not_thrown_away(stages: StageHarness) -> None:
    stages.messenger.reported_limit_bytes = len(VIDEO) - 1
    stages.messenger.fail_always("send_video", FORBIDDEN)
    assert failure(await deliver(stages.job(JobState.DELIVERING), stages.context)) is FailureReason.UNDELIVERABLE


async def test_a_channel_that_accepts_no_size_is_not_retried_forever(stages: StageHarness) -> None:
    stages.messenger.fail_always("post_video", TooLargeToPost("too large", limit_bytes=10_000_000))
    stages.messenger.fail_always("send_video", FORBIDDEN)
    assert failure(await deliver(stages.job(JobState.DELIVERING), stages.context)) is FailureReason.UNDELIVERABLE
    assert stages.messenger.calls.count("post_video") == 1


# --- finalise_status ---


@pytest.mark.parametrize("state", [JobState.DELIVERED, JobState.CANCELLED])
async def test_a_job_that_ended_has_no_card(stages: StageHarness, state: JobState) -> None:
    queued = stages.job(JobState.QUEUED)
    message_id = await stages.context.status_cards.post(queued, check_existing=False)
    outcome = await finalise_status(stages.job(state, status_message_id=message_id), stages.context)
    assert outcome == Reschedule(None)
    assert stages.messenger.messages == {}


async def test_a_failure_notifies_the_member(stages: StageHarness) -> None:
    job = stages.job(JobState.FAILED)
    await finalise_status(job, stages.context)
    assert len(stages.messenger.posted("failure", job)) == 1


async def test_a_member_whose_video_an_admin_cancelled_is_notified(stages: StageHarness) -> None:
    job = stages.job(JobState.CANCELLED, failure_detail=FailureDetail(FailureCause.CANCELLED_BY_ADMIN))
    await finalise_status(job, stages.context)
    assert len(stages.messenger.posted("failure", job)) == 1


@pytest.mark.parametrize("trace", [{"attempts": 1}, {"claim_count": 2}])
async def test_a_failure_notification_whose_response_was_lost_is_not_repeated(
    stages: StageHarness, trace: dict[str, int]
) -> None:
    job = stages.job(JobState.FAILED)
    stages.messenger.fail("notify_failure", DELAYED, response_lost=True)
    first = await finalise_status(job, stages.context)
    assert first == Reschedule(NOW + timedelta(seconds=1), attempt=True)
    await finalise_status(replace(job, **trace), stages.context)  # type: ignore[arg-type]  # mypy: a dict is any field
    assert len(stages.messenger.posted("failure", job)) == 1


async def test_a_card_that_can_not_be_removed_is_left(stages: StageHarness) -> None:
    stages.messenger.fail_always("remove_status", GONE)
    assert await finalise_status(stages.job(JobState.FAILED), stages.context) == Reschedule(None)


async def test_a_card_that_could_not_be_removed_for_a_day_is_left(stages: StageHarness) -> None:
    stages.messenger.fail_always("remove_status", DELAYED)
    stages.clock.move(hours=24, seconds=1)
    assert await finalise_status(stages.job(JobState.FAILED), stages.context) == Reschedule(None)
