"""Videos of members who want them as direct messages."""

from dataclasses import replace
from datetime import timedelta

import pytest

from bot.domain.errors import DeliveryDelayed, DeliveryForbidden, Undeliverable
from bot.domain.jobs import Job, JobState
from bot.domain.member_settings import UNCHANGED, MemberSettings
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Reschedule
from bot.worker.stages.delivery import deliver
from tests.fake_messengers import DIRECT_CHANNEL
from tests.fakes import NOW
from tests.stage_harness import GONE, StageHarness

DIRECT = MemberSettings(direct=True, changed_at=NOW - timedelta(days=1))


def sent(message_id: int) -> MoveTo:
    return MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=message_id, result_channel_id=DIRECT_CHANNEL))


@pytest.fixture
def job(stages: StageHarness) -> Job:
    stages.settings = DIRECT
    return stages.job(JobState.DELIVERING)


async def test_the_video_is_sent_and_not_posted(stages: StageHarness, job: Job) -> None:
    outcome = await deliver(job, stages.context)

    [message] = stages.messenger.posted("sent video", job)
    assert outcome == sent(message.id)
    assert stages.messenger.posted("video", job) == []


@pytest.mark.parametrize(
    "refusal", [DeliveryForbidden("Cannot send messages to this user"), Undeliverable("Unknown User")]
)
async def test_a_member_who_takes_no_direct_messages_gets_it_in_the_channel(
    stages: StageHarness, job: Job, refusal: Exception
) -> None:
    stages.messenger.fail_always("send_video", refusal)

    outcome = await deliver(job, stages.context)

    [message] = stages.messenger.posted("video", job)
    assert outcome == MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=message.id))


async def test_a_video_that_neither_takes_is_free(stages: StageHarness, job: Job) -> None:
    stages.messenger.fail_always("send_video", DeliveryForbidden("Cannot send messages to this user"))
    stages.messenger.fail_always("post_video", GONE)

    assert isinstance(await deliver(job, stages.context), Fail)


async def test_a_video_whose_sending_was_not_answered_is_sent_once(stages: StageHarness, job: Job) -> None:
    stages.messenger.fail("send_video", DeliveryDelayed("a response was lost"), response_lost=True)
    assert isinstance(await deliver(job, stages.context), Reschedule)

    outcome = await deliver(replace(job, attempts=1), stages.context)

    [message] = stages.messenger.posted("sent video", job)
    assert outcome == sent(message.id)
    assert stages.messenger.posted("video", job) == []


@pytest.mark.parametrize(
    ("before", "after", "call"), [(DIRECT, UNCHANGED, "send_video"), (UNCHANGED, DIRECT, "post_video")]
)
async def test_a_member_who_changes_their_mind_meanwhile_gets_it_once(
    stages: StageHarness, job: Job, before: MemberSettings, after: MemberSettings, call: str
) -> None:
    stages.settings = before
    stages.messenger.fail(call, DeliveryDelayed("a response was lost"), response_lost=True)
    await deliver(job, stages.context)
    stages.settings = replace(after, changed_at=NOW)

    outcome = await deliver(replace(job, attempts=1), stages.context)

    [message] = stages.messenger.messages.values()
    assert isinstance(outcome, MoveTo)
    assert outcome.update.result_message_id == message.id


async def test_a_video_that_was_sent_is_known_after_an_erasure_that_took_the_choice(
    stages: StageHarness, job: Job
) -> None:
    stages.messenger.fail("send_video", DeliveryDelayed("a response was lost"), response_lost=True)
    await deliver(job, stages.context)
    stages.settings = UNCHANGED

    outcome = await deliver(replace(job, attempts=1, cancel_requested=True), stages.context)

    [message] = stages.messenger.posted("sent video", job)
    assert outcome == sent(message.id)


async def test_a_cancelled_video_is_not_sent(stages: StageHarness, job: Job) -> None:
    outcome = await deliver(replace(job, cancel_requested=True), stages.context)

    assert outcome == MoveTo(JobState.CANCELLED)
    assert stages.messenger.messages == {}
