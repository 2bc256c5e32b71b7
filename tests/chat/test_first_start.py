"""Servers that the bot was in before its database, and the pace of the welcomes."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import discord
import pytest
from discord.ext import commands
from sqlalchemy import ColumnElement, Table, func, select

from bot.chat.guild_events import DM_INTERVAL_S, GuildEvents
from bot.chat.transport.sharded_client import ShardedClient
from bot.store.engine import Database
from bot.store.guilds.membership import MembershipStore
from bot.store.jobs.waiting_jobs import WaitingJobs
from bot.store.schema import guilds, notifications
from tests.discord_server import DiscordServer, Guild, connected

SERVERS = 500


def now() -> datetime:
    return datetime.now(UTC)


class Bot(ShardedClient, commands.AutoShardedBot):
    """Nothing but a client with listeners."""


class FirstStart:
    """A Discord with the first server and those that a test adds, and a new database."""

    def __init__(self, server: DiscordServer, database: Database) -> None:
        self.server = server
        self.database = database
        self.pauses_s: list[float] = []
        self.sleeping = asyncio.Event()
        self.users = 0
        self.asleep = self.most_asleep = 0

    async def sleep(self, seconds: float) -> None:
        """Returns once everybody else had the opportunity to sleep at the same time."""
        self.pauses_s.append(seconds)
        self.asleep += 1
        self.most_asleep = max(self.most_asleep, self.asleep)
        async with asyncio.timeout(60):
            while len(self.server.calls("GET", "/users/")) < self.users:
                await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        self.asleep -= 1

    async def sleep_forever(self, seconds: float) -> None:
        del seconds
        self.sleeping.set()
        await asyncio.Event().wait()

    @asynccontextmanager
    async def open(self, *, sleeps: bool = False) -> AsyncIterator[GuildEvents]:
        bot = Bot(
            commands.when_mentioned,
            intents=discord.Intents(guilds=True),
            help_command=None,
            guild_ready_timeout=0.05,
        )
        events = self.events(bot, sleeps=sleeps)
        events.attach()
        async with connected(bot, self.server):
            yield events
        await events.stop()

    def events(self, bot: Bot, *, sleeps: bool = False) -> GuildEvents:
        sleep = self.sleep_forever if sleeps else self.sleep
        members, jobs = MembershipStore(self.database), WaitingJobs(self.database)
        return GuildEvents(bot, members, jobs, open_to_all=True, wake=lambda: None, clock=now, sleep=sleep)

    def invite(self, name: str) -> Guild:
        guild = self.server.state.add_guild(name)
        self.server.invite(guild)
        return guild

    async def until_welcomed(self, count: int) -> None:
        """Returns once so many servers count as welcomed."""
        async with asyncio.timeout(60):
            while await self._count(guilds, guilds.c.welcomed_at.is_not(None)) < count:
                await asyncio.sleep(0)

    async def welcomes(self) -> int:
        return await self._count(notifications, notifications.c.kind == "welcome")

    async def _count(self, table: Table, where: ColumnElement[bool]) -> int:
        async with self.database.read() as connection:
            query = select(func.count()).select_from(table).where(where)
            return (await connection.execute(query)).scalar_one()


@pytest.fixture
async def first(migrated_file: Path, tmp_path: Path) -> AsyncIterator[FirstStart]:
    path = tmp_path / "zoetrope.db"
    shutil.copy(migrated_file, path)
    async with DiscordServer() as server, Database.open(f"sqlite:///{path}") as database:
        yield FirstStart(server, database)


async def test_servers_that_are_there_at_the_first_start_are_known(first: FirstStart) -> None:
    for number in range(SERVERS - 1):
        first.server.state.add_guild(f"Server {number}")
    async with first.open():
        await first.until_welcomed(SERVERS)
        assert await first.welcomes() == 0
        first.invite("New")
        await first.until_welcomed(SERVERS + 1)
    assert await first.welcomes() == 1
    async with first.open():
        first.invite("Newer")
        await first.until_welcomed(SERVERS + 2)
    assert await first.welcomes() == 2


async def test_a_server_that_joined_while_a_known_bot_was_offline_is_welcomed(first: FirstStart) -> None:
    async with first.open():
        await first.until_welcomed(1)
    first.server.state.add_guild("New")
    async with first.open():
        await first.until_welcomed(2)
    assert await first.welcomes() == 1


async def test_a_server_that_joins_before_the_first_ready_does_not_make_the_others_new(first: FirstStart) -> None:
    """A join or a removal that is recorded first would look like an earlier start."""
    early: Any = discord.Object(5)
    events = first.events(Bot(commands.when_mentioned, intents=discord.Intents(guilds=True), help_command=None))
    await events.on_guild_join(early)
    await events.on_guild_remove(early)
    async with first.open():
        await first.until_welcomed(1)
    assert await first.welcomes() == 0


async def test_direct_messages_are_opened_one_after_the_other(first: FirstStart) -> None:
    async with first.open():
        await first.until_welcomed(1)
        first.users = 4
        for number in range(4):
            first.invite(f"Server {number}")
        await first.until_welcomed(5)
    assert len(first.server.calls("POST", "/users/@me/channels")) == 4
    assert len(first.pauses_s) == 3
    assert all(0 < pause_s <= DM_INTERVAL_S for pause_s in first.pauses_s)
    assert first.most_asleep == 1


async def test_a_stop_does_not_wait_for_the_pace(first: FirstStart, caplog: pytest.LogCaptureFixture) -> None:
    async with first.open(sleeps=True):
        await first.until_welcomed(1)
        for number in range(2):
            first.invite(f"Server {number}")
        await first.sleeping.wait()
    assert not [record for record in caplog.records if record.exc_info]
    assert await first.welcomes() == 1
