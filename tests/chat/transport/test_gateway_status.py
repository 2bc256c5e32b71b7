"""What is said of connections that were never open: an alert needs to know of them."""

import discord
import pytest

from bot.chat.transport.client import RestClient
from bot.chat.transport.gateway_status import DiscordStatus, ShardStatus, discord_status
from bot.chat.transport.request_throttle import RequestThrottle
from bot.chat.transport.sharded_client import ShardedClient
from bot.domain.shards import ShardRange


@pytest.mark.parametrize(("shards", "numbers"), [(ShardRange(2, 3, 8), [2, 3]), (None, [0])])
async def test_shards_that_were_never_connected_are_not_connected(
    shards: ShardRange | None, numbers: list[int]
) -> None:
    client = ShardedClient(intents=discord.Intents(guilds=True), shards=shards)
    never = tuple(ShardStatus(number, is_connected=False, latency_s=None) for number in numbers)
    assert discord_status(client) == DiscordStatus(is_logged_in=False, is_ready=False, shards=never, servers=None)


async def test_a_client_that_only_posts_has_no_shards() -> None:
    assert discord_status(RestClient(RequestThrottle())).shards == ()
