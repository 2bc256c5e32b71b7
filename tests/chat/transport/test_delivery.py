from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import discord
import pytest

from bot.chat.transport.client import RestClient
from bot.chat.transport.delivery import Delivery
from bot.domain.errors import DeliveryDelayed, DeliveryForbidden, TooLargeToPost, Undeliverable
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, Job, JobState, Order, new_job_id
from tests.chat.conftest import post_card
from tests.discord_server import (
    Answer,
    DiscordServer,
    FaultPhase,
    Message,
    Overwrite,
    Reset,
    banned_by_cloudflare,
    rate_limited,
    refused,
    server_error,
)

MESSAGES = "/channels/*/messages"


@pytest.fixture
def job(server: DiscordServer) -> Job:
    now = datetime.now(UTC)
    return Job(
        id=new_job_id(),
        state=JobState.QUEUED,
        guild_id=server.guild.id,
        channel_id=server.channel.id,
        user_id=server.member.id,
        order=Order("a *cat* for @everyone", seed=5),
        created_at=now,
        state_changed_at=now,
    )


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42" + b"x" * 1000)
    return path


def only_message(server: DiscordServer) -> Message:
    (message,) = server.messages()
    return message


async def test_the_search_covers_only_messages_since_the_delivery_began(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path
) -> None:
    for number in range(300):
        server.state.send(server.channel, server.member, {"content": f"chatter {number}"}, {})
    later = datetime.now(UTC) + timedelta(hours=3)  # more than a clock may be ahead

    assert await delivery.find_video(replace(job, state_changed_at=later)) is None

    pages = [call for call in server.requests if call.path == f"/channels/{server.channel.id}/messages"]
    assert len(pages) == 1
    await delivery.post_video(job, video)
    assert await delivery.find_video(job) is not None


@pytest.mark.parametrize("retried", [False, True])
async def test_a_video_posted_by_an_earlier_delivery_is_found(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path, *, retried: bool
) -> None:
    posted = await delivery.post_video(job, video)
    server.state.forget_nonces()
    later = job.created_at + timedelta(hours=5)
    # The row of a retried job may say that it was submitted only when it was found to be lost.
    submitted_at = later if retried else job.created_at
    late = replace(job, state_changed_at=later, submitted_at=submitted_at, charged=not retried)

    assert await delivery.find_video(late) == posted


@pytest.mark.parametrize(
    "answer",
    [
        refused(400, 50083, "Thread is archived"),
        refused(400, 160005, "Thread is locked"),
        refused(400, 0, "400: Bad Request"),
        refused(407, 0, "a proxy's own"),
    ],
    ids=["archived", "locked", "no code", "proxy"],
)
async def test_a_temporary_refusal_delays_the_delivery(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path, answer: Answer
) -> None:
    server.fail_next("POST", MESSAGES, answer)

    with pytest.raises(DeliveryDelayed):
        await delivery.post_video(job, video)


async def test_a_permanently_refused_message_is_undeliverable(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path
) -> None:
    server.fail_next("POST", MESSAGES, refused(400, 240000, "Message blocked by harmful links filter"))

    with pytest.raises(Undeliverable, match="harmful links"):
        await delivery.post_video(job, video)


async def test_the_video_is_posted_with_a_ping_for_its_requester_alone(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path
) -> None:
    message_id = await delivery.post_video(job, video)

    message = only_message(server)
    assert message.id == message_id
    assert message.allowed_mentions == {"parse": [], "users": [job.user_id]}
    (attachment,) = message.attachments
    assert attachment.upload.data.endswith(b"x" * 1000)


async def test_a_further_variation_is_posted_without_a_ping(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path
) -> None:
    await delivery.post_video(job, video, pings=False)

    message = only_message(server)
    assert f"<@{job.user_id}>" in message.content
    assert message.allowed_mentions == {"parse": []}


async def test_posting_the_video_twice_within_minutes_makes_one_message(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path
) -> None:
    first = await delivery.post_video(job, video)

    assert await delivery.post_video(job, video) == first
    assert len(server.messages()) == 1


async def test_a_video_posted_by_a_process_that_died_is_found_after_the_nonce_expired(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path
) -> None:
    posted = await delivery.post_video(job, video)
    server.state.forget_nonces()

    assert await delivery.find_video(job) == posted


async def test_a_video_is_found_among_hundreds_of_other_messages(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path
) -> None:
    for number in range(120):
        server.state.send(server.channel, server.member, {"content": f"chatter {number}"}, {})
    posted = await delivery.post_video(job, video)
    for number in range(120):
        server.state.send(server.channel, server.member, {"content": f"more {number}"}, {})

    assert await delivery.find_video(job) == posted


async def test_another_members_copy_of_the_button_is_not_adopted(
    server: DiscordServer, delivery: Delivery, job: Job
) -> None:
    button = {"type": 2, "style": 2, "label": "Remove", "custom_id": f"zoetrope:video:{job.id}"}
    row = {"type": 1, "components": [button]}
    server.state.send(server.channel, server.member, {"content": "mine", "components": [row]}, {})

    assert await delivery.find_video(job) is None


async def test_another_jobs_video_is_not_adopted(delivery: Delivery, job: Job, video: Path) -> None:
    await delivery.post_video(replace(job, id=new_job_id()), video)

    assert await delivery.find_video(job) is None


async def test_a_connection_lost_after_posting_makes_no_second_message(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path
) -> None:
    server.fail_next("POST", MESSAGES, Reset(FaultPhase.AFTER))

    with pytest.raises(DeliveryDelayed):
        await delivery.post_video(job, video)
    await delivery.post_video(job, video)

    assert len(server.messages()) == 1


async def test_a_failure_is_posted_once_with_a_ping(server: DiscordServer, delivery: Delivery, job: Job) -> None:
    detail = FailureDetail(FailureCause.REFUSED_BY_SERVICE, quote="too *odd*")
    failed = replace(job, state=JobState.FAILED, failure_reason=FailureReason.REFUSED, failure_detail=detail)

    await delivery.notify_failure(failed, check_existing=False)
    server.state.forget_nonces()
    await delivery.notify_failure(failed, check_existing=True)

    message = only_message(server)
    assert r"too \*odd\*" in message.content
    assert message.allowed_mentions is not None
    assert message.allowed_mentions["users"] == [job.user_id]


async def test_an_unknown_channel_is_undeliverable(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path
) -> None:
    server.remove_channel(server.channel)

    with pytest.raises(Undeliverable):
        await delivery.post_video(job, video)


@pytest.mark.parametrize("denied", ["view_channel", "send_messages", "attach_files"])
async def test_a_revoked_permission_is_forbidden_and_not_undeliverable(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path, denied: str
) -> None:
    server.channel.overwrites[server.state.bot.id] = Overwrite(deny=discord.Permissions(**{denied: True}))

    with pytest.raises(DeliveryForbidden):
        await delivery.post_video(job, video)


async def test_searching_without_read_message_history_is_forbidden(
    server: DiscordServer, client: RestClient, job: Job
) -> None:
    delivery = Delivery(client)
    job = replace(job, status_message_id=await post_card(client, job))
    denied = Overwrite(deny=discord.Permissions(read_message_history=True))
    server.channel.overwrites[server.state.bot.id] = denied

    with pytest.raises(DeliveryForbidden):
        await delivery.find_video(job)
    failed = replace(job, state=JobState.FAILED, failure_reason=FailureReason.REFUSED)
    with pytest.raises(DeliveryForbidden):
        await delivery.notify_failure(failed, check_existing=True)


async def test_a_file_over_the_limit_is_refused_with_the_limit(
    delivery: Delivery, job: Job, tmp_path: Path
) -> None:
    large = tmp_path / "large.mp4"
    large.write_bytes(b"x" * (10 * 2**20 + 1))

    with pytest.raises(TooLargeToPost) as caught:
        await delivery.post_video(job, large)

    assert caught.value.limit_bytes == 10 * 2**20


@pytest.mark.parametrize(("tier", "mebibytes"), [(0, 20), (2, 50), (3, 100)])
async def test_the_upload_limit_grows_with_the_servers_boosts(
    server: DiscordServer, delivery: Delivery, job: Job, tier: int, mebibytes: int
) -> None:
    server.boost(tier)

    assert await delivery.upload_limit_bytes(job) == mebibytes * 2**20


@pytest.mark.parametrize(
    "fault",
    [server_error(503), banned_by_cloudflare(), Reset(), Reset(graceful=True)],
    ids=["503", "banned", "reset", "closed"],
)
async def test_a_failing_discord_delays_the_delivery(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path, fault: Reset
) -> None:
    server.fail_next("POST", MESSAGES, fault, times=5)

    with pytest.raises(DeliveryDelayed):
        await delivery.post_video(job, video)


async def test_a_short_rate_limit_is_waited_out(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path
) -> None:
    server.fail_next("POST", MESSAGES, rate_limited(0.05))

    await delivery.post_video(job, video)

    assert len(server.messages()) == 1


async def test_a_long_rate_limit_delays_the_delivery(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path
) -> None:
    server.fail_next("POST", MESSAGES, rate_limited(600, "shared"))

    with pytest.raises(DeliveryDelayed):
        await delivery.post_video(job, video)


async def test_a_revoked_token_delays_the_delivery(
    server: DiscordServer, delivery: Delivery, job: Job, video: Path
) -> None:
    server.revoke_token()

    with pytest.raises(DeliveryDelayed):
        await delivery.post_video(job, video)
