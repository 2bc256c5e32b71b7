import asyncio
import logging
import time
from collections.abc import AsyncIterator

import discord
import pytest
from simcord import SetupError

from bot.chat.permissions.channel_permissions import PERMISSIONS
from bot.demo.offline_discord import OfflineDiscord
from tests.demo.example_bot import ExampleBot

PICTURE = b"not really a picture"
VIDEO = b"not really a video"
SOON_S = 60.0


@pytest.fixture
async def bot() -> ExampleBot:
    return ExampleBot()


@pytest.fixture
async def offline(bot: ExampleBot) -> AsyncIterator[OfflineDiscord]:
    async with OfflineDiscord(bot) as offline:
        yield offline


def has_a_video(message: discord.Message) -> bool:
    return bool(message.attachments)


async def test_a_command_with_a_picture_returns_its_private_reply(
    offline: OfflineDiscord,
) -> None:
    answer = await offline.animate(PICTURE, "cat.jpg", "dance", seed=7)

    assert answer == f"cat.jpg {len(PICTURE)} dance 7"


async def test_a_private_reply_is_shown_to_the_member_who_sent_the_command(offline: OfflineDiscord) -> None:
    await offline.animate(PICTURE, "cat.jpg", "dance")

    assert [message.flags.ephemeral for message in offline.messages()] == [True]


async def test_a_command_that_the_bot_never_synced_is_refused(offline: OfflineDiscord) -> None:
    with pytest.raises(SetupError, match="unknown"):
        await offline.command("unknown")


async def test_the_bot_has_the_permissions_of_its_invite_and_no_others(offline: OfflineDiscord) -> None:
    assert discord.Permissions(int(await offline.command("permissions"))) == PERMISSIONS


async def test_the_exception_of_a_handler_is_available(
    offline: OfflineDiscord, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.CRITICAL):
        await offline.command("stumble")

    assert any("stumbled" in str(error) for error in offline.errors)


async def test_a_command_has_the_current_time(offline: OfflineDiscord) -> None:
    before = time.time()

    given_at = float(await offline.command("when"))

    assert before - 1 <= given_at <= time.time()


async def test_a_video_that_is_posted_later_is_waited_for(bot: ExampleBot, offline: OfflineDiscord) -> None:
    waiting = asyncio.create_task(offline.wait_for_message(has_a_video, timeout_s=SOON_S))
    await bot.post(offline.channel.id, "rendering")

    message = await bot.post(offline.channel.id, "here it is", video=VIDEO)

    assert (await waiting).id == message.id
    assert await message.attachments[0].read() == VIDEO


async def test_waiting_for_a_message_that_never_comes_times_out(offline: OfflineDiscord) -> None:
    with pytest.raises(TimeoutError):
        await offline.wait_for_message(has_a_video, timeout_s=0)


async def test_waiting_for_a_message_notices_edits(bot: ExampleBot, offline: OfflineDiscord) -> None:
    status = await bot.post(offline.channel.id, "waiting")
    waiting = asyncio.create_task(
        offline.wait_for_message(lambda message: message.content == "done", timeout_s=SOON_S)
    )
    await asyncio.sleep(0)

    await bot.get_partial_messageable(offline.channel.id).get_partial_message(status.id).edit(content="done")

    assert (await waiting).id == status.id


async def test_the_worker_can_post_while_a_command_is_handled(bot: ExampleBot, offline: OfflineDiscord) -> None:
    answer, _ = await asyncio.gather(
        offline.animate(PICTURE, "cat.jpg", "dance"), bot.post(offline.channel.id, "here it is", video=VIDEO)
    )

    assert answer
    message = await offline.wait_for_message(has_a_video, timeout_s=SOON_S)
    assert await message.attachments[0].read() == VIDEO


async def test_the_bot_finds_its_own_buttons_in_the_history(bot: ExampleBot, offline: OfflineDiscord) -> None:
    await bot.post(offline.channel.id, "here it is", video=VIDEO)

    found = [message async for message in bot.get_partial_messageable(offline.channel.id).history(limit=5)]

    row = found[0].components[0]
    assert isinstance(row, discord.ActionRow)
    assert [child.custom_id for child in row.children] == ["keep:abc"]


async def test_the_bot_is_closed_at_the_end(bot: ExampleBot) -> None:
    async with OfflineDiscord(bot):
        assert bot.is_ready()

    assert bot.is_closed()


async def test_a_bot_that_requests_privileged_intents_is_refused() -> None:
    bot = discord.ext.commands.Bot(command_prefix="!", intents=discord.Intents.all())

    with pytest.raises(discord.PrivilegedIntentsRequired):
        await OfflineDiscord(bot).__aenter__()


async def test_a_handler_in_progress_finishes_before_the_close(bot: ExampleBot) -> None:
    """A handler that is cancelled while it opens a database connection never returns it."""
    finished = []

    async def on_guild_available(guild: discord.Guild) -> None:
        await asyncio.to_thread(time.sleep, 0.05)
        finished.append(guild.name)

    bot.add_listener(on_guild_available)
    async with OfflineDiscord(bot) as offline:
        offline._env.create_guild("Another server")
    assert "Another server" in finished
