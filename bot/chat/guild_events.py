"""Welcomes servers that the bot was invited to, and records those it left.

The welcome goes to the log channel, else the system channel, else to whoever invited the bot as a direct message.
This module only finds the channel; the store queues the message and marks the server as welcomed, all in one
transaction.

Which servers the bot is in is what READY lists, for each shard of this process. Whether they are available then,
and when they arrive, makes no difference.
"""

import asyncio
import functools
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

import discord
from discord.ext import commands

from bot.chat.own_shards import own_shards
from bot.chat.posting import DISCORD_FAILED, is_missing
from bot.domain.errors import StoreError
from bot.domain.guilds import Access, Guild
from bot.domain.notifications import Welcome
from bot.domain.schedule import Backoff
from bot.domain.shards import Shard
from bot.store.guilds.membership import Description, MembershipStore
from bot.store.jobs.waiting_jobs import WaitingJobs

log = logging.getLogger(__name__)

DM_INTERVAL_S = 10.0
"""Between two direct messages that are opened. Discord blocks bots that open many quickly (its documentation of
Create DM names no number)."""

_AUDIT_ENTRIES = 25

_STORE_BACKOFF = Backoff(first_s=1, cap_s=30)

T = TypeVar("T")


class GuildEvents:
    """Handles servers that add or remove the bot."""

    describe_after_s = 1.0
    """How long servers' names are gathered before they are recorded together."""

    def __init__(
        self,
        client: commands.AutoShardedBot,
        membership: MembershipStore,
        waiting_jobs: WaitingJobs,
        *,
        open_to_all: bool,
        wake: Callable[[], None],
        clock: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        """open_to_all: whether a server that the operator neither allowed nor blocked can make videos.

        sleep: pauses between two direct messages that are opened.
        """
        self._client = client
        self._membership = membership
        self._waiting_jobs = waiting_jobs
        self._open_to_all = open_to_all
        self._wake = wake
        self._clock = clock
        self._sleep = sleep
        self._tasks: set[asyncio.Task[Any]] = set()
        self._stopping = False
        self._recording = asyncio.Lock()
        self._connected: set[int] = set()
        self._recorded: set[int] = set()
        self._unwelcomed: set[int] = set()
        self._listings: Counter[int] = Counter()
        self._described: dict[int, Description] = {}
        self._describing = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None
        self._opening_dm = asyncio.Lock()
        self._dm_opened_at: float | None = None
        self.caught_up = asyncio.Event()
        """Set while it is recorded which servers of this process's shards the bot has left; not while one of them
        is disconnected."""
        self.fell_behind = asyncio.Event()
        """Set when a shard disconnects; whoever waits for it clears it."""

    def attach(self) -> None:
        """Registers the listeners."""
        for listener in (
            self.on_guild_join,
            self.on_guild_remove,
            self.on_guild_available,
            self.on_guild_described,
            self.on_shard_listed,
            self.on_shard_disconnect,
            self.on_shard_resumed,
        ):
            self._client.add_listener(self._tracked(listener), listener.__name__)

    async def stop(self) -> None:
        """Cancels what is in progress and ignores what follows; the next start catches up on it."""
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _tracked(self, listener: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., Any]:
        @functools.wraps(listener)
        async def handle(*args: Any) -> None:
            if self._stopping:
                return
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - discord.py starts one for each event
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            await listener(*args)

        return handle

    async def on_guild_join(self, guild: discord.Guild) -> None:
        """The bot was invited."""
        async with self._recording:
            await self._persist(lambda: self._membership.joined(guild.id, self._clock()))
        await self._welcome(guild.id)

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """The bot was removed, or the server was deleted; an outage is a different event."""
        self._unwelcomed.discard(guild.id)
        async with self._recording:
            await self._persist(lambda: self._membership.left(guild.id, self._clock()))
        await self._cancel_where_left_or_blocked()

    async def on_guild_available(self, guild: discord.Guild) -> None:
        """A server that READY listed has arrived, perhaps after an outage which began before the bot started."""
        if guild.id in self._unwelcomed:
            await self._welcome(guild.id)

    async def on_guild_described(self, guild_id: int, name: str, channel_id: int | None) -> None:
        """A server's name or system channel may have changed."""
        self._described[guild_id] = Description(name, channel_id)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.describe_after_s, self._start_describing)

    def _start_describing(self) -> None:
        self._timer = None
        if not self._stopping:
            task = asyncio.create_task(self._describe())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _describe(self) -> None:
        async with self._describing:  # what came first is written first
            found, self._described = self._described, {}
            await self._persist(partial(self._membership.describe, found))

    async def on_shard_listed(self, shard: Shard, guild_ids: frozenset[int]) -> None:
        """READY has listed all servers of a shard: catches up on what was missed while it was disconnected."""
        self._connected.add(shard.id)
        self._recorded.discard(shard.id)
        self._listings[shard.id] += 1
        listing = self._listings[shard.id]
        async with self._recording:
            unwelcomed = await self._persist(lambda: self._membership.reconcile(shard, guild_ids, self._clock()))
            self._unwelcomed = {id_ for id_ in self._unwelcomed if not shard.holds(id_)} | unwelcomed
            if listing == self._listings[shard.id]:  # else a newer one waits to be recorded
                self._recorded.add(shard.id)
                self._see_whether_caught_up()
        await self._cancel_where_left_or_blocked()
        for guild_id in unwelcomed:
            await self._welcome(guild_id)

    async def on_shard_disconnect(self, shard_id: int) -> None:
        """A connection was lost, or one more attempt failed: servers can remove the bot unnoticed."""
        self._connected.discard(shard_id)
        self._see_whether_caught_up()

    async def on_shard_resumed(self, shard_id: int) -> None:
        """The connection is back, and Discord has sent what was missed."""
        async with self._recording:  # after the servers that were left meanwhile
            self._connected.add(shard_id)
            self._see_whether_caught_up()

    def _see_whether_caught_up(self) -> None:
        own = own_shards(self._client)
        if own and own <= self._connected & self._recorded:
            self.caught_up.set()
        elif self.caught_up.is_set():
            self.caught_up.clear()
            self.fell_behind.set()

    async def _persist(self, write: Callable[[], Awaitable[T]]) -> T:
        """What `write` returns, as soon as the database takes it: Discord says it only once."""
        failures = 0
        while True:
            try:
                return await write()
            except StoreError as error:
                log.warning("which servers the bot is in can't be recorded yet: %s", error)
                await asyncio.sleep(_STORE_BACKOFF.pause_s(failures, jitter=random.random()))  # noqa: S311
                failures += 1

    async def _cancel_where_left_or_blocked(self) -> None:
        if cancelled := await self._waiting_jobs.cancel_where_left_or_blocked(self._clock()):
            log.info("%d queued videos were cancelled: their server removed the bot or is blocked", cancelled)

    async def _welcome(self, guild_id: int) -> None:
        """Welcomes a server that wasn't welcomed yet, as soon as it is available."""
        guild = self._client.get_guild(guild_id)
        if guild is None or guild.unavailable:
            return
        self._unwelcomed.discard(guild_id)
        found = await self._persist(lambda: self._membership.unwelcomed(guild_id))
        if found is None:
            return
        try:
            channel_id = await self._welcome_channel_id(guild, found)
        except DISCORD_FAILED as error:
            if not is_missing(error):
                log.warning("server %d: the welcome is postponed: %s", guild.id, error)
                self._unwelcomed.add(guild_id)
                return
            log.warning("server %d: no channel for the welcome: %s", guild.id, error)
            channel_id = None
        welcome = Welcome(guild.name, self._is_allowed(found))
        welcoming = partial(self._membership.welcome, guild.id, welcome, self._clock(), channel_id=channel_id)
        if await self._persist(welcoming):
            log.info("server %d: welcome queued", guild.id)
            self._wake()

    def _is_allowed(self, guild: Guild) -> bool:
        return guild.access is Access.ALLOWED or (guild.access is Access.OPEN and self._open_to_all)

    async def _welcome_channel_id(self, guild: discord.Guild, known: Guild) -> int | None:
        log_channel_id = known.settings.log_channel_id
        log_channel = None if log_channel_id is None else guild.get_channel_or_thread(log_channel_id)
        for channel in (log_channel, guild.system_channel):
            if channel is not None and _may_send(channel):
                return channel.id
        inviter_id = await self._inviter_id(guild)
        if inviter_id is None:
            return None
        user = self._client.get_user(inviter_id) or await self._client.fetch_user(inviter_id)
        return await self._open_dm(user)

    async def _open_dm(self, user: discord.User) -> int:
        """The id of the direct message channel; opened at some distance from the last one."""
        async with self._opening_dm:
            now_s = asyncio.get_running_loop().time()
            if self._dm_opened_at is not None and now_s - self._dm_opened_at < DM_INTERVAL_S:
                await self._sleep(self._dm_opened_at + DM_INTERVAL_S - now_s)
            self._dm_opened_at = asyncio.get_running_loop().time()
            return (await user.create_dm()).id

    async def _inviter_id(self, guild: discord.Guild) -> int | None:
        """Who invited the bot, if it may read the audit log; else the server's owner."""
        me = self._client.user
        if me is not None and guild.me.guild_permissions.view_audit_log:
            async for entry in guild.audit_logs(action=discord.AuditLogAction.bot_add, limit=_AUDIT_ENTRIES):
                if entry.user_id is not None and getattr(entry.target, "id", None) == me.id:
                    return entry.user_id
        return guild.owner_id


def _may_send(channel: discord.abc.GuildChannel | discord.Thread) -> bool:
    rights = channel.permissions_for(channel.guild.me)
    in_thread = isinstance(channel, discord.Thread)
    return rights.view_channel and (rights.send_messages_in_threads if in_thread else rights.send_messages)
