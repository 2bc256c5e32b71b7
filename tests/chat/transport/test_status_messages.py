"""The status card on the wire: posted once, edited in place, found after a crash, and removed at the end."""

from dataclasses import replace
from datetime import UTC, datetime

import discord
import pytest

from bot.chat.transport.client import RestClient
from bot.chat.transport.status_messages import StatusMessages
from bot.domain.errors import DeliveryForbidden
from bot.domain.jobs import FailureReason, Job, JobState, Order, new_job_id
from bot.domain.status_cards import StatusCard
from bot.domain.waiting import Wait
from tests.discord_server import DiscordServer, Message, Overwrite
from tests.discord_server.messages import walk

QUEUED = StatusCard(JobState.QUEUED, Wait(ahead=2))
RUNNING = StatusCard(JobState.RUNNING)
THUMBNAIL = b"\xff\xd8\xff a small picture"


@pytest.fixture
def cards(client: RestClient) -> StatusMessages:
    return StatusMessages(client)


@pytest.fixture
def job(server: DiscordServer) -> Job:
    now = datetime.now(UTC)
    place = (server.guild.id, server.channel.id, server.member.id)
    return Job(new_job_id(), JobState.QUEUED, *place, Order("a *cat* for @everyone"), now, now)


def only_message(server: DiscordServer) -> Message:
    (message,) = server.messages()
    return message


async def test_a_card_is_posted_silently_with_a_cancel_button(
    server: DiscordServer, cards: StatusMessages, job: Job
) -> None:
    message_id = await cards.show(job, QUEUED, None, check_existing=False)

    message = only_message(server)
    assert message.id == message_id
    assert message.custom_ids == [f"zoetrope:cancel:{job.id}"]
    assert message.allowed_mentions == {"parse": []}
    assert discord.MessageFlags._from_value(message.flags).suppress_notifications
    assert "**2 videos** before it." in message.shown


@pytest.mark.parametrize("is_spoiler", [False, True])
async def test_a_card_shows_the_picture_as_its_member_described_it(
    server: DiscordServer, cards: StatusMessages, job: Job, *, is_spoiler: bool
) -> None:
    job = replace(job, picture_name="SPOILER_cat.png" if is_spoiler else "cat.png", picture_alt_text="a gray cat")
    await cards.show(job, replace(QUEUED, has_thumbnail=True), THUMBNAIL, check_existing=False)

    (thumbnail,) = [part["accessory"] for part in walk(only_message(server).components) if "accessory" in part]
    assert thumbnail["media"]["url"] == "attachment://picture.jpg"
    assert (thumbnail["description"], thumbnail["spoiler"]) == ("a gray cat", is_spoiler)
    (file,) = only_message(server).attachments
    assert file.upload.data == THUMBNAIL


async def test_an_edit_keeps_the_picture(server: DiscordServer, cards: StatusMessages, job: Job) -> None:
    shown = await cards.show(job, replace(QUEUED, has_thumbnail=True), THUMBNAIL, check_existing=False)

    await cards.edit(replace(job, status_message_id=shown), replace(RUNNING, has_thumbnail=True))

    message = only_message(server)
    assert "Being made" in message.shown
    assert [file.upload.data for file in message.attachments] == [THUMBNAIL]


async def test_a_picture_that_a_moderator_had_to_see_first_is_added(
    server: DiscordServer, cards: StatusMessages, job: Job
) -> None:
    first = await cards.show(job, StatusCard(JobState.AWAITING), None, check_existing=False)
    job = replace(job, status_message_id=first)

    assert await cards.show(job, replace(QUEUED, has_thumbnail=True), THUMBNAIL, check_existing=False) == first

    assert [file.upload.data for file in only_message(server).attachments] == [THUMBNAIL]


async def test_a_status_message_of_an_earlier_version_becomes_a_card(
    server: DiscordServer, cards: StatusMessages, job: Job
) -> None:
    earlier = server.state.send(server.channel, server.state.bot, {"content": "A video is queued."}, {})

    assert await cards.show(replace(job, status_message_id=earlier.id), QUEUED, None, check_existing=False)

    message = only_message(server)
    assert (message.id, message.content) == (earlier.id, "")
    assert "In the queue" in message.shown


async def test_a_deleted_card_is_posted_again(server: DiscordServer, cards: StatusMessages, job: Job) -> None:
    first = await cards.show(job, QUEUED, None, check_existing=False)
    server.state.delete(only_message(server))
    server.state.forget_nonces()

    second = await cards.show(replace(job, status_message_id=first), QUEUED, None, check_existing=False)

    assert second != first
    assert only_message(server).id == second


async def test_a_card_of_a_process_that_died_is_adopted(
    server: DiscordServer, cards: StatusMessages, job: Job
) -> None:
    first = await cards.show(job, QUEUED, None, check_existing=False)
    server.state.forget_nonces()

    assert await cards.show(job, RUNNING, None, check_existing=True) == first
    assert "Being made" in only_message(server).shown


async def test_a_card_that_discord_returns_for_its_nonce_is_brought_up_to_date(
    server: DiscordServer, cards: StatusMessages, job: Job
) -> None:
    first = await cards.show(job, QUEUED, None, check_existing=False)

    assert await cards.show(job, RUNNING, None, check_existing=False) == first
    assert "Being made" in only_message(server).shown


async def test_an_edit_does_not_repost_a_deleted_card(
    server: DiscordServer, cards: StatusMessages, job: Job
) -> None:
    first = await cards.show(job, QUEUED, None, check_existing=False)
    server.state.delete(only_message(server))

    await cards.edit(replace(job, status_message_id=first), RUNNING)

    assert server.messages() == []


@pytest.mark.parametrize("is_recorded", [True, False])
async def test_a_card_is_removed_even_if_its_id_was_never_recorded(
    server: DiscordServer, cards: StatusMessages, job: Job, *, is_recorded: bool
) -> None:
    first = await cards.show(job, QUEUED, None, check_existing=False)

    await cards.remove(replace(job, status_message_id=first if is_recorded else None))
    await cards.remove(replace(job, status_message_id=first if is_recorded else None))

    assert server.messages() == []


async def test_a_channel_that_is_hidden_from_the_bot_keeps_its_card(
    server: DiscordServer, cards: StatusMessages, job: Job
) -> None:
    first = await cards.show(job, QUEUED, None, check_existing=False)
    server.channel.overwrites[server.state.bot.id] = Overwrite(deny=discord.Permissions(view_channel=True))

    with pytest.raises(DeliveryForbidden):
        await cards.remove(replace(job, status_message_id=first))


async def test_a_card_can_tell_a_failure_that_no_other_message_can(
    server: DiscordServer, cards: StatusMessages, job: Job
) -> None:
    first = await cards.show(job, replace(QUEUED, has_thumbnail=True), THUMBNAIL, check_existing=False)
    failed = replace(
        job, state=JobState.FAILED, status_message_id=first, failure_reason=FailureReason.REFUSED, charged=False
    )

    await cards.close(failed)

    message = only_message(server)
    assert "your video didn't work" in message.shown
    assert message.custom_ids == [f"zoetrope:status:{job.id}"]
    assert message.attachments == []
    assert message.allowed_mentions == {"parse": []}
