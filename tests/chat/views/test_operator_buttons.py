"""Where announcements go in servers that have set no log channel."""

from collections.abc import AsyncIterator

import pytest
from discord import Permissions

from bot.chat.transport.client import ZoetropeBot
from bot.chat.views.operator_buttons import names, system_channels
from tests.chat.some_services import some_services
from tests.discord_server import DiscordServer, Overwrite
from tests.discord_server.clients import connected


@pytest.fixture
async def discord() -> AsyncIterator[DiscordServer]:
    async with DiscordServer() as discord:
        yield discord


async def usable_system_channel(discord: DiscordServer) -> int | None:
    """The system channel of the first server, as the bot would use it."""
    bot = ZoetropeBot()
    bot.services = some_services()
    bot._connection.guild_ready_timeout = 0  # discord.py waits two seconds for further servers
    async with connected(bot, discord):
        await bot.wait_until_ready()
        assert names(bot) == {discord.guild.id: "Moving Pictures"}
        return system_channels(bot)[discord.guild.id]


async def test_a_server_without_a_system_channel_has_none(discord: DiscordServer) -> None:
    assert await usable_system_channel(discord) is None


async def test_a_system_channel_where_the_bot_may_post_is_used(discord: DiscordServer) -> None:
    discord.guild.system_channel_id = discord.channel.id
    assert await usable_system_channel(discord) == discord.channel.id


@pytest.mark.parametrize("denied", [Permissions(send_messages=True), Permissions(view_channel=True)])
async def test_a_system_channel_where_the_bot_may_not_post_is_not_used(
    discord: DiscordServer, denied: Permissions
) -> None:
    discord.guild.system_channel_id = discord.channel.id
    discord.channel.overwrites[discord.state.bot.id] = Overwrite(deny=denied)
    assert await usable_system_channel(discord) is None
