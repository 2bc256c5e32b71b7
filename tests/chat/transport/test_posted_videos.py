"""A posted video is fetched from its message on the wire, for the one that goes on from it."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.chat.transport.delivery import Delivery
from bot.chat.transport.posted_videos import DiscordVideos
from bot.domain.errors import DeliveryDelayed, DeliveryForbidden, Undeliverable
from bot.domain.jobs import Job, JobState, Order, new_job_id
from tests.discord_server import DiscordServer, refused
from tests.discord_server.faults import Answer

DATA = b"\0\0\0\x18ftypmp42" + b"x" * 1000


@pytest.fixture
async def job(server: DiscordServer, delivery: Delivery, tmp_path: Path) -> Job:
    """A job whose video is in the channel."""
    now = datetime.now(UTC)
    place = (server.guild.id, server.channel.id, server.member.id)
    made = Job(new_job_id(), JobState.DELIVERED, *place, Order("a cat"), now, now)
    (tmp_path / "video.mp4").write_bytes(DATA)
    return replace(made, result_message_id=await delivery.post_video(made, tmp_path / "video.mp4"))


@pytest.fixture
def videos(delivery: Delivery) -> DiscordVideos:
    return DiscordVideos(delivery._client)


async def test_a_video_is_fetched_from_its_message(videos: DiscordVideos, job: Job, tmp_path: Path) -> None:
    assert await videos.fetch(job, tmp_path / "parent.mp4")
    assert (tmp_path / "parent.mp4").read_bytes() == DATA


async def test_a_video_that_was_sent_to_its_member_is_fetched_from_there(
    delivery: Delivery, videos: DiscordVideos, job: Job, tmp_path: Path
) -> None:
    sent = await delivery.send_video(job, tmp_path / "video.mp4")
    theirs = replace(job, result_message_id=sent.message_id, result_channel_id=sent.channel_id)
    assert await videos.fetch(theirs, tmp_path / "parent.mp4")


async def test_a_message_with_a_link_has_no_video(
    delivery: Delivery, videos: DiscordVideos, job: Job, tmp_path: Path
) -> None:
    sent = await delivery.send_link(replace(job, result_url="https://cdn.example/v.mp4"), job.created_at)
    theirs = replace(job, result_message_id=sent.message_id, result_channel_id=sent.channel_id)
    assert not await videos.fetch(theirs, tmp_path / "parent.mp4")


async def test_a_deleted_message_has_no_video_any_more(
    delivery: Delivery, videos: DiscordVideos, job: Job, tmp_path: Path
) -> None:
    await delivery.remove_video(job)
    with pytest.raises(Undeliverable):
        await videos.fetch(job, tmp_path / "parent.mp4")


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (refused(403, 50001, "Missing Access"), DeliveryForbidden),
        (refused(404, 0, "404: Not Found"), DeliveryDelayed),
    ],
    ids=["no access", "a proxy's 404"],
)
async def test_a_message_that_cannot_be_read_says_nothing_about_its_video(
    server: DiscordServer,
    videos: DiscordVideos,
    job: Job,
    tmp_path: Path,
    fault: Answer,
    error: type[Exception],
) -> None:
    route = f"/channels/{job.channel_id}/messages/{job.result_message_id}"
    server.fail_next("GET", route, fault)
    with pytest.raises(error):
        await videos.fetch(job, tmp_path / "parent.mp4")
    assert not (tmp_path / "parent.mp4").exists()


async def test_a_file_that_discord_does_not_hand_out_is_asked_for_later(
    server: DiscordServer, videos: DiscordVideos, job: Job, tmp_path: Path
) -> None:
    server.fail_next("GET", "/cdn/*", refused(503, 0, "unavailable"))
    with pytest.raises(DeliveryDelayed):
        await videos.fetch(job, tmp_path / "parent.mp4")
    assert not (tmp_path / "parent.mp4").exists()
