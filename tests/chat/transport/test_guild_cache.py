"""Servers that are kept packed behave as discord.py's own, and take a fifth of the memory."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import discord
import pytest
from discord import Permissions

from bot.chat.transport.guild_cache import UNPACKED_MAX
from bot.chat.transport.sharded_client import ShardedClient
from bot.domain.schedule import Backoff
from tests.bench.server_memory import CHANNELS, ROLES, bytes_per_server
from tests.discord_server import Channel, DiscordServer, Guild, Overwrite, connected
from tests.discord_server.models import FORUM, VOICE, Role

BYTES_MAX = 5_000
"""For a server of 25 channels and 15 roles."""

ALLOW, DENY = Permissions(manage_messages=True, send_messages=True), Permissions(send_messages=True)


class Client(ShardedClient):
    """Waits for nothing but Discord."""

    identify_interval_s = 0.0
    reconnect_backoff = Backoff(first_s=0.01, cap_s=0.01)


def slim() -> ShardedClient:
    return Client(intents=discord.Intents(guilds=True), guild_ready_timeout=0.05, max_messages=None)


@asynccontextmanager
async def ready(server: DiscordServer) -> AsyncIterator[ShardedClient]:
    async with connected(slim(), server) as client:
        await client.wait_until_ready()
        yield client


async def until(condition: object) -> None:
    while not condition():  # type: ignore[operator]
        await asyncio.sleep(0)


def a_full_server(server: DiscordServer) -> Guild:
    """Every kind of channel, a category, overwrites for everyone, a role and the bot, and threads."""
    guild, state = server.guild, server.state
    role = Role("Artists", Permissions(manage_threads=True))
    guild.roles[role.id] = role
    guild.members[state.bot.id].roles.append(role)
    category = state.add_channel(guild, "Pictures", kind=4)
    for kind in (0, VOICE, 5, 13, FORUM):
        overwrites = {guild.id: Overwrite(deny=DENY), role.id: Overwrite(allow=ALLOW)}
        channel = state.add_channel(guild, f"of kind {kind}", overwrites, kind=kind)
        if kind == 0:
            channel.overwrites[state.bot.id] = Overwrite(deny=Permissions(manage_messages=True))
            channel.parent = None
            state.add_thread(channel, "a thread")
    del category
    guild.system_channel_id = server.channel.id
    guild.premium_tier = 2
    return guild


def summary(guild: discord.Guild) -> dict[str, object]:
    """All that commands ask of a server."""
    channels = [*guild.channels, *guild.threads]
    return {
        "server": (guild.name, guild.owner_id, guild.filesize_limit, guild.unavailable),
        "system": guild.system_channel and guild.system_channel.id,
        "roles": {(role.id, role.name, role.permissions.value, role.is_default()) for role in guild.roles},
        "me": (guild.me.id, sorted(role.id for role in guild.me.roles), guild.me.timed_out_until),
        "may": guild.me.guild_permissions.value,
        "channels": {(type(each), each.id, each.name, each.is_nsfw()) for each in channels},
        "categories": {(each.id, each.category_id) for each in guild.channels},
        "for me": {(each.id, each.permissions_for(guild.me).value) for each in channels},
        "for all": {(each.id, each.permissions_for(guild.default_role).value) for each in channels},
        "threads": {(thread.id, thread.parent_id, thread.locked) for thread in guild.threads},
    }


async def test_a_packed_server_says_what_discord_pys_own_says() -> None:
    async with DiscordServer() as server:
        guild_id = a_full_server(server).id
        plain = discord.AutoShardedClient(intents=discord.Intents(guilds=True), guild_ready_timeout=0.05)
        async with connected(plain, server):
            await plain.wait_until_ready()
            expected = plain.get_guild(guild_id)
            assert expected is not None
            async with ready(server) as client:
                packed = client.get_guild(guild_id)
                assert packed is not None
                assert summary(packed) == summary(expected)


async def test_what_changes_in_a_server_changes_in_the_packed_one(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "discord")
    async with DiscordServer() as server:
        guild = a_full_server(server)
        thread = next(iter(guild.threads.values()))
        async with ready(server) as client:

            def seen() -> discord.Guild:
                found = client.get_guild(guild.id)
                assert found is not None
                return found

            def tell(event: str, data: dict[str, object]) -> None:
                server.gateway.dispatch(event, {"guild_id": str(guild.id), **data}, intent="guilds")

            late = Channel("late", guild)
            tell("CHANNEL_CREATE", late.json())
            await until(lambda: seen().get_channel(late.id))
            late.name = "renamed"
            tell("CHANNEL_UPDATE", late.json())
            await until(lambda: seen().get_channel(late.id).name == "renamed")  # type: ignore[union-attr]
            tell("CHANNEL_DELETE", late.json())
            await until(lambda: seen().get_channel(late.id) is None)

            role = Role("New", Permissions(administrator=True))
            tell("GUILD_ROLE_CREATE", {"role": role.json()})
            await until(lambda: seen().get_role(role.id))
            member = guild.members[server.state.bot.id].json()
            tell("GUILD_MEMBER_UPDATE", member | {"roles": [*member["roles"], str(role.id)]})
            await until(lambda: seen().me.guild_permissions.administrator)
            tell("GUILD_ROLE_UPDATE", {"role": role.json() | {"permissions": "0"}})
            await until(lambda: not seen().me.guild_permissions.administrator)
            tell("GUILD_ROLE_DELETE", {"role_id": str(role.id)})
            await until(lambda: seen().get_role(role.id) is None)

            archived = thread.json() | {"thread_metadata": thread.json()["thread_metadata"] | {"archived": True}}
            tell("THREAD_UPDATE", archived)
            await until(lambda: seen().get_thread(thread.id) is None)
            tell("THREAD_CREATE", thread.json())
            await until(lambda: seen().get_thread(thread.id))
            tell("THREAD_LIST_SYNC", {"channel_ids": [str(thread.json()["parent_id"])], "threads": []})
            await until(lambda: seen().get_thread(thread.id) is None)
            tell("GUILD_UPDATE", guild.json() | {"name": "Renamed", "premium_tier": 3})
            await until(lambda: (seen().name, seen().premium_tier) == ("Renamed", 3))
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_events_about_what_is_not_kept_leave_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    events: list[tuple[str, dict[str, object]]] = [
        ("CHANNEL_UPDATE", {"id": "7", "type": 0, "name": "unknown"}),
        ("CHANNEL_DELETE", {"id": "8", "type": 0}),
        ("CHANNEL_PINS_UPDATE", {"channel_id": "8", "last_pin_timestamp": None}),
        ("GUILD_ROLE_DELETE", {"role_id": "9"}),
        ("THREAD_DELETE", {"id": "10", "parent_id": "8", "type": 11}),
        (
            "THREAD_MEMBERS_UPDATE",
            {"id": "10", "member_count": 1, "added_members": [], "removed_member_ids": ["1"]},
        ),
        ("GUILD_EMOJIS_UPDATE", {"emojis": []}),
        ("STAGE_INSTANCE_CREATE", {"id": "11", "channel_id": "12", "topic": "t", "privacy_level": 2}),
    ]
    async with DiscordServer() as server:
        gone = server.state.add_guild("Elsewhere")
        async with ready(server) as client:
            for guild_id in (server.guild.id, gone.id, 5):
                for event, data in events:
                    server.gateway.dispatch(event, {"guild_id": str(guild_id), **data})
            server.gateway.dispatch("GUILD_UPDATE", server.guild.json() | {"name": "Last"})
            await until(lambda: client.guilds and any(guild.name == "Last" for guild in client.guilds))
    assert not [record for record in caplog.records if record.levelno >= logging.INFO and record.exc_info]
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_an_unavailable_server_is_still_there_and_comes_back() -> None:
    async with DiscordServer() as server, ready(server) as client:
        guild_id = server.guild.id
        server.gateway.dispatch("GUILD_DELETE", {"id": str(guild_id), "unavailable": True}, intent="guilds")
        await until(lambda: (found := client.get_guild(guild_id)) is None or found.unavailable)
        assert client.get_guild(guild_id) is not None
        back = server.guild.create_json(server.state.bot)
        server.gateway.dispatch("GUILD_CREATE", back, intent="guilds")
        await until(lambda: (found := client.get_guild(guild_id)) is not None and not found.unavailable)


async def test_a_server_that_is_not_listed_by_the_next_ready_is_gone() -> None:
    async with DiscordServer() as server:
        other = server.state.add_guild("Other")
        async with ready(server) as client:
            assert client.get_guild(other.id) is not None
            del server.state.guilds[other.id]
            server.gateway.invalidate()
            await until(lambda: client.get_guild(other.id) is None)


async def test_only_the_servers_that_were_used_last_are_kept_as_objects() -> None:
    async with DiscordServer() as server:
        guilds = [server.state.add_guild(f"Server {number}") for number in range(UNPACKED_MAX + 10)]
        async with ready(server) as client:
            first = client.get_guild(guilds[0].id)
            assert client.get_guild(guilds[0].id) is first
            for guild in guilds:
                client.get_guild(guild.id)
            assert client.get_guild(guilds[0].id) is not first
            assert client.get_guild(guilds[-1].id) is client.get_guild(guilds[-1].id)


async def test_a_server_takes_at_most_five_kilobytes() -> None:
    assert (CHANNELS, ROLES) == (25, 15)
    kept = await bytes_per_server(slim, servers=60)
    assert kept <= BYTES_MAX
