"""How a client stands with Discord, read off it without a request: for health checks and metrics."""

import math
from dataclasses import dataclass

import discord


@dataclass(frozen=True, slots=True)
class ShardStatus:
    """One connection to Discord's gateway. latency_s: of its last heartbeat; None before the first answer."""

    shard_id: int
    is_connected: bool
    latency_s: float | None


@dataclass(frozen=True, slots=True)
class DiscordStatus:
    """is_logged_in: Discord has accepted the token. shards: none for a client that only posts.

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
        shards = tuple(
            ShardStatus(number, not shard.is_closed(), _known(shard.latency))
            for number, shard in sorted(client.shards.items())
        )
    else:
        # None before the first connection, despite its annotation.
        websocket: discord.gateway.DiscordWebSocket | None = client.ws
        shards = ()
        if websocket is not None:
            shards = (ShardStatus(client.shard_id or 0, websocket.open, _known(websocket.latency)),)
    is_logged_in = client.user is not None and not client.is_closed()
    return DiscordStatus(is_logged_in, client.is_ready(), shards, len(client.guilds) if shards else None)


def _known(latency_s: float) -> float | None:
    return latency_s if math.isfinite(latency_s) else None
