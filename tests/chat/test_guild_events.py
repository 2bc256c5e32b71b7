import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
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
from bot.chat.transport.client import CleanClose
from bot.chat.transport.delivery import DiscordNotificationSender
from bot.domain.guilds import Access
from bot.domain.guilds import Guild as Known
from bot.domain.notifications import StoredNotification, Welcome
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.guilds.membership import MembershipStore
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

CLOSED = Overwrite(deny=Permissions(send_messages=True))
WITHIN_S = 60.0
HELLO = Welcome("A server", allowed=True)


def now() -> datetime:
    return datetime.now(UTC)


class Bot(CleanClose, commands.Bot):
    """Nothing but a client with listeners."""


@dataclass
class Doors:
    """A small Discord, and the database in which the doorkeeper writes."""

    server: DiscordServer
    database: Database

    @asynccontextmanager
    async def open(self, *, open_to_all: bool = True) -> AsyncIterator[Notifier]:
        """A bot at the door for as long as it is connected. Its crier tells when the test says so."""
        bot = Bot(
            commands.when_mentioned,
            intents=discord.Intents(guilds=True),
            help_command=None,
            guild_ready_timeout=0.05,
        )
        keeper = GuildEvents(
            bot, MembershipStore(self.database), open_to_all=open_to_all, wake=lambda: None, clock=now
        )
        keeper.attach()
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
        """What is known of the server, as soon as the bot is there again, and greeted as it may be."""
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
async def doors(migrated_file: Path, tmp_path: Path) -> AsyncIterator[Doors]:
    path = tmp_path / "zoetrope.db"
    shutil.copy(migrated_file, path)
    async with DiscordServer() as server, Database.open(f"sqlite:///{path}") as database:
        server.guild.system_channel_id = server.channel.id
        yield Doors(server, database)


async def test_an_invited_bot_says_in_the_system_channel_what_to_set(doors: Doors) -> None:
    async with doors.open() as crier:
        await doors.welcomed(doors.server.guild)
        await crier.run_once()
        guild = doors.server.state.add_guild("Late & *Bold*")
        hall = doors.server.state.add_channel(guild, "hall")
        guild.system_channel_id = hall.id
        doors.server.invite(guild)
        await doors.welcomed(guild)
        await crier.run_once()

    [message] = doors.greetings(hall)
    assert "Late & \\*Bold\\*" in message.content
    for command in ("log channel", "limits server", "roles allow", "channels allow", "settings", "pause"):
        assert f"`/video-admin {command}`" in message.content
    assert len(doors.greetings(doors.server.channel)) == 1


async def test_the_log_channel_comes_first(doors: Doors) -> None:
    log = doors.server.state.add_channel(doors.server.guild, "mod-log")
    await doors.write(doors.server.guild, log_channel_id=log.id)
    async with doors.open() as crier:
        await doors.welcomed(doors.server.guild)
        await crier.run_once()
    assert len(doors.greetings(log)) == 1
    assert doors.greetings(doors.server.channel) == []


@pytest.mark.parametrize("missing", ["none set", "closed to the bot", "gone"])
async def test_without_a_channel_the_owner_is_written_to(doors: Doors, missing: str) -> None:
    guild, bot = doors.server.guild, doors.server.state.bot
    if missing == "closed to the bot":
        doors.server.channel.overwrites[bot.id] = CLOSED
    else:
        guild.system_channel_id = None if missing == "none set" else 1
    async with doors.open() as crier:
        await doors.welcomed(guild)
        await crier.run_once()
    assert len(doors.greetings(doors.server.state.direct(guild.owner))) == 1
    assert doors.greetings(doors.server.channel) == []


async def test_who_invited_the_bot_is_written_to_where_it_may_know(doors: Doors) -> None:
    may = Permissions(MEMBER_PERMISSIONS.value | Permissions(view_audit_log=True).value)
    guild = doors.server.state.add_guild("Elsewhere", bot_permissions=may)
    guild.inviter = doors.server.state.add_member(guild, "ada")
    async with doors.open() as crier:
        await doors.welcomed(guild)
        await crier.run_once()
    assert len(doors.greetings(doors.server.state.direct(guild.inviter))) == 1
    assert doors.greetings(doors.server.state.direct(guild.owner)) == []


async def test_an_owner_who_takes_no_messages_is_not_asked_again(doors: Doors) -> None:
    doors.server.guild.system_channel_id = None
    doors.server.fail_next("POST", "/users/@me/channels", refused(403, 50007, "Cannot send messages to this user"))
    async with doors.open() as crier:
        await doors.welcomed(doors.server.guild)
        assert await crier.run_once() == 0


async def test_an_ill_discord_is_tried_again_at_the_next_start(doors: Doors) -> None:
    doors.server.guild.system_channel_id = None
    doors.server.fail_next("POST", "/users/@me/channels", server_error(503))
    async with doors.open():
        await doors.server.state.until(lambda: doors.server.calls("POST", "/users/@me/channels"))
    assert (await doors.known(doors.server.guild)).welcomed_at is None
    async with doors.open() as crier:
        await doors.welcomed(doors.server.guild)
        await crier.run_once()
    assert len(doors.greetings(doors.server.state.direct(doors.server.guild.owner))) == 1


async def test_a_process_that_died_before_telling_tells_once_after_its_restart(doors: Doors) -> None:
    async with doors.open():
        await doors.welcomed(doors.server.guild)
    for _ in range(2):
        async with doors.open() as crier:
            await crier.run_once()
    assert len(doors.greetings(doors.server.channel)) == 1


async def test_a_server_is_welcomed_once_though_two_see_it_at_once(doors: Doors) -> None:
    store = MembershipStore(doors.database)
    tries = [store.welcome(5, HELLO, now(), channel_id=55) for _ in range(5)]
    assert sorted(await asyncio.gather(*tries)) == [False] * 4 + [True]


@pytest.mark.parametrize(("away", "greetings"), [(timedelta(hours=23), 1), (timedelta(hours=25), 2)])
async def test_who_comes_back_is_welcomed_again_after_a_day(doors: Doors, away: timedelta, greetings: int) -> None:
    guild = doors.server.guild
    async with doors.open() as crier:
        await doors.welcomed(guild)
        await crier.run_once()
        doors.server.remove_from(guild)
        await doors.left(guild)
        await doors.write(guild, left_at=now() - away)
        doors.server.state.guilds[guild.id] = guild
        doors.server.invite(guild)
        await doors.returned(guild)
        await crier.run_once()
    assert len(doors.greetings(doors.server.channel)) == greetings


@pytest.mark.parametrize(("away", "welcomed"), [(timedelta(hours=23), True), (timedelta(hours=25), False)])
async def test_so_it_is_where_leaving_and_coming_back_were_missed(
    doors: Doors, away: timedelta, *, welcomed: bool
) -> None:
    store = MembershipStore(doors.database)
    await store.welcome(5, HELLO, now(), channel_id=55)
    await store.reconcile([], now() - away)
    await store.reconcile([5], now())

    assert (await store.to_welcome([5]) == []) == welcomed


async def test_a_first_visit_is_welcomed(doors: Doors) -> None:
    store = MembershipStore(doors.database)
    await store.joined(5, now())
    [known] = await store.to_welcome([5])
    assert (known.id, known.left_at, known.welcomed_at) == (5, None, None)


async def test_servers_that_were_left_while_the_bot_was_away_are_noted(doors: Doors) -> None:
    guild, stays = doors.server.guild, doors.server.state.add_guild("Stays")
    async with doors.open():
        await doors.welcomed(guild)
        await doors.welcomed(stays)
    doors.server.remove_from(guild)
    async with doors.open():
        await doors.left(guild)
    assert (await doors.known(stays)).left_at is None


async def test_leaving_keeps_what_was_set_and_the_first_moment(doors: Doors) -> None:
    store, guild = MembershipStore(doors.database), doors.server.guild
    await doors.write(guild, paused=True)
    await store.left(guild.id, now())
    first = await doors.known(guild)
    await store.left(guild.id, now())
    await store.reconcile([], now())
    assert await doors.known(guild) == first
    assert first.settings.paused


async def test_a_server_in_an_outage_has_not_been_left(doors: Doors) -> None:
    guild = doors.server.guild
    async with doors.open():
        await doors.welcomed(guild)
        doors.server.gateway.dispatch("GUILD_DELETE", {"id": str(guild.id), "unavailable": True}, intent="guilds")
        doors.server.remove_from(other := doors.server.state.add_guild("Elsewhere"))
        doors.server.state.guilds[other.id] = other
        doors.server.invite(other)
        await doors.welcomed(other)
    assert (await doors.known(guild)).left_at is None


@pytest.mark.parametrize(
    ("access", "rule", "may"),
    [
        (Access.OPEN, "open to all", True),
        (Access.OPEN, "by leave", False),
        (Access.ALLOWED, "by leave", True),
        (Access.BLOCKED, "open to all", False),
    ],
)
async def test_a_server_that_the_operator_does_not_let_in_is_told_so(
    doors: Doors, access: Access, rule: str, *, may: bool
) -> None:
    await doors.write(doors.server.guild, access=access)
    async with doors.open(open_to_all=rule == "open to all") as crier:
        await doors.welcomed(doors.server.guild)
        await crier.run_once()
    [message] = doors.greetings(doors.server.channel)
    assert ("hasn't let this server" in message.content) != may


def test_the_welcome_fits_however_the_server_is_called() -> None:
    [text] = render([StoredNotification("welcome", {"server_name": "*" * 100, "allowed": False})])
    assert len(text) < 2000
