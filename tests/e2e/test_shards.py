"""Several gateway processes, each with some shards, and a worker of its own, on one PostgreSQL."""

import asyncio
import signal
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import select

from bot.store.engine import Database
from bot.store.schema import guilds, listed_shards
from tests.cogs.conftest import sample_picture
from tests.discord_server import Channel, DiscordServer, Guild, Interaction, User
from tests.e2e.test_processes import KEY, BotProcesses
from tests.faulty_gateway import FaultyGateway
from tests.store import postgres_server

pytestmark = [pytest.mark.full, pytest.mark.timeout(900)]

WITHIN_S = 240.0
COUNT = 2


@dataclass
class Place:
    """A server in one shard, a channel and a member there."""

    guild: Guild
    channel: Channel
    member: User


@dataclass
class Cluster:
    """The processes, their Discord and their database."""

    processes: BotProcesses
    url: str
    places: list[Place]
    running: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def discord(self) -> DiscordServer:
        return self.processes.discord

    async def start(self, *command: str) -> Process:
        """Starts a process that runs until the end, or until it is told to stop."""
        return await self.running.enter_async_context(self.processes.start(*command, DATABASE_URL=self.url))

    async def gateway(self, number: int) -> Process:
        return await self.start("run", "--shards", f"{number}/{COUNT}", "--no-worker")

    async def until_live(self, *numbers: int) -> None:
        wanted = [(number, COUNT) for number in numbers]
        await self.discord.state.until(lambda: self.discord.gateway.live_shards() == wanted, timeout_s=WITHIN_S)

    async def order(self, place: Place) -> Interaction:
        async with asyncio.timeout(WITHIN_S):
            return await self.discord.slash(
                "animate",
                place.member,
                place.channel,
                options={"prompt": "waves roll in"},
                attachments={"image": sample_picture()},
            )

    async def until_delivered(self, place: Place, count: int) -> None:
        def delivered() -> bool:
            messages = self.discord.messages(place.channel.id)
            videos = [message for message in messages if message.has_video]
            return len(videos) == count and not any(message.is_status_card for message in messages)

        await self.discord.state.until(delivered, timeout_s=WITHIN_S)

    async def left(self) -> list[int]:
        async with Database.open(self.url) as database, database.read() as connection:
            return list(await connection.scalars(select(guilds.c.id).where(guilds.c.left_at.is_not(None))))

    async def until_listed(self) -> None:
        """Until it is recorded which servers each shard has; before that, none can be seen to leave or to come."""
        async with asyncio.timeout(WITHIN_S), Database.open(self.url) as database:
            while await self._listed(database) < COUNT:
                await asyncio.sleep(0.1)

    async def _listed(self, database: Database) -> int:
        async with database.read() as connection:
            return len((await connection.scalars(select(listed_shards.c.id))).all())

    def callbacks(self, interaction: Interaction) -> int:
        return len(self.discord.calls("POST", f"/interactions/{interaction.id}/"))


@pytest.fixture
def url() -> Iterator[str]:
    with postgres_server.running() as url:
        yield url


@pytest.fixture
async def cluster(url: str, tmp_path: Path) -> AsyncIterator[Cluster]:
    async with DiscordServer() as discord, FaultyGateway(tmp_path / "upstream", KEY) as upstream:
        places = []
        for number in range(COUNT):
            guild = discord.state.add_guild(f"In shard {number}", shard=(number, COUNT))
            channel = discord.state.add_channel(guild, "videos")
            places.append(Place(guild, channel, discord.state.add_member(guild, f"member {number}")))
        discord.gateway.identify_interval_s = 0.5
        cluster = Cluster(BotProcesses(tmp_path, discord, upstream), url, places)
        async with cluster.running:
            yield cluster


async def stop(process: Process) -> None:
    """Ends a process as a restart does."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(WITHIN_S):
        _, log = await process.communicate()
    assert process.returncode == 0, log.decode()
    assert b"Traceback" not in log, log.decode()


async def test_gateways_answer_for_their_shards_through_a_rolling_restart(cluster: Cluster) -> None:
    first, second = cluster.places
    processes = [await cluster.gateway(number) for number in range(COUNT)]
    await cluster.until_live(0, 1)
    await cluster.start("worker")

    orders = [await cluster.order(first), await cluster.order(second)]
    for place in cluster.places:
        await cluster.until_delivered(place, 1)
    assert [cluster.callbacks(order) for order in orders] == [1, 1], "each is answered by one process"

    # A lost connection of one shard.
    cluster.discord.gateway.drop(0)
    await cluster.discord.state.until(
        lambda: any(held.resume for held in cluster.discord.gateway.connections), timeout_s=WITHIN_S
    )
    await cluster.until_live(0, 1)
    await cluster.order(first)
    await cluster.until_delivered(first, 2)

    # A rolling restart while videos are ordered.
    await cluster.order(second)
    for number, process in enumerate(processes):
        await cluster.order(cluster.places[1 - number])
        await stop(process)
        await cluster.until_live(1 - number)
        await cluster.gateway(number)
        await cluster.until_live(0, 1)
    await cluster.until_delivered(first, 3)
    await cluster.until_delivered(second, 3)
    assert len(cluster.processes.upstream.received) == 6, "each video is made once"
    assert await cluster.left() == []


async def test_each_process_judges_its_own_servers_even_if_they_come_late(cluster: Cluster) -> None:
    first, second = cluster.places
    cluster.discord.gateway.pause_after = 0
    processes = [await cluster.gateway(number) for number in range(COUNT)]
    await cluster.until_live(0, 1)
    await cluster.start("worker")
    late = await cluster.order(second)
    answer = await late.answer(timeout_s=WITHIN_S)
    assert "just starting up" in answer.content
    cluster.discord.gateway.resume_guilds()
    await cluster.until_listed()
    for process in processes:
        await stop(process)
    assert await cluster.left() == []

    # One server leaves while nobody is connected, and another comes.
    del cluster.discord.state.guilds[first.guild.id]
    new = cluster.discord.state.add_guild("New", shard=(1, COUNT))
    hall = cluster.discord.state.add_channel(new, "hall")
    new.system_channel_id = hall.id
    cluster.discord.gateway.pause_after = None
    for number in range(COUNT):
        await cluster.gateway(number)
    async with asyncio.timeout(WITHIN_S):
        while await cluster.left() != [first.guild.id] or not cluster.discord.messages(hall.id):
            await asyncio.sleep(0.1)
    assert len(cluster.discord.messages(hall.id)) == 1, "one welcome"
