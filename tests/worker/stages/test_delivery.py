from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.errors import (
    ResultUnusable,
    TooLargeToPost,
    UpstreamBusy,
)
from bot.domain.jobs import (
    FailureCause,
    FailureDetail,
    FailureReason,
    JobState,
    JobUpdate,
    MoveTo,
    PauseSubmissions,
    Reschedule,
)
from bot.worker.stages import announce, deliver, give_up, greet, submit
from tests.bench import BUSY, CLOSED, DELAYED, FORBIDDEN, GONE, ILL, UNREACHED, Bench, failure, noisy_video, wait_s
from tests.fakes import NOW, VIDEO

# --- deliver ---


async def test_a_video_is_posted_and_leaves_nothing_on_the_disk(bench: Bench) -> None:
    job = bench.job(JobState.DELIVERING)
    outcome = await deliver(job, bench.tools)
    [posted] = bench.messenger.of("video", job)
    assert outcome == MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=posted.id))
    assert posted.content == VIDEO
    assert list(bench.folder.iterdir()) == []


async def test_a_first_try_does_not_search_the_channel(bench: Bench) -> None:
    await deliver(bench.job(JobState.DELIVERING), bench.tools)
    assert "find_video" not in bench.messenger.calls


@pytest.mark.parametrize("trace", [{"attempts": 1}, {"claims": 2}])
async def test_a_video_that_was_posted_without_an_answer_is_adopted(bench: Bench, trace: dict[str, int]) -> None:
    job = bench.job(JobState.DELIVERING)
    bench.messenger.fail("post_video", DELAYED, late=True)
    assert isinstance(await deliver(job, bench.tools), Reschedule)
    outcome = await deliver(replace(job, **trace), bench.tools)  # type: ignore[arg-type]  # mypy: a dict is any field
    [posted] = bench.messenger.of("video", job)
    assert outcome == MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=posted.id))
    assert bench.provider.calls == ["download"]


async def test_a_second_try_posts_where_the_first_did_not(bench: Bench) -> None:
    job = bench.job(JobState.DELIVERING, attempts=1)
    outcome = await deliver(job, bench.tools)
    [posted] = bench.messenger.of("video", job)
    assert outcome == MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=posted.id))


async def test_nothing_is_posted_while_it_is_unknown_whether_it_is_there(bench: Bench) -> None:
    job = bench.job(JobState.DELIVERING, attempts=1)
    bench.messenger.fail("find_video", DELAYED)
    assert isinstance(await deliver(job, bench.tools), Reschedule)
    assert bench.messenger.messages == {}


async def test_a_job_given_up_right_after_its_video_was_posted_is_delivered(bench: Bench) -> None:
    job = bench.job(JobState.DELIVERING, claims=6)
    video = await bench.messenger.post_video(job, Path(__file__))
    assert await give_up(job, bench.tools) == MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=video))


async def test_a_job_is_not_given_up_before_it_is_known_whether_its_video_is_there(bench: Bench) -> None:
    job = bench.job(JobState.DELIVERING, claims=6)
    bench.messenger.fail("find_video", DELAYED)
    assert isinstance(await give_up(job, bench.tools), Reschedule)
    assert failure(await give_up(job, bench.tools)) is FailureReason.ABANDONED


@pytest.mark.parametrize("error", [FORBIDDEN, GONE])
async def test_a_job_whose_channel_can_not_be_read_is_given_up(bench: Bench, error: Exception) -> None:
    bench.messenger.fail("find_video", error)
    assert failure(await give_up(bench.job(JobState.DELIVERING, claims=6), bench.tools)) is FailureReason.ABANDONED


async def test_a_cancelled_job_is_not_posted(bench: Bench) -> None:
    outcome = await deliver(bench.job(JobState.DELIVERING, cancel_requested=True), bench.tools)
    assert outcome == MoveTo(JobState.CANCELLED)
    assert bench.messenger.calls == bench.provider.calls == []


async def test_a_cancel_that_comes_after_the_post_comes_too_late(bench: Bench) -> None:
    bench.messenger.fail("post_video", DELAYED, late=True)
    job = bench.job(JobState.DELIVERING)
    await deliver(job, bench.tools)
    [posted] = bench.messenger.of("video", job)
    outcome = await deliver(replace(job, attempts=1, cancel_requested=True), bench.tools)
    assert outcome == MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=posted.id))


async def test_a_cancel_while_the_video_is_fetched_keeps_it_unposted(bench: Bench) -> None:
    job = bench.job(JobState.DELIVERING)
    bench.desk.jobs[job.id] = replace(job, cancel_requested=True)
    assert await deliver(job, bench.tools) == MoveTo(JobState.CANCELLED)
    assert bench.messenger.messages == {}


async def test_a_greeting_that_hangs_counts_as_an_attempt(bench: Bench) -> None:
    bench.messenger.hang("show_status")
    outcome = await greet(bench.job(JobState.QUEUED), replace(bench.tools, greet_s=0.01))
    assert isinstance(outcome, Reschedule)
    assert outcome.attempt


async def test_a_store_that_hangs_before_the_submission_lets_the_job_wait(bench: Bench) -> None:
    bench.desk.hang("frame")
    outcome = await submit(bench.job(JobState.SUBMITTING), replace(bench.tools, store_s=0.01))
    assert isinstance(outcome, PauseSubmissions)
    assert bench.provider.posts == 0


async def test_a_result_that_can_not_be_fetched_fails_the_job(bench: Bench) -> None:
    bench.provider.fail("download", ResultUnusable("404"))
    assert failure(await deliver(bench.job(JobState.DELIVERING), bench.tools)) is FailureReason.RESULT_UNUSABLE


@pytest.mark.parametrize("method", ["upload_limit_bytes", "post_video"])
async def test_a_channel_that_is_gone_fails_the_job(bench: Bench, method: str) -> None:
    bench.messenger.fail(method, GONE)
    assert failure(await deliver(bench.job(JobState.DELIVERING), bench.tools)) is FailureReason.UNDELIVERABLE


async def test_a_forbidden_channel_gets_time_to_be_opened_again(bench: Bench) -> None:
    job = bench.job(JobState.DELIVERING)
    bench.messenger.fail("post_video", FORBIDDEN, FORBIDDEN)
    bench.clock.move(minutes=30)
    assert isinstance(await deliver(job, bench.tools), Reschedule)
    bench.clock.move(seconds=1)
    assert failure(await deliver(job, bench.tools)) is FailureReason.UNDELIVERABLE


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
async def test_a_delivery_that_can_not_be_made_now_is_made_later_within_the_results_life(
    bench: Bench, method: str, error: Exception
) -> None:
    job = bench.job(JobState.DELIVERING, attempts=2)
    place = bench.provider if method == "download" else bench.messenger
    place.fail(method, error, error)
    assert await deliver(job, bench.tools) == Reschedule(NOW + timedelta(seconds=4), attempt=True)
    bench.clock.move(hours=24, seconds=1)
    assert failure(await deliver(job, bench.tools)) is FailureReason.UNDELIVERABLE


async def test_a_download_waits_as_long_as_a_busy_upstream_says(bench: Bench) -> None:
    bench.provider.fail("download", UpstreamBusy("slow down", retry_after_s=77))
    assert wait_s(await deliver(bench.job(JobState.DELIVERING), bench.tools)) == 77


async def test_a_video_over_the_channels_limit_is_made_to_fit(bench: Bench) -> None:
    bench.provider.video = noisy_video(bench.folder / "noise.mp4")
    limit = len(bench.provider.video) // 3
    bench.messenger.says_it_takes = bench.messenger.takes = limit
    job = bench.job(JobState.DELIVERING)
    await deliver(job, bench.tools)
    [posted] = bench.messenger.of("video", job)
    assert 0 < len(posted.content) <= limit
    assert bench.messenger.calls.count("post_video") == 1


async def test_a_channel_that_takes_less_than_it_said_gets_a_smaller_video(bench: Bench) -> None:
    bench.provider.video = noisy_video(bench.folder / "noise.mp4")
    bench.messenger.takes = len(bench.provider.video) // 3
    job = bench.job(JobState.DELIVERING)
    await deliver(job, bench.tools)
    [posted] = bench.messenger.of("video", job)
    assert 0 < len(posted.content) <= bench.messenger.takes


async def test_a_video_that_can_not_be_made_to_fit_fails_the_job(bench: Bench) -> None:
    bench.messenger.says_it_takes = len(VIDEO) - 1
    assert failure(await deliver(bench.job(JobState.DELIVERING), bench.tools)) is FailureReason.RESULT_UNUSABLE


async def test_a_channel_that_takes_no_size_at_all_is_not_tried_for_ever(bench: Bench) -> None:
    too_large = TooLargeToPost("too large", limit_bytes=10_000_000)
    bench.messenger.fail("post_video", too_large, too_large)
    assert failure(await deliver(bench.job(JobState.DELIVERING), bench.tools)) is FailureReason.RESULT_UNUSABLE


# --- announce ---


@pytest.mark.parametrize("state", [JobState.DELIVERED, JobState.CANCELLED])
async def test_an_end_is_shown_in_the_status_message_without_a_ping(bench: Bench, state: JobState) -> None:
    queued = bench.job(JobState.QUEUED)
    message_id = await bench.messenger.show_status(queued, look_first=False)
    outcome = await announce(bench.job(state, status_message_id=message_id), bench.tools)
    assert outcome == Reschedule(None, JobUpdate(status_message_id=message_id))
    assert [one.shows for one in bench.messenger.messages.values()] == [state]


async def test_a_failure_is_told_to_its_member(bench: Bench) -> None:
    job = bench.job(JobState.FAILED)
    await announce(job, bench.tools)
    assert len(bench.messenger.of("failure", job)) == 1


async def test_who_had_their_video_cancelled_by_somebody_else_is_told(bench: Bench) -> None:
    job = bench.job(JobState.CANCELLED, failure_detail=FailureDetail(FailureCause.CANCELLED_BY_ADMIN))
    await announce(job, bench.tools)
    assert len(bench.messenger.of("failure", job)) == 1


@pytest.mark.parametrize("trace", [{"attempts": 1}, {"claims": 2}])
async def test_a_failure_is_told_once_though_its_answer_was_lost(bench: Bench, trace: dict[str, int]) -> None:
    job = bench.job(JobState.FAILED)
    bench.messenger.fail("tell_failure", DELAYED, late=True)
    first = await announce(job, bench.tools)
    assert first == Reschedule(NOW + timedelta(seconds=1), attempt=True)
    await announce(replace(job, **trace), bench.tools)  # type: ignore[arg-type]  # mypy: a dict is any field
    assert len(bench.messenger.of("failure", job)) == 1
    assert len(bench.messenger.of("status", job)) == 1


async def test_a_status_message_that_the_job_lost_track_of_is_found_again(bench: Bench) -> None:
    queued = bench.job(JobState.QUEUED)
    await bench.messenger.show_status(queued, look_first=False)
    job = bench.job(JobState.CANCELLED)
    await announce(job, bench.tools)
    assert [one.shows for one in bench.messenger.of("status", job)] == [JobState.CANCELLED]


@pytest.mark.parametrize("error", [FORBIDDEN, GONE])
async def test_an_end_that_can_not_be_told_is_let_be(bench: Bench, error: Exception) -> None:
    bench.messenger.fail("show_status", error)
    assert await announce(bench.job(JobState.FAILED), bench.tools) == Reschedule(None)


async def test_an_end_that_is_old_news_is_let_be(bench: Bench) -> None:
    bench.messenger.fail("show_status", DELAYED)
    bench.clock.move(hours=24, seconds=1)
    assert await announce(bench.job(JobState.FAILED), bench.tools) == Reschedule(None)
