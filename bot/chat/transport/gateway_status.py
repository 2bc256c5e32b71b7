"""How a client stands with Discord, read off it without a request: for health checks and metrics."""

import math
from dataclasses import dataclass

import discord

from bot.chat.own_shards import own_shards


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """One connection to Discord's gateway. latency_s: of its last heartbeat; None before the first answer."""

    shard_id: int
    is_connected: bool
    latency_s: float | None


@dataclass(frozen=True, slots=True)
class DiscordStatus:
    """is_logged_in: Discord has accepted the token.

    shards: those that the client connects, also before they were ever connected; none for one that only posts.

    is_ready: Discord has begun to say which servers the bot is in. servers: that it has named so far; None before
    the first connection.
    """

    is_logged_in: bool
    is_ready: bool
    shards: tuple[ShardStatus, ...]
    servers: int | None = None


def discord_status(client: discord.Client) -> DiscordStatus:
    """The present status of a client, sharded or not."""
    shards: tuple[ShardStatus, ...]
    if isinstance(client, discord.AutoShardedClient):
        opened = client.shards
        # Discord says how many there are, if it isn't given; every bot has the first.
        own = (own_shards(client) or frozenset({0})) | opened.keys()
        shards = tuple(
            ShardStatus(number, not opened[number].is_closed(), _known(opened[number].latency))
            if number in opened
            else ShardStatus(number, is_connected=False, latency_s=None)
            for number in sorted(own)
        )
        has_been_open = bool(opened)
    else:
        # None before the first connection, despite its annotation.
        websocket: discord.gateway.DiscordWebSocket | None = client.ws
        shards = ()
        has_been_open = websocket is not None
        if websocket is not None:
            shards = (ShardStatus(client.shard_id or 0, websocket.open, _known(websocket.latency)),)
    is_logged_in = client.user is not None and not client.is_closed()
    return DiscordStatus(is_logged_in, client.is_ready(), shards, len(client.guilds) if has_been_open else None)


def _known(latency_s: float) -> float | None:
    return latency_s if math.isfinite(latency_s) else None
