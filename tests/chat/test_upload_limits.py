"""How large a file may be: what Discord stated for the channel, else a default; a refusal moves down."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.chat.transport.client import RestClient
from bot.chat.transport.delivery import Delivery
from bot.chat.upload_limits import MIB, STEPS_BYTES, UploadLimits
from bot.domain.errors import TooLargeToPost
from bot.domain.jobs import Job, JobState, Order, new_job_id
from tests.discord_server import DiscordServer, refused
from tests.faulty_gateway import FaultyGateway
from tests.forged.harness import KEY, open_harness


@pytest.fixture
def job(server: DiscordServer) -> Job:
    now = datetime.now(UTC)
    place = (server.guild.id, server.channel.id, server.member.id)
    return Job(new_job_id(), JobState.DELIVERING, *place, Order("a cat"), now, now)


def file_of(folder: Path, size_bytes: int) -> Path:
    path = folder / f"{size_bytes}.mp4"
    with path.open("wb") as file:
        file.truncate(size_bytes)
    return path


async def test_what_an_interaction_states_is_used_without_asking(
    server: DiscordServer, client: RestClient, job: Job
) -> None:
    limits = UploadLimits()
    delivery = Delivery(client, upload_limits=limits)
    limits.state(job.channel_id, 33 * MIB)

    assert await delivery.upload_limit_bytes(job) == 33 * MIB
    assert server.calls("GET", "/guilds/") == []


async def test_without_an_interaction_a_video_under_the_new_default_goes_untouched(
    server: DiscordServer, client: RestClient, job: Job, tmp_path: Path
) -> None:
    server.guild.upload_limit_bytes = 20 * MIB
    delivery = Delivery(client)
    video = file_of(tmp_path, 19 * MIB)

    assert await delivery.upload_limit_bytes(job) >= 19 * MIB
    await delivery.post_video(job, video)

    assert len(server.messages()[0].attachments[0].upload.data) == 19 * MIB


async def test_a_refusal_moves_down_and_is_remembered(
    server: DiscordServer, client: RestClient, job: Job, tmp_path: Path
) -> None:
    server.guild.upload_limit_bytes = 8 * MIB
    delivery = Delivery(client)

    for size, smaller in ((15 * MIB, 10 * MIB), (10 * MIB, 8 * MIB)):
        with pytest.raises(TooLargeToPost) as caught:
            await delivery.post_video(job, file_of(tmp_path, size))
        assert caught.value.limit_bytes == smaller
        assert await delivery.upload_limit_bytes(job) == smaller
    await delivery.post_video(job, file_of(tmp_path, 8 * MIB))


async def test_one_channels_refusal_says_nothing_about_another(
    server: DiscordServer, client: RestClient, job: Job, tmp_path: Path
) -> None:
    delivery = Delivery(client)
    server.fail_next("POST", "/channels/*/messages", refused(413, 40005, "Request entity too large"))
    with pytest.raises(TooLargeToPost):
        await delivery.send_video(job, file_of(tmp_path, 15 * MIB))

    assert await delivery.upload_limit_bytes(job) == 20 * MIB


async def test_each_order_states_its_channels_limit(server: DiscordServer, tmp_path: Path) -> None:
    server.guild.upload_limit_bytes = 77 * MIB
    async with (
        FaultyGateway(tmp_path / "upstream", KEY) as upstream,
        open_harness(tmp_path, server, upstream) as harness,
    ):
        await harness.order("a heron")

        assert harness.bot.services.upload_limits.stated(server.channel.id) == 77 * MIB


def test_every_refusal_leads_to_something_smaller_and_then_to_nothing() -> None:
    limits, tried = UploadLimits(), [500 * MIB]
    while smaller := limits.refuse(1, tried[-1]):
        assert limits.limit(1, 500 * MIB) == smaller
        tried.append(smaller)

    assert tried[1:] == list(STEPS_BYTES)
    assert limits.limit(1, 500 * MIB) == STEPS_BYTES[-1]


def test_a_higher_limit_forgets_what_was_refused() -> None:
    """The server was boosted."""
    limits = UploadLimits()
    limits.state(1, 20 * MIB)
    limits.refuse(1, 15 * MIB)
    limits.state(1, 20 * MIB)
    assert limits.limit(1, 20 * MIB) == 10 * MIB

    limits.state(1, 50 * MIB)

    assert limits.limit(1, 50 * MIB) == 50 * MIB


def test_a_limit_that_differs_between_members_does_not_undo_a_refusal() -> None:
    limits = UploadLimits()
    for stated in (500 * MIB, 20 * MIB, 500 * MIB, 20 * MIB):
        limits.state(1, stated)
        limits.refuse(1, 15 * MIB)
    limits.state(1, 500 * MIB)

    assert limits.limit(1, 500 * MIB) == 10 * MIB


def test_a_refusal_above_the_limit_changes_nothing() -> None:
    limits = UploadLimits()
    limits.refuse(1, 60 * MIB)

    assert limits.limit(1, 20 * MIB) == 20 * MIB


def test_channels_that_were_not_used_for_long_are_forgotten() -> None:
    limits = UploadLimits(channels_max=2)
    for channel_id in (1, 2, 1, 3):
        limits.state(channel_id, MIB)

    assert [limits.stated(channel_id) for channel_id in (1, 2, 3)] == [MIB, None, MIB]
