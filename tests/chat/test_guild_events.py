import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import discord
import pytest
from discord import Permissions
from discord.ext import commands

from bot.chat.guild_events import GuildEvents
from bot.chat.messages.notification_texts import render
from bot.chat.transport.delivery import DiscordNotificationSender
from bot.chat.transport.sharded_client import ShardedClient
from bot.domain.guilds import Access
from bot.domain.guilds import Guild as Known
from bot.domain.jobs import FailureCause, FailureDetail, JobState
from bot.domain.notifications import StoredNotification, Welcome
from bot.domain.shards import Shard, ShardRange
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.guilds.membership import MembershipStore
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.waiting_jobs import WaitingJobs
from bot.store.outbox.notifications import NotificationStore
from bot.worker.notifier import Notifier
from tests.discord_server import (
    Channel,
    DiscordServer,
    Guild,
    Message,
    Overwrite,
    connected,
    refused,
    server_error,
)
from tests.discord_server.models import MEMBER_PERMISSIONS
from tests.store.factories import add_waiting, next_job, read

SEND_DENIED = Overwrite(deny=Permissions(send_messages=True))
WITHIN_S = 60.0
ONLY_SHARD = Shard(0, 1)
WELCOME = Welcome("A server", allowed=True)


def now() -> datetime:
    return datetime.now(UTC)


class Bot(ShardedClient, commands.AutoShardedBot):
    """Nothing but a client with listeners."""


@dataclass
class GuildEventsHarness:
    """A small Discord, and the database that `GuildEvents` writes to."""

    server: DiscordServer
    database: Database

    @asynccontextmanager
    async def open(self, *, open_to_all: bool = True) -> AsyncIterator[Notifier]:
        """A connected bot with `GuildEvents`. Its notifier sends when the test says so."""
        bot = Bot(
            commands.when_mentioned,
            intents=discord.Intents(guilds=True),
            help_command=None,
            guild_ready_timeout=0.05,
        )
        guild_events = GuildEvents(
            bot,
            MembershipStore(self.database),
            WaitingJobs(self.database),
            open_to_all=open_to_all,
            wake=lambda: None,
            clock=now,
            sleep=asyncio.sleep,
        )
        guild_events.attach()
        async with connected(bot, self.server):
            yield Notifier(
                NotificationStore(self.database, render),
                DiscordNotificationSender(bot),
                operator_channel_id=None,
                clock=now,
                jitter=lambda: 0.0,
            )

    async def write(self, guild: Guild, **columns: object) -> None:
        async with self.database.write() as connection:
            await guild_settings.write(connection, guild.id, columns)

    async def known(self, guild: Guild) -> Known:
        async with self.database.read() as connection:
            return await guild_settings.get(connection, guild.id)

    async def welcomed(self, guild: Guild) -> Known:
        """What is known of the server, as soon as it is welcomed."""
        return await self._until(guild, lambda known: known.welcomed_at is not None)

    async def left(self, guild: Guild) -> Known:
        """What is known of the server, as soon as the bot has left it."""
        return await self._until(guild, lambda known: known.left_at is not None)

    async def returned(self, guild: Guild) -> Known:
        """What is known of the server, as soon as the bot is back and the server is welcomed."""
        return await self._until(guild, lambda known: known.left_at is None and known.welcomed_at is not None)

    async def _until(self, guild: Guild, wanted: Callable[[Known], bool]) -> Known:
        async with asyncio.timeout(WITHIN_S):
            while True:
                known = await self.known(guild)
                if wanted(known):
                    return known

    def greetings(self, channel: Channel) -> list[Message]:
        return [
            message for message in self.server.messages(channel.id) if "/video-admin settings" in message.content
        ]


@pytest.fixture
async def harness(migrated_file: Path, tmp_path: Path) -> AsyncIterator[GuildEventsHarness]:
    path = tmp_path / "zoetrope.db"
    shutil.copy(migrated_file, path)
    async with DiscordServer() as server, Database.open(f"sqlite:///{path}") as database:
        server.guild.system_channel_id = server.channel.id
        # Not the first start of this database: the bot was in no server then.
        await MembershipStore(database).reconcile(ONLY_SHARD, (), now())
        yield GuildEventsHarness(server, database)


async def test_an_invited_bot_posts_the_setup_commands_in_the_system_channel(harness: GuildEventsHarness) -> None:
    async with harness.open() as notifier:
        await harness.welcomed(harness.server.guild)
        await notifier.run_once()
        guild = harness.server.state.add_guild("Late & *Bold*")
        hall = harness.server.state.add_channel(guild, "hall")
        guild.system_channel_id = hall.id
        harness.server.invite(guild)
        await harness.welcomed(guild)
        await notifier.run_once()

    [message] = harness.greetings(hall)
    assert "Late & \\*Bold\\*" in message.content
    for command in ("log channel", "limits server", "roles allow", "channels allow", "settings", "pause"):
        assert f"`/video-admin {command}`" in message.content
    assert len(harness.greetings(harness.server.channel)) == 1


async def test_the_log_channel_is_preferred_to_the_system_channel(harness: GuildEventsHarness) -> None:
    log = harness.server.state.add_channel(harness.server.guild, "mod-log")
    await harness.write(harness.server.guild, log_channel_id=log.id)
    async with harness.open() as notifier:
        await harness.welcomed(harness.server.guild)
        await notifier.run_once()
    assert len(harness.greetings(log)) == 1
    assert harness.greetings(harness.server.channel) == []


@pytest.mark.parametrize("missing", ["none set", "closed to the bot", "gone"])
async def test_without_a_usable_channel_the_owner_gets_a_direct_message(
    harness: GuildEventsHarness, missing: str
) -> None:
    guild, bot = harness.server.guild, harness.server.state.bot
    if missing == "closed to the bot":
        harness.server.channel.overwrites[bot.id] = SEND_DENIED
    else:
        guild.system_channel_id = None if missing == "none set" else 1
    async with harness.open() as notifier:
        await harness.welcomed(guild)
        await notifier.run_once()
    assert len(harness.greetings(harness.server.state.direct(guild.owner))) == 1
    assert harness.greetings(harness.server.channel) == []


async def test_the_inviter_gets_the_direct_message_if_the_audit_log_is_readable(
    harness: GuildEventsHarness,
) -> None:
    may = Permissions(MEMBER_PERMISSIONS.value | Permissions(view_audit_log=True).value)
    guild = harness.server.state.add_guild("Elsewhere", bot_permissions=may)
    guild.inviter = harness.server.state.add_member(guild, "ada")
    async with harness.open() as notifier:
        await harness.welcomed(guild)
        await notifier.run_once()
    assert len(harness.greetings(harness.server.state.direct(guild.inviter))) == 1
    assert harness.greetings(harness.server.state.direct(guild.owner)) == []


async def test_an_owner_who_accepts_no_direct_messages_is_not_tried_again(harness: GuildEventsHarness) -> None:
    harness.server.guild.system_channel_id = None
    harness.server.fail_next(
        "POST", "/users/@me/channels", refused(403, 50007, "Cannot send messages to this user")
    )
    async with harness.open() as notifier:
        await harness.welcomed(harness.server.guild)
        assert await notifier.run_once() == 0


async def test_a_welcome_that_failed_with_a_server_error_is_retried_at_the_next_start(
    harness: GuildEventsHarness,
) -> None:
    harness.server.guild.system_channel_id = None
    harness.server.fail_next("POST", "/users/@me/channels", server_error(503))
    async with harness.open():
        await harness.server.state.until(lambda: harness.server.calls("POST", "/users/@me/channels"))
    assert (await harness.known(harness.server.guild)).welcomed_at is None
    async with harness.open() as notifier:
        await harness.welcomed(harness.server.guild)
        await notifier.run_once()
    assert len(harness.greetings(harness.server.state.direct(harness.server.guild.owner))) == 1


async def test_a_welcome_that_a_dead_process_did_not_send_is_sent_once_after_the_restart(
    harness: GuildEventsHarness,
) -> None:
    async with harness.open():
        await harness.welcomed(harness.server.guild)
    for _ in range(2):
        async with harness.open() as notifier:
            await notifier.run_once()
    assert len(harness.greetings(harness.server.channel)) == 1


async def test_concurrent_welcomes_of_a_server_take_effect_once(harness: GuildEventsHarness) -> None:
    store = MembershipStore(harness.database)
    tries = [store.welcome(5, WELCOME, now(), channel_id=55) for _ in range(5)]
    assert sorted(await asyncio.gather(*tries)) == [False] * 4 + [True]


@pytest.mark.parametrize(("away", "greetings"), [(timedelta(hours=23), 1), (timedelta(hours=25), 2)])
async def test_a_server_that_returns_after_a_day_is_welcomed_again(
    harness: GuildEventsHarness, away: timedelta, greetings: int
) -> None:
    guild = harness.server.guild
    async with harness.open() as notifier:
        await harness.welcomed(guild)
        await notifier.run_once()
        harness.server.remove_from(guild)
        await harness.left(guild)
        await harness.write(guild, left_at=now() - away)
        harness.server.state.guilds[guild.id] = guild
        harness.server.invite(guild)
        await harness.returned(guild)
        await notifier.run_once()
    assert len(harness.greetings(harness.server.channel)) == greetings


@pytest.mark.parametrize(("away", "welcomed"), [(timedelta(hours=23), True), (timedelta(hours=25), False)])
async def test_a_return_after_a_day_that_was_missed_is_welcomed_again(
    harness: GuildEventsHarness, away: timedelta, *, welcomed: bool
) -> None:
    store = MembershipStore(harness.database)
    await store.welcome(5, WELCOME, now(), channel_id=55)
    await store.reconcile(ONLY_SHARD, [], now() - away)
    assert (await store.reconcile(ONLY_SHARD, [5], now()) == frozenset()) == welcomed


async def test_a_server_that_joins_for_the_first_time_is_welcomed(harness: GuildEventsHarness) -> None:
    store = MembershipStore(harness.database)
    await store.joined(5, now())
    known = await store.unwelcomed(5)
    assert known is not None
    assert (known.id, known.left_at, known.welcomed_at) == (5, None, None)


async def test_what_waits_in_a_server_that_removed_the_bot_is_cancelled_for_free(
    harness: GuildEventsHarness,
) -> None:
    store = JobStore(harness.database)
    guild = harness.server.guild
    async with harness.open():
        await harness.welcomed(guild)
        paid = await add_waiting(store, now(), guild_id=guild.id)
        submitting = await next_job(store, now())
        assert submitting is not None
        queued = await add_waiting(store, now(), guild_id=guild.id)
        harness.server.remove_from(guild)
        await harness.left(guild)
        while (await read(store, queued)).state is JobState.QUEUED:
            await asyncio.sleep(0.01)
    cancelled = await read(store, queued)
    assert (cancelled.state, cancelled.charged) == (JobState.CANCELLED, False)
    assert cancelled.failure_detail == FailureDetail(FailureCause.BOT_REMOVED)
    assert (await read(store, paid)).state is JobState.SUBMITTING, "it may be paid for already"


async def test_servers_left_while_the_bot_was_offline_are_recorded_as_left_and_wait_for_nothing(
    harness: GuildEventsHarness,
) -> None:
    guild, stays = harness.server.guild, harness.server.state.add_guild("Stays")
    async with harness.open():
        await harness.welcomed(guild)
        await harness.welcomed(stays)
    store = JobStore(harness.database)
    kept, cancelled = [await add_waiting(store, now(), guild_id=one.id) for one in (stays, guild)]
    harness.server.remove_from(guild)
    async with harness.open():
        await harness.left(guild)
        while (await read(store, cancelled)).state is JobState.QUEUED:
            await asyncio.sleep(0.01)
    assert (await harness.known(stays)).left_at is None
    assert (await read(store, kept)).state is JobState.QUEUED


async def test_leaving_keeps_the_settings_and_the_first_time_of_leaving(harness: GuildEventsHarness) -> None:
    store, guild = MembershipStore(harness.database), harness.server.guild
    await harness.write(guild, paused=True)
    await store.left(guild.id, now())
    first = await harness.known(guild)
    await store.left(guild.id, now())
    await store.reconcile(ONLY_SHARD, [], now())
    assert await harness.known(guild) == first
    assert first.settings.paused


async def test_an_unavailable_server_is_not_recorded_as_left(harness: GuildEventsHarness) -> None:
    guild = harness.server.guild
    async with harness.open():
        await harness.welcomed(guild)
        harness.server.gateway.dispatch(
            "GUILD_DELETE", {"id": str(guild.id), "unavailable": True}, intent="guilds"
        )
        harness.server.remove_from(other := harness.server.state.add_guild("Elsewhere"))
        harness.server.state.guilds[other.id] = other
        harness.server.invite(other)
        await harness.welcomed(other)
    assert (await harness.known(guild)).left_at is None


@pytest.mark.parametrize(
    ("access", "rule", "may"),
    [
        (Access.OPEN, "open to all", True),
        (Access.OPEN, "if allowed", False),
        (Access.ALLOWED, "if allowed", True),
        (Access.BLOCKED, "open to all", False),
    ],
)
async def test_the_welcome_says_if_the_operator_does_not_allow_the_server(
    harness: GuildEventsHarness, access: Access, rule: str, *, may: bool
) -> None:
    await harness.write(harness.server.guild, access=access)
    async with harness.open(open_to_all=rule == "open to all") as notifier:
        await harness.welcomed(harness.server.guild)
        await notifier.run_once()
    [message] = harness.greetings(harness.server.channel)
    assert ("hasn't let this server" in message.content) != may


class HeldMembership(MembershipStore):
    """Records the first listing only once it is allowed to."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.may_record = asyncio.Event()
        self.begun = 0

    async def reconcile(self, shard: Shard, present: Collection[int], now: datetime) -> frozenset[int]:
        self.begun += 1
        await self.may_record.wait()
        self.may_record.clear()
        return await super().reconcile(shard, present, now)


async def test_a_listing_that_a_newer_one_has_overtaken_allows_no_submissions(
    harness: GuildEventsHarness,
) -> None:
    bot = Bot(commands.when_mentioned, intents=discord.Intents(guilds=True), shards=ShardRange(0, 0, 1))
    membership = HeldMembership(harness.database)
    events = GuildEvents(
        bot,
        membership,
        WaitingJobs(harness.database),
        open_to_all=True,
        wake=lambda: None,
        clock=now,
        sleep=asyncio.sleep,
    )
    older = asyncio.create_task(events.on_shard_listed(ONLY_SHARD, frozenset({1, 2})))
    newer = asyncio.create_task(events.on_shard_listed(ONLY_SHARD, frozenset({1})))
    await asyncio.sleep(0)
    membership.may_record.set()
    await older
    assert not events.caught_up.is_set()
    membership.may_record.set()
    await newer
    assert events.caught_up.is_set()
    assert membership.begun == 2


def test_the_welcome_fits_a_message_whatever_the_servers_name() -> None:
    [text] = render([StoredNotification("welcome", {"server_name": "*" * 100, "allowed": False})])
    assert len(text) < 2000
