"""Several shards in one process, and in several: each gets its own servers, and keeps its own connection."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import discord
import pytest

from bot.chat.transport.connection import stay_connected
from bot.chat.transport.request_throttle import RequestThrottle
from bot.chat.transport.shard_connections import IDENTIFY_INTERVAL_S, IdentifyTurns
from bot.chat.transport.sharded_client import ShardedClient
from bot.domain.errors import LoginRefused, StoreError
from bot.domain.schedule import Backoff
from bot.domain.shards import ShardRange, shard_of
from tests.discord_server import DiscordServer, logged_in, server_error
from tests.discord_server.gateway import GUILDS_MAX

SHORT_BACKOFF = Backoff(first_s=0.01, cap_s=0.01)


class Client(ShardedClient):
    """Waits for nothing but Discord."""

    reconnect_backoff = SHORT_BACKOFF
    identify_interval_s = 0.0

    def __init__(self, shards: ShardRange | None = None) -> None:
        super().__init__(
            intents=discord.Intents(guilds=True),
            shards=shards,
            throttle=RequestThrottle(backoff=SHORT_BACKOFF),
            guild_ready_timeout=0.05,
        )


@pytest.fixture
async def server() -> AsyncIterator[DiscordServer]:
    async with DiscordServer() as running:
        running.gateway.shards = 4
        yield running


@asynccontextmanager
async def connecting(client: Client, server: DiscordServer) -> AsyncIterator[asyncio.Task[None]]:
    """The client stays connected until the block ends."""
    async with logged_in(client, server):
        task = asyncio.create_task(stay_connected(client, SHORT_BACKOFF))
        try:
            yield task
        finally:
            await client.close()
            await asyncio.wait({task})


async def until_live(server: DiscordServer, shards: list[tuple[int, int]]) -> None:
    await server.state.until(lambda: server.gateway.live_shards() == shards)


async def test_a_client_connects_as_many_shards_as_discord_recommends(server: DiscordServer) -> None:
    guilds = [server.state.add_guild(f"In {number}", shard=(number, 4)) for number in range(4)]
    client = Client()
    async with connecting(client, server):
        await until_live(server, [(number, 4) for number in range(4)])
        await client.wait_until_ready()
        assert {guild.id for guild in client.guilds} >= {guild.id for guild in guilds}
        assert sorted(client.shards) == [0, 1, 2, 3]
        assert len(client.latencies) == 4


async def test_processes_divide_the_shards_and_know_their_own_servers(server: DiscordServer) -> None:
    guilds = [server.state.add_guild(f"In {number}", shard=(number, 4)) for number in range(4)]
    first, second = Client(ShardRange(0, 2, 4)), Client(ShardRange(3, 3, 4))
    async with connecting(first, server), connecting(second, server):
        await until_live(server, [(number, 4) for number in range(4)])
        await asyncio.gather(first.wait_until_ready(), second.wait_until_ready())
        for client, own in ((first, {0, 1, 2}), (second, {3})):
            assert {guild.id for guild in client.guilds} == {
                guild.id for guild in (server.guild, *guilds) if shard_of(guild.id, 4) in own
            }


async def test_a_lost_shard_is_resumed_while_the_others_go_on(server: DiscordServer) -> None:
    client = Client()
    async with connecting(client, server):
        await until_live(server, [(number, 4) for number in range(4)])
        await client.wait_until_ready()
        kept = [held for held in server.gateway.live if held.session and held.session.shard[0] != 2]
        server.gateway.drop(2)
        await server.state.until(lambda: len(server.gateway.connections) == 5)
        await until_live(server, [(number, 4) for number in range(4)])
        again = server.gateway.connections[-1]
        assert again.resume is not None
        assert all(held.open for held in kept)


async def test_a_session_that_starts_too_early_is_started_again(server: DiscordServer) -> None:
    """Two processes know nothing of each other's turns, unless they share a database."""
    server.gateway.identify_interval_s = 0.5
    async with connecting(Client(), server):
        await until_live(server, [(number, 4) for number in range(4)])
    assert server.gateway.refused > 0


async def test_too_many_servers_in_one_shard_are_explained(server: DiscordServer) -> None:
    for number in range(GUILDS_MAX):
        server.state.add_guild(f"Server {number}")
    async with connecting(Client(ShardRange(0, 0, 1)), server) as task:
        with pytest.raises(LoginRefused, match="4011"):
            await task


async def test_a_plain_client_is_refused_a_shard_that_does_not_exist(server: DiscordServer) -> None:
    client = discord.Client(intents=discord.Intents.none(), shard_id=2, shard_count=2)
    async with logged_in(client, server):
        with pytest.raises(discord.ConnectionClosed) as caught:
            await client.connect()
    assert caught.value.code == 4010


async def test_a_gateway_that_discord_does_not_name_yet_is_asked_for_again(server: DiscordServer) -> None:
    server.fail_next("GET", "/gateway/bot", server_error(503), times=3)
    async with connecting(Client(), server):
        await until_live(server, [(number, 4) for number in range(4)])


@dataclass
class ManualClock:
    """A clock that moves only when something sleeps."""

    now: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


async def test_sixteen_shards_of_sixteen_buckets_start_together_and_a_seventeenth_waits() -> None:
    clock = ManualClock()
    turns = IdentifyTurns(16, clock=clock, sleep=clock.sleep)
    for shard_id in range(16):
        async with turns.turn(shard_id):
            pass
    assert clock.slept == []
    async with turns.turn(16):
        assert clock.slept == pytest.approx([IDENTIFY_INTERVAL_S])


async def test_shards_of_one_bucket_start_one_after_the_other() -> None:
    clock = ManualClock()
    turns = IdentifyTurns(1, clock=clock, sleep=clock.sleep)
    for shard_id in range(3):
        async with turns.turn(shard_id):
            clock.now += 2  # a slow connection
    assert clock.slept == pytest.approx([IDENTIFY_INTERVAL_S] * 2)


async def test_the_turn_among_all_processes_is_waited_for_unless_the_database_fails() -> None:
    clock, asked = ManualClock(), list[int]()

    async def reserve(bucket: int) -> float:
        asked.append(bucket)
        if len(asked) > 1:
            raise StoreError("the server is away")
        return 3.0

    turns = IdentifyTurns(2, reserve=reserve, clock=clock, sleep=clock.sleep)
    for shard_id in (3, 4):
        async with turns.turn(shard_id):
            pass
    assert (asked, clock.slept) == ([1, 0], [3.0])
