"""Where a channel doesn't take a video or an end: how long it is waited for, and what the member gets instead."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain.errors import DeliveryDelayed, DeliveryForbidden, ThreadLocked, TooLargeToPost, Undeliverable
from bot.domain.jobs import NO_CHANNEL, REMOVED, FailureCause, FailureDetail, FailureReason, Job, JobState
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Reschedule
from bot.worker.stages.delivery import abandon, deliver, finalise_status
from tests.fake_messengers import DIRECT_CHANNEL
from tests.fakes import VIDEO
from tests.stage_harness import FORBIDDEN, GONE, StageHarness, noisy_video

LOCKED = ThreadLocked("Thread is archived")
DMS_CLOSED = DeliveryForbidden("Cannot send messages to this user")
TOO_LARGE = TooLargeToPost("Request entity too large", limit_bytes=10_000_000)


def sent(message_id: int) -> MoveTo:
    return MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=message_id, result_channel_id=DIRECT_CHANNEL))


# --- the video ---


@pytest.mark.parametrize(
    ("error", "after"),
    [
        (GONE, timedelta(0)),
        (Undeliverable("Message blocked by harmful links filter"), timedelta(0)),
        (FORBIDDEN, timedelta(minutes=31)),
        (LOCKED, timedelta(minutes=61)),
    ],
    ids=["gone", "blocked", "forbidden", "locked"],
)
async def test_a_video_that_its_channel_does_not_take_goes_to_its_member(
    stages: StageHarness, error: Exception, after: timedelta
) -> None:
    stages.messenger.fail_always("post_video", error)
    job = stages.job(JobState.DELIVERING)
    stages.clock.move(seconds=after.total_seconds())

    outcome = await deliver(job, stages.context)

    [message] = stages.messenger.posted("sent video", job)
    assert outcome == sent(message.id)
    assert message.content == VIDEO
    assert list(stages.workdir.iterdir()) == []


@pytest.mark.parametrize(("error", "minutes"), [(FORBIDDEN, 30), (LOCKED, 60)], ids=["forbidden", "locked"])
async def test_a_channel_that_may_open_again_is_waited_for(
    stages: StageHarness, error: Exception, minutes: int
) -> None:
    stages.messenger.fail_always("post_video", error)
    job = stages.job(JobState.DELIVERING)
    stages.clock.move(minutes=minutes)

    assert isinstance(await deliver(job, stages.context), Reschedule)
    assert stages.messenger.messages == {}


async def test_a_video_too_large_for_its_channel_goes_to_its_member(stages: StageHarness) -> None:
    stages.messenger.fail_always("post_video", TOO_LARGE)
    job = stages.job(JobState.DELIVERING)

    outcome = await deliver(job, stages.context)

    [message] = stages.messenger.posted("sent video", job)
    assert outcome == sent(message.id)


async def test_a_video_too_large_for_its_channel_and_for_a_direct_message_goes_as_a_link(
    stages: StageHarness,
) -> None:
    stages.messenger.fail_always("post_video", TOO_LARGE)
    stages.messenger.fail_always("send_video", TooLargeToPost("too large", limit_bytes=500))
    job = stages.job(JobState.DELIVERING)

    outcome = await deliver(job, stages.context)

    [message] = stages.messenger.posted("sent link", job)
    assert outcome == sent(message.id)
    assert message.content == b"2026-02-01T12:00:00.123456+00:00"  # a day after its submission
    assert stages.messenger.calls.count("send_video") == 1


async def test_a_video_too_large_for_a_direct_message_goes_as_a_link(stages: StageHarness) -> None:
    stages.messenger.fail_always("post_video", GONE)
    stages.messenger.fail_always("send_video", TOO_LARGE)
    job = stages.job(JobState.DELIVERING)

    outcome = await deliver(job, stages.context)

    [message] = stages.messenger.posted("sent link", job)
    assert outcome == sent(message.id)


async def test_each_size_that_a_channel_refuses_leads_to_a_smaller_one(stages: StageHarness) -> None:
    video = noisy_video(stages.workdir / "noise.mp4")
    stages.provider.video = video
    steps = [TooLargeToPost("too large", limit_bytes=len(video) // part) for part in (2, 3)]
    stages.messenger.fail("post_video", *steps)
    job = stages.job(JobState.DELIVERING)

    await deliver(job, stages.context)

    [posted] = stages.messenger.posted("video", job)
    assert 0 < len(posted.content) <= len(video) // 3
    assert stages.messenger.calls.count("post_video") == 3


async def test_a_video_too_large_for_a_direct_message_is_sent_smaller_if_it_can_be(stages: StageHarness) -> None:
    stages.provider.video = noisy_video(stages.workdir / "noise.mp4")
    limit_bytes = len(stages.provider.video) // 2
    stages.messenger.fail_always("post_video", GONE)
    stages.messenger.fail("send_video", TooLargeToPost("too large", limit_bytes=limit_bytes))
    job = stages.job(JobState.DELIVERING)

    outcome = await deliver(job, stages.context)

    [message] = stages.messenger.posted("sent video", job)
    assert outcome == sent(message.id)
    assert 0 < len(message.content) <= limit_bytes


async def test_a_video_that_cannot_be_made_small_enough_for_its_channel_goes_to_its_member_as_it_is(
    stages: StageHarness,
) -> None:
    stages.provider.video = noisy_video(stages.workdir / "noise.mp4")
    stages.messenger.fail_always("post_video", TooLargeToPost("too large", limit_bytes=500))
    job = stages.job(JobState.DELIVERING)

    outcome = await deliver(job, stages.context)

    [message] = stages.messenger.posted("sent video", job)
    assert outcome == sent(message.id)
    assert (
        len(message.content) > len(stages.provider.video) // 2
    )  # moved to an MP4 that plays at once, not encoded


async def test_a_member_whose_account_is_gone_does_not_close_the_channel(stages: StageHarness) -> None:
    stages.messenger.fail_always("find_sent_video", Undeliverable("Unknown User"))
    job = stages.job(JobState.DELIVERING, attempts=9)
    stages.clock.move(minutes=31)

    outcome = await deliver(job, stages.context)

    [message] = stages.messenger.posted("video", job)
    assert outcome == MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=message.id))


@pytest.mark.parametrize("refusal", [DMS_CLOSED, Undeliverable("Invalid Recipient(s)")], ids=["closed", "invalid"])
async def test_a_video_that_nobody_takes_fails_free_with_the_channels_reason(
    stages: StageHarness, refusal: Exception
) -> None:
    stages.messenger.fail_always("post_video", GONE)
    stages.messenger.fail_always("send_video", refusal)

    outcome = await deliver(stages.job(JobState.DELIVERING), stages.context)

    detail = FailureDetail(FailureCause.CHANNEL_CLOSED, quote="Unknown Channel")
    assert outcome == Fail(FailureReason.UNDELIVERABLE, detail)


@pytest.mark.parametrize("method", ["send_video", "find_sent_video"])
async def test_a_direct_message_that_is_delayed_is_sent_later(stages: StageHarness, method: str) -> None:
    stages.messenger.fail_always("post_video", GONE)
    stages.messenger.fail(method, DeliveryDelayed("Discord is ill"))
    job = stages.job(JobState.DELIVERING, attempts=1)

    assert isinstance(await deliver(job, stages.context), Reschedule)
    await deliver(replace(job, attempts=2), stages.context)

    assert len(stages.messenger.posted("sent video", job)) == 1


@pytest.mark.parametrize("trace", [{"attempts": 1}, {"claim_count": 2}, {"charged": False}])
async def test_a_direct_message_whose_response_was_lost_is_found(
    stages: StageHarness, trace: dict[str, int]
) -> None:
    stages.messenger.fail_always("post_video", GONE)
    stages.messenger.fail("send_video", DeliveryDelayed("lost"), response_lost=True)
    job = stages.job(JobState.DELIVERING)
    assert isinstance(await deliver(job, stages.context), Reschedule)

    outcome = await deliver(replace(job, **trace), stages.context)  # type: ignore[arg-type]  # mypy: a dict is any field

    [message] = stages.messenger.posted("sent video", job)
    assert outcome == sent(message.id)


async def test_a_channel_that_opens_after_the_video_was_sent_to_its_member_gets_no_second_one(
    stages: StageHarness,
) -> None:
    job = stages.job(JobState.DELIVERING, attempts=9)
    stages.clock.move(minutes=31)
    stages.messenger.fail("post_video", FORBIDDEN)
    stages.messenger.fail("send_video", DeliveryDelayed("lost"), response_lost=True)
    assert isinstance(await deliver(job, stages.context), Reschedule)

    outcome = await deliver(job, stages.context)

    [message] = stages.messenger.posted("sent video", job)
    assert outcome == sent(message.id)
    assert stages.messenger.posted("video", job) == []


async def test_a_video_that_a_process_sent_to_its_member_before_it_died_is_not_posted_by_the_next_one(
    stages: StageHarness,
) -> None:
    job = stages.job(JobState.DELIVERING, claim_count=2)
    stages.clock.move(minutes=31)
    message = await stages.messenger.send_link(job, stages.clock())
    next_process = replace(stages.context, started_at=stages.clock())

    assert await deliver(job, next_process) == sent(message.message_id)

    assert stages.messenger.posted("video", job) == []


async def test_a_cancelled_video_is_not_sent_to_its_member_either(stages: StageHarness) -> None:
    stages.messenger.fail_always("find_video", GONE)
    job = stages.job(JobState.DELIVERING, attempts=1, cancel_requested=True)

    assert await deliver(job, stages.context) == MoveTo(JobState.CANCELLED)
    assert stages.messenger.messages == {}


async def test_a_cancel_while_the_video_is_fetched_for_its_member_counts(stages: StageHarness) -> None:
    stages.messenger.fail_always("upload_limit_bytes", GONE)
    job = stages.job(JobState.DELIVERING)
    stages.store.jobs[job.id] = replace(job, cancel_requested=True)

    assert await deliver(job, stages.context) == MoveTo(JobState.CANCELLED)
    assert stages.messenger.messages == {}


# --- an end ---


async def shown(stages: StageHarness, state: JobState) -> Job:
    """A job in that state, whose card still says that it is in the making."""
    message_id = await stages.context.status_cards.post(stages.job(JobState.RUNNING), check_existing=False)
    return stages.job(state, status_message_id=message_id)


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.DELIVERED, JobState.CANCELLED])
@pytest.mark.parametrize("method", ["notify_failure", "remove_status"])
async def test_a_right_that_is_away_for_seconds_only_delays_an_end(
    stages: StageHarness, state: JobState, method: str
) -> None:
    job = await shown(stages, state)
    stages.messenger.fail(method, FORBIDDEN)

    outcome = await finalise_status(job, stages.context)
    if isinstance(outcome, Reschedule) and outcome.due_at is not None:
        outcome = await finalise_status(replace(job, attempts=1), stages.context)

    assert outcome == Reschedule(None)
    assert stages.messenger.posted("status", job) == []
    assert len(stages.messenger.posted("failure", job)) == (state is JobState.FAILED)
    assert stages.messenger.posted("sent failure", job) == []


@pytest.mark.parametrize(("error", "minutes"), [(FORBIDDEN, 31), (LOCKED, 61), (GONE, 0)])
async def test_a_failure_that_its_channel_does_not_take_is_sent_to_its_member(
    stages: StageHarness, error: Exception, minutes: int
) -> None:
    stages.messenger.fail_always("notify_failure", error)
    job = await shown(stages, JobState.FAILED)
    stages.clock.move(minutes=minutes)

    assert await finalise_status(job, stages.context) == Reschedule(None)
    assert len(stages.messenger.posted("sent failure", job)) == 1
    assert stages.messenger.posted("status", job) == []


async def test_a_failure_sent_to_its_member_whose_response_was_lost_is_not_sent_again(
    stages: StageHarness,
) -> None:
    stages.messenger.fail_always("notify_failure", GONE)
    stages.messenger.fail("send_failure", DeliveryDelayed("lost"), response_lost=True)
    job = await shown(stages, JobState.FAILED)

    assert isinstance(await finalise_status(job, stages.context), Reschedule)
    assert await finalise_status(replace(job, attempts=1), stages.context) == Reschedule(None)

    assert len(stages.messenger.posted("sent failure", job)) == 1


async def test_a_failure_that_no_message_can_tell_is_told_by_the_card(stages: StageHarness) -> None:
    stages.messenger.fail_always("notify_failure", GONE)
    stages.messenger.fail_always("send_failure", DMS_CLOSED)
    job = await shown(stages, JobState.FAILED)

    assert await finalise_status(job, stages.context) == Reschedule(None)
    assert [one.job_state for one in stages.messenger.posted("status", job)] == [JobState.FAILED]


@pytest.mark.parametrize("error", [FORBIDDEN, GONE])
async def test_a_channel_that_took_nothing_at_all_needs_only_the_private_answer(
    stages: StageHarness, error: Exception
) -> None:
    stages.messenger.answers_live = True
    stages.messenger.fail_always("notify_failure", error)
    job = stages.job(JobState.FAILED)

    assert await finalise_status(job, stages.context) == Reschedule(None)
    assert len(stages.messenger.posted("answer", job)) == 1
    assert "send_failure" not in stages.messenger.calls


async def test_a_card_is_still_removed_after_the_private_answer_told_the_end(
    stages: StageHarness,
) -> None:
    stages.messenger.answers_live = True
    stages.messenger.fail("notify_failure", FORBIDDEN)
    job = await shown(stages, JobState.FAILED)

    assert await finalise_status(job, stages.context) != Reschedule(None)
    await finalise_status(replace(job, attempts=1), stages.context)

    assert stages.messenger.posted("status", job) == []
    assert len(stages.messenger.posted("answer", job)) == 1


async def test_an_outage_of_discord_changes_no_private_answer(stages: StageHarness) -> None:
    stages.messenger.answers_live = True
    stages.messenger.fail("notify_failure", DeliveryDelayed("503"))

    await finalise_status(await shown(stages, JobState.FAILED), stages.context)

    assert "answer_order" not in stages.messenger.calls


async def test_the_card_of_a_removed_video_goes_too(stages: StageHarness) -> None:
    job = replace(await shown(stages, JobState.DELIVERED), result_message_id=REMOVED)

    assert await finalise_status(job, stages.context) == Reschedule(None, JobUpdate(result_message_id=REMOVED))

    assert stages.messenger.calls == ["show_status", "remove_status"]


@pytest.mark.parametrize("gone", [False, True])
async def test_a_job_abandoned_right_after_its_video_was_sent_to_its_member_is_delivered(
    stages: StageHarness, *, gone: bool
) -> None:
    if gone:
        stages.messenger.fail_always("find_video", GONE)
    job = stages.job(JobState.DELIVERING, claim_count=6)
    message = await stages.messenger.send_link(job, stages.clock())

    assert await abandon(job, stages.context) == sent(message.message_id)


async def test_where_the_bot_is_no_member_a_video_that_comes_too_late_says_so_in_our_own_words(
    stages: StageHarness,
) -> None:
    stages.messenger.fail_always("post_video", Undeliverable("its order can't be answered any more"))
    stages.messenger.fail_always("send_video", DMS_CLOSED)
    job = replace(stages.job(JobState.DELIVERING), channel_id=NO_CHANNEL)

    outcome = await deliver(job, stages.context)

    assert outcome == Fail(FailureReason.UNDELIVERABLE, FailureDetail(FailureCause.NOT_ANSWERABLE))
