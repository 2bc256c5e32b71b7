"""How the bot finds what it has posted: with few requests however busy the channel is, and always to an end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from discord.utils import time_snowflake

from bot.chat.posting import SEARCH_MAX as MAX
from bot.chat.transport.client import RestClient
from bot.chat.transport.delivery import Delivery, DiscordNotificationSender
from bot.domain.jobs import FailureReason, Job, JobState, Order, new_job_id
from tests.chat.conftest import post_card
from tests.discord_server import Channel, DiscordServer, Message

PAGE = 100


@pytest.fixture
def job(server: DiscordServer) -> Job:
    now = datetime.now(UTC)
    place = (server.guild.id, server.channel.id, server.member.id)
    return Job(new_job_id(), JobState.DELIVERING, *place, Order("a cat"), now, now)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    path = tmp_path / "video.mp4"
    path.write_bytes(b"\0\0\0\x18ftypmp42")
    return path


def chatter(server: DiscordServer, number: int) -> None:
    for count in range(number):
        server.state.send(server.channel, server.member, {"content": f"chatter {count}"}, {})


def say_until(server: DiscordServer, begun_at: datetime, ended_at: datetime) -> None:
    """As much chatter as no search reads, spread over this time."""
    number = 2 * MAX + PAGE
    for count in range(number):
        said_at = begun_at + count / number * (ended_at - begun_at)
        message = Message(server.channel, server.member, id=time_snowflake(said_at), content="chatter")
        server.state.messages[message.id] = message


def pages(server: DiscordServer, channel: Channel | None = None) -> int:
    return len(server.calls("GET", f"/channels/{(channel or server.channel).id}/messages"))


async def test_what_was_said_before_the_status_message_is_not_read(
    server: DiscordServer, client: RestClient, job: Job
) -> None:
    delivery = Delivery(client)
    chatter(server, 2 * MAX + PAGE)
    job = replace(job, status_message_id=await post_card(client, job))
    chatter(server, 50)

    assert await delivery.find_video(job) is None
    assert pages(server) == 1


async def test_a_video_that_was_just_posted_is_on_the_first_page(
    server: DiscordServer, client: RestClient, job: Job, video: Path
) -> None:
    delivery = Delivery(client)
    job = replace(job, status_message_id=await post_card(client, job))
    chatter(server, 2 * MAX + PAGE)
    posted = await delivery.post_video(job, video)
    chatter(server, 50)

    assert await delivery.find_video(job) == posted
    assert pages(server) == 1


async def test_a_video_posted_right_after_its_status_message_is_found_however_much_was_said_since(
    server: DiscordServer, client: RestClient, job: Job, video: Path
) -> None:
    """The process was down for hours after it had posted."""
    delivery = Delivery(client)
    job = replace(job, status_message_id=await post_card(client, job))
    chatter(server, 50)
    posted = await delivery.post_video(job, video)
    chatter(server, 2 * MAX + PAGE)

    assert await delivery.find_video(job) == posted
    assert pages(server) == MAX // PAGE + 1


async def test_a_video_is_found_though_much_was_said_while_it_was_made_and_since_it_was_posted(
    server: DiscordServer, client: RestClient, job: Job, video: Path
) -> None:
    delivery = Delivery(client)
    begun_at = datetime.now(UTC) - timedelta(minutes=30)
    say_until(server, begun_at, datetime.now(UTC) - timedelta(minutes=5))
    job = replace(job, status_message_id=time_snowflake(begun_at))
    posted = await delivery.post_video(job, video)
    chatter(server, 2 * MAX + PAGE)

    assert await delivery.find_video(job) == posted
    assert pages(server) == MAX // PAGE + 1


async def test_a_search_for_a_video_that_was_not_posted_ends(
    server: DiscordServer, client: RestClient, job: Job
) -> None:
    chatter(server, 2 * MAX + PAGE)

    assert await Delivery(client).find_video(job) is None
    assert pages(server) == 3 * MAX // PAGE


async def test_a_search_for_a_failure_note_ends(server: DiscordServer, client: RestClient, job: Job) -> None:
    chatter(server, 2 * MAX + PAGE)
    failed = replace(job, state=JobState.FAILED, failure_reason=FailureReason.REFUSED)

    await Delivery(client).notify_failure(failed, check_existing=True)

    assert "didn't work" in server.messages()[-1].content
    assert pages(server) == 3 * MAX // PAGE


async def test_a_search_for_a_notification_ends(server: DiscordServer, client: RestClient, job: Job) -> None:
    chatter(server, 2 * MAX + PAGE)
    sender = DiscordNotificationSender(client)

    assert not await sender.already_sent(server.channel.id, "a change", since=job.created_at)
    assert pages(server) == 3 * MAX // PAGE
