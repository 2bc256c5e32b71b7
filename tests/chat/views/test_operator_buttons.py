"""Where announcements go in servers that have set no log channel."""

import asyncio
from collections.abc import AsyncIterator

import discord as discord_py
import pytest
from discord import Permissions
from discord.ext import commands

from bot.chat.transport.sharded_client import ShardedClient
from tests.discord_server import DiscordServer, Overwrite
from tests.discord_server.clients import connected


class Bot(ShardedClient, commands.AutoShardedBot):
    """Nothing but a client with listeners."""


@pytest.fixture
async def discord() -> AsyncIterator[DiscordServer]:
    async with DiscordServer() as discord:
        yield discord


async def usable_system_channel(discord: DiscordServer) -> int | None:
    """The system channel of the first server, as the bot would use it."""
    bot = Bot("!", intents=discord_py.Intents(guilds=True), guild_ready_timeout=0.05)
    described: asyncio.Queue[tuple[int, str, int | None]] = asyncio.Queue()

    async def on_guild_described(guild_id: int, name: str, channel_id: int | None) -> None:
        described.put_nowait((guild_id, name, channel_id))

    bot.add_listener(on_guild_described)
    async with connected(bot, discord):
        guild_id, name, channel_id = await described.get()
        assert (guild_id, name) == (discord.guild.id, "Moving Pictures")
        return channel_id


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
