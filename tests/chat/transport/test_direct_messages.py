"""What a member gets in a direct message because their channel takes nothing, on the wire."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.chat.transport.delivery import Delivery
from bot.domain.errors import DeliveryDelayed, DeliveryForbidden, TooLargeToPost, Undeliverable
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, Job, JobState, Order, new_job_id
from bot.worker.stages.context import DirectMessage
from tests.discord_server import DiscordServer, FaultPhase, Message, Reset, refused

LINK = "https://cdn.example/a%2Fb.mp4?Expires=1&Signature=x%7Ey"


@pytest.fixture
def job(server: DiscordServer) -> Job:
    now = datetime.now(UTC)
    place = (server.guild.id, server.channel.id, server.member.id)
    made = Job(new_job_id(), JobState.DELIVERING, *place, Order("a *cat* for @everyone", seed=5), now, now)
    return replace(made, result_url=LINK, picture_name="SPOILER_cat.jpg")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42" + b"x" * 1000)
    return path


def direct(server: DiscordServer) -> list[Message]:
    return server.messages(server.state.direct(server.member).id)


async def test_the_video_is_sent_to_its_member_with_a_button_and_no_pings(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path
) -> None:
    sent = await delivery.send_video(job, video)

    [message] = direct(server)
    assert sent == DirectMessage(message.channel.id, message.id)
    assert [held.upload.filename for held in message.attachments] == ["SPOILER_cat.mp4"]
    assert message.custom_ids == [
        f"zoetrope:{kind}:{job.id}" for kind in ("again", "edit", "vary", "info", "video")
    ]
    assert "couldn't post it where you asked" in message.content
    assert not message.pings_everyone
    assert server.messages() == []


async def test_a_link_is_sent_unchanged_and_with_its_end(
    server: DiscordServer, delivery: Delivery, job: Job
) -> None:
    await delivery.send_link(job, job.created_at + timedelta(hours=24))

    [message] = direct(server)
    assert f"||[Your video](<{LINK}>)||" in message.content
    assert f"<t:{int(job.created_at.timestamp()) + 86400}:R>" in message.content
    assert message.attachments == []


async def test_a_link_to_a_video_that_is_no_spoiler_is_not_hidden(
    server: DiscordServer, delivery: Delivery, job: Job
) -> None:
    await delivery.send_link(replace(job, picture_name="cat.jpg"), job.created_at)

    assert "||" not in direct(server)[0].content


@pytest.mark.parametrize("url", ["https://cdn.example/" + "a" * 2000, "https://cdn.example/狐.mp4"])
async def test_a_link_that_no_message_can_show_is_refused_instead_of_promised(
    server: DiscordServer, delivery: Delivery, job: Job, url: str
) -> None:
    with pytest.raises(Undeliverable):
        await delivery.send_link(replace(job, result_url=url), job.created_at)
    assert direct(server) == []


async def test_sending_a_video_twice_within_minutes_makes_one_message(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path
) -> None:
    server.fail_next(
        "POST", f"/channels/{server.state.direct(server.member).id}/messages", Reset(FaultPhase.AFTER)
    )
    with pytest.raises(DeliveryDelayed):
        await delivery.send_video(job, video)

    await delivery.send_video(job, video)

    assert len(direct(server)) == 1


@pytest.mark.parametrize("linked", [False, True])
async def test_a_direct_message_has_another_nonce_than_the_channels(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path, *, linked: bool
) -> None:
    """Discord looks for a nonce by its author, and the channel that it was used in may be gone by now."""
    await delivery.post_video(job, video)
    await (delivery.send_link(job, job.created_at) if linked else delivery.send_video(job, video))

    [posted], [sent] = server.messages(), direct(server)
    assert sent.nonce not in {None, posted.nonce}


@pytest.mark.parametrize("linked", [False, True])
async def test_what_was_sent_is_found_after_the_nonces_time(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path, *, linked: bool
) -> None:
    assert await delivery.find_sent_video(job) is None
    sent = await (delivery.send_link(job, job.created_at) if linked else delivery.send_video(job, video))
    server.state.forget_nonces()

    assert await delivery.find_sent_video(job) == sent
    assert await delivery.find_sent_video(replace(job, id=new_job_id())) is None


@pytest.mark.parametrize("code", [50007, 50278])
async def test_a_member_who_takes_no_direct_messages_is_no_reason_to_try_again(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path, code: int
) -> None:
    server.fail_next("POST", "/channels/*/messages", refused(403, code, "Cannot send messages to this user"))

    with pytest.raises(DeliveryForbidden):
        await delivery.send_video(job, video)


async def test_a_file_too_large_for_a_direct_message_is_told_apart(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path
) -> None:
    server.fail_next("POST", "/channels/*/messages", refused(413, 40005, "Request entity too large"))

    with pytest.raises(TooLargeToPost):
        await delivery.send_video(job, video)


def failed(job: Job, *, after_s: float = 0) -> Job:
    return replace(
        job,
        state=JobState.FAILED,
        state_changed_at=job.state_changed_at + timedelta(seconds=after_s),
        failure_reason=FailureReason.UNDELIVERABLE,
        failure_detail=FailureDetail(FailureCause.PERMISSION_MISSING, quote="Missing Access"),
    )


async def test_a_failure_is_sent_once(server: DiscordServer, delivery: Delivery, job: Job) -> None:
    await delivery.send_failure(failed(job), check_existing=False)
    server.state.forget_nonces()
    await delivery.send_failure(failed(job), check_existing=True)

    [message] = direct(server)
    assert "Missing Access" in message.content
    assert "`/videos list` links to it" in message.content


async def test_a_video_that_is_not_kept_any_more_is_not_promised(
    server: DiscordServer, delivery: Delivery, job: Job
) -> None:
    too_late = replace(failed(job), failure_detail=FailureDetail(FailureCause.NOT_DELIVERED))
    await delivery.send_failure(too_late, check_existing=False)

    [message] = direct(server)
    assert "/videos list" not in message.content


# --- the channel again ---


@pytest.mark.parametrize("check_existing", [False, True])
async def test_the_second_failure_of_a_resumed_job_within_minutes_is_told_too(
    server: DiscordServer, delivery: Delivery, job: Job, *, check_existing: bool
) -> None:
    await delivery.notify_failure(failed(job), check_existing=False)
    await delivery.notify_failure(failed(job, after_s=30), check_existing=check_existing)

    assert len(server.messages()) == 2
    assert [message.pinged for message in server.messages()] == [[server.member]] * 2


async def test_each_failure_is_told_once(server: DiscordServer, delivery: Delivery, job: Job) -> None:
    for after_s in (0, 30):
        await delivery.notify_failure(failed(job, after_s=after_s), check_existing=False)
    server.state.forget_nonces()
    for after_s in (0, 30):
        await delivery.notify_failure(failed(job, after_s=after_s), check_existing=True)

    assert len(server.messages()) == 2
