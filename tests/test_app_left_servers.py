"""A server that removed the bot while it was not running or not connected: what waits there is not paid for."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.domain.jobs import FailureCause, FailureDetail, Frame, Job, JobState, NewJob, Order, new_job_id
from bot.domain.outcomes import Reschedule
from bot.domain.policy import Requester
from bot.domain.shards import Shard
from bot.operations.clock import utc_now
from bot.process import run
from bot.store.engine import Database
from bot.store.guilds.membership import MembershipStore
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance.file_watch import CHECK_INTERVAL_S
from bot.store.maintenance.migrate import migrate
from tests.discord_server import Channel, DiscordServer, refused
from tests.faulty_gateway import FaultyGateway
from tests.harness import ROOMY
from tests.store.factories import claim
from tests.test_app import KEY, LocalServices, sample_picture

pytestmark = pytest.mark.full

WITHIN_S = 60.0


class LeftServer:
    """A bot that was removed from a server while it was stopped, and a job that waits there."""

    def __init__(self, local: LocalServices, database: Database) -> None:
        self.local = local
        self.discord = local.discord
        self.store = JobStore(database, ROOMY)
        self.members = MembershipStore(database)

    async def set_up(self) -> None:
        leaves = self.discord.state.add_guild("Leaves")
        channel = self.discord.state.add_channel(leaves, "general")
        await self.members.reconcile(Shard(0, 1), [leaves.id, self.discord.guild.id], utc_now())
        self.left = await self.queued(channel, "nobody's")
        self.discord.remove_from(leaves)
        no_access = refused(403, 50001, "Missing Access")
        self.discord.fail_next("*", f"/channels/{channel.id}/*", no_access, times=1000)

    async def queued(self, channel: Channel, prompt: str, *, is_shown: bool = True) -> Job:
        """A queued job. is_shown: its status card needs no update, so it only waits for a slot."""
        place = channel.guild.id, channel.id, self.discord.member.id
        new = NewJob(new_job_id(), *place, Order(prompt))
        frame = Frame(await sample_picture(), "image/png")
        job = await self.store.add(new, frame, Requester(*place), utc_now())
        if is_shown:
            held = await claim(self.store, job.id, utc_now())
            assert await self.store.apply(held, Reschedule(None), utc_now())
        return job

    @asynccontextmanager
    async def running(self, ready_timeout_s: float) -> AsyncIterator[None]:
        """The whole bot, connected. ready_timeout_s: how long it waits for the gateway."""
        running = run(
            self.local.settings(), commands=True, file_check_s=CHECK_INTERVAL_S, ready_timeout_s=ready_timeout_s
        )
        bot = asyncio.create_task(running)
        try:
            yield
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            await bot

    async def until(self, job: Job, state: JobState) -> Job:
        async with asyncio.timeout(WITHIN_S):
            while (found := await self.store.get(job.id)) is None or found.state is not state:
                await asyncio.sleep(0.02)
        return found

    def paid_for(self) -> list[str]:
        """The prompts of what was submitted."""
        return [create.body["input"][0]["params"]["input"]["prompt"] for create in self.local.upstream.received]


@pytest.fixture
async def bot(tmp_path: Path) -> AsyncIterator[LeftServer]:
    async with DiscordServer() as discord, FaultyGateway(tmp_path / "upstream", KEY) as upstream:
        local = LocalServices(tmp_path, discord, upstream)
        async with Database.open(local.settings().database_url) as database:
            await migrate(database)
            bot = LeftServer(local, database)
            await bot.set_up()
            yield bot


async def test_what_waits_in_a_left_server_is_cancelled_before_anything_is_submitted(bot: LeftServer) -> None:
    gateway = bot.discord.gateway
    gateway.unresponsive = True
    other = await bot.queued(bot.discord.channel, "a heron", is_shown=False)
    async with bot.running(ready_timeout_s=WITHIN_S):
        # The worker has had its turn: what is free goes on without the gateway.
        await bot.discord.state.until(bot.discord.messages)
        await bot.discord.state.until(lambda: gateway.connections)
        assert bot.paid_for() == []

        gateway.unresponsive = False
        for connection in gateway.connections:
            assert connection.request.transport is not None
            connection.request.transport.abort()
        left = await bot.until(bot.left, JobState.CANCELLED)
        await bot.until(other, JobState.DELIVERED)

    assert (left.charged, left.failure_detail) == (False, FailureDetail(FailureCause.BOT_REMOVED))
    assert bot.paid_for() == ["a heron"]


async def test_without_the_gateway_only_what_discord_still_shows_is_submitted(bot: LeftServer) -> None:
    bot.discord.gateway.unresponsive = True
    other = await bot.queued(bot.discord.channel, "a heron")
    async with bot.running(ready_timeout_s=0.1):
        await bot.until(other, JobState.DELIVERED)
        left = await bot.until(bot.left, JobState.FAILED)

    assert not left.charged
    assert bot.paid_for() == ["a heron"]


@pytest.mark.parametrize("session", ["resumed", pytest.param("new", marks=pytest.mark.full)])
async def test_what_waits_in_a_server_that_is_left_while_the_gateway_is_away_is_cancelled(
    bot: LeftServer, session: str
) -> None:
    gateway, state = bot.discord.gateway, bot.discord.state
    leaves = state.add_guild("Leaves later")
    channel = state.add_channel(leaves, "general")
    async with bot.running(ready_timeout_s=10 * WITHIN_S):
        await bot.until(await bot.queued(bot.discord.channel, "a heron", is_shown=False), JobState.DELIVERED)
        connections = len(gateway.connections)
        gateway.unresponsive = True
        gateway.drop()
        await state.until(lambda: len(gateway.connections) > connections)
        bot.discord.remove_from(leaves)
        left = await bot.queued(channel, "a stork", is_shown=False)
        await state.until(lambda: bot.discord.messages(channel.id))

        if session == "new":
            gateway.sessions.clear()
        gateway.unresponsive = False
        for connection in gateway.connections[connections:]:
            assert connection.request.transport is not None
            connection.request.transport.abort()
        left = await bot.until(left, JobState.CANCELLED)
        await bot.until(await bot.queued(bot.discord.channel, "a crane", is_shown=False), JobState.DELIVERED)

    assert (left.charged, left.failure_detail) == (False, FailureDetail(FailureCause.BOT_REMOVED))
    assert bot.paid_for() == ["a heron", "a crane"]
