"""How much memory a client takes for each server: discord.py's own, and the bot's."""

import asyncio
import gc
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import discord

from bot.chat.transport.client import ZoetropeBot
from tests.bench.report import Checkout, Row, run

SERVERS, CHANNELS, ROLES = 500, 25, 15

_TIME = "2026-01-01T12:00:00.000000+00:00"
_NAMES = (
    "general",
    "memes",
    "art",
    "lounge",
    "music",
    "off-topic",
    "staff",
    "rules",
    "help",
    "showcase",
    "events",
)


def snowflake(number: int) -> str:
    """An id as different from the next one as Discord's are."""
    return str((1 << 59) + (number * 0x9E3779B97F4A7C15) % (1 << 58))


def server_payload(number: int, bot_id: int) -> dict[str, Any]:
    """GUILD_CREATE of a server with `CHANNELS` channels in categories and `ROLES` roles, as Discord sends it."""
    first = number * 1000
    guild_id, roles = snowflake(first), [snowflake(first + 100 + each) for each in range(ROLES - 1)]
    categories = [snowflake(first + 200 + each) for each in range(CHANNELS) if each % 8 == 0]

    def role(role_id: str, name: str, position: int) -> dict[str, Any]:
        of_discord = {"color": 0, "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None}}
        of_discord |= {"hoist": False, "managed": position == 1, "mentionable": False, "flags": 0, "icon": None}
        permissions = str(0x20_0000_0000_0000 + position * 0x1357)
        return of_discord | {"id": role_id, "name": name, "position": position, "permissions": permissions}

    def channel(position: int) -> dict[str, Any]:
        is_category = position % 8 == 0
        overwrites = [
            {"id": guild_id, "type": 0, "allow": "0", "deny": "1024"},
            {"id": roles[position % len(roles)], "type": 0, "allow": str(1024 + position), "deny": "0"},
        ]
        kind = 4 if is_category else 2 if position % 5 == 4 else 0
        return {
            "id": snowflake(first + 200 + position),
            "type": kind,
            "name": f"{_NAMES[position % len(_NAMES)]}-{position}",
            "position": position,
            "parent_id": None if is_category else categories[position // 8],
            "permission_overwrites": overwrites if position % 3 else [],
            "nsfw": False,
            "topic": None if kind else f"What {number} talk about in {position}",
            "rate_limit_per_user": 0,
            "last_message_id": snowflake(first + 300 + position),
            "bitrate": 64_000,
            "user_limit": 0,
            "flags": 0,
        }

    user = {"id": str(bot_id), "username": "zoetrope", "discriminator": "0", "avatar": None, "bot": True}
    member = {"user": user, "roles": [roles[0]], "joined_at": _TIME, "deaf": False, "mute": False, "flags": 0}
    return {
        "id": guild_id,
        "name": f"Server number {number}",
        "icon": "0123456789abcdef0123456789abcdef",
        "owner_id": snowflake(first + 1),
        "system_channel_id": snowflake(first + 201),
        "premium_tier": number % 4,
        "preferred_locale": "en-US",
        "verification_level": 1,
        "default_message_notifications": 1,
        "explicit_content_filter": 2,
        "mfa_level": 0,
        "nsfw_level": 0,
        "system_channel_flags": 0,
        "features": ["COMMUNITY", "NEWS"],
        "emojis": [],
        "stickers": [],
        "roles": [
            role(guild_id, "@everyone", 0),
            *(role(each, f"Role {i}", i) for i, each in enumerate(roles, 1)),
        ],
        "channels": [channel(position) for position in range(CHANNELS)],
        "threads": [],
        "members": [member],
        "presences": [],
        "voice_states": [],
        "stage_instances": [],
        "guild_scheduled_events": [],
        "soundboard_sounds": [],
        "joined_at": _TIME,
        "large": False,
        "unavailable": False,
        "member_count": 100,
    }


async def bytes_per_server(make: Callable[[], discord.AutoShardedClient], servers: int = SERVERS) -> float:
    """What the client allocates, and keeps, for each server that Discord tells it of."""
    client, bot_id = make(), 5
    state: Any = client._connection
    client.shard_count, state.shard_count, state.shard_ids = 1, 1, [0]
    user = {"id": str(bot_id), "username": "zoetrope", "discriminator": "0", "avatar": None, "bot": True}
    listed = [{"id": snowflake(number * 1000), "unavailable": True} for number in range(servers)]
    ready = {"user": user, "shard": [0, 1], "guilds": listed, "application": {"id": str(bot_id), "flags": 0}}
    state.parse_ready(ready)
    await asyncio.sleep(0)
    for number in range(10):  # what comes with the first ones
        state.parse_guild_create(server_payload(number, bot_id))
    await _settle()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(10, servers):
            state.parse_guild_create(server_payload(number, bot_id))
            if number % 50 == 0:
                await _settle()
        await _settle()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(client.guilds) == servers
    for task in (state._ready_task, *state._ready_tasks.values()):
        task.cancel()
    return (after - before) / (servers - 10)


async def _settle() -> None:
    """Lets the client take the servers out of its queue, and frees what is not needed any more."""
    for _ in range(5):
        await asyncio.sleep(0)
    gc.collect()


def plain() -> discord.AutoShardedClient:
    """discord.py's own client, with the bot's intents and nothing cached that can be turned off."""
    return discord.AutoShardedClient(
        intents=discord.Intents(guilds=True),
        max_messages=None,
        chunk_guilds_at_startup=False,
        member_cache_flags=discord.MemberCacheFlags.none(),
    )


def packed() -> discord.AutoShardedClient:
    """The bot's client."""
    return ZoetropeBot()


def measure(checkout: Checkout) -> Iterator[Row]:
    """The row of one server."""
    del checkout
    packed_kb, plain_kb = (asyncio.run(bytes_per_server(make)) / 1e3 for make in (packed, plain))
    yield Row(
        f"kept of a server with {CHANNELS} channels and {ROLES} roles", packed_kb, plain_kb, "kB", target=0.2
    )


if __name__ == "__main__":
    run(measure)
