"""Which servers this process would know: those of the shards that it connects."""

import discord

from bot.domain.shards import shard_of


def own_shards(client: discord.AutoShardedClient) -> frozenset[int]:
    """The numbers of this process's shards; none before their number is known."""
    count: int | None = client.shard_count  # discord.py says that it is always known
    return frozenset(range(count or 0) if client.shard_ids is None else client.shard_ids)


def is_own(client: discord.AutoShardedClient, guild_id: int) -> bool:
    """Whether a server's shard is one of this process's; False before their number is known."""
    own = own_shards(client)
    return bool(own) and shard_of(guild_id, client.shard_count) in own
