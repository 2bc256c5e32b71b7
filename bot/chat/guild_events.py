"""Welcomes servers that the bot was invited to, and records those it left.

The welcome goes to the log channel, else the system channel, else to whoever invited the bot as a direct message.
This module only finds the channel; the store queues the message and marks the server as welcomed, all in one
transaction.
"""

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable, Coroutine
from datetime import datetime
from typing import Any

import discord
from discord.ext import commands

from bot.chat.posting import DISCORD_FAILED, is_missing
from bot.domain.guilds import Access, Guild
from bot.domain.notifications import Welcome
from bot.store.guilds.membership import MembershipStore
from bot.store.jobs.waiting_jobs import WaitingJobs

log = logging.getLogger(__name__)

DM_INTERVAL_S = 10.0
"""Between two direct messages that are opened. Discord blocks bots that open many quickly (its documentation of
Create DM names no number)."""

_AUDIT_ENTRIES = 25


class GuildEvents:
    """Handles servers that add or remove the bot."""

    def __init__(
        self,
        client: commands.Bot,
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
        self._opening_dm = asyncio.Lock()
        self._dm_opened_at: float | None = None
        self.caught_up = asyncio.Event()
        """Set while it is recorded which servers the bot has left; not while the gateway is disconnected."""
        self.fell_behind = asyncio.Event()
        """Set when the gateway disconnects; whoever waits for it clears it."""

    def attach(self) -> None:
        """Registers the listeners."""
        for listener in (
            self.on_guild_join,
            self.on_guild_remove,
            self.on_guild_available,
            self.on_ready,
            self.on_disconnect,
            self.on_resumed,
        ):
            self._client.add_listener(self._tracked(listener), listener.__name__)

    async def stop(self) -> None:
        """Cancels what is in progress and ignores what follows; the next start catches up on it."""
        self._stopping = True
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
        """The bot was invited. Before READY is complete, `on_ready` finds out by itself."""
        if not self._client.is_ready():
            return
        async with self._recording:
            await self._membership.joined(guild.id, self._clock())
        await self._welcome(guild)

    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """The bot was removed, or the server was deleted; an outage is a different event."""
        if not self._client.is_ready():
            return
        async with self._recording:
            await self._membership.left(guild.id, self._clock())
        await self._cancel_where_left_or_blocked()

    async def on_guild_available(self, guild: discord.Guild) -> None:
        """The server is available again after an outage, which may have begun before the bot started."""
        if self._client.is_ready():
            await self._welcome(guild)

    async def on_ready(self) -> None:
        """Discord has listed all servers: catches up on what was missed while the bot was offline."""
        # Whether this is a first start is judged before anything else is recorded.
        async with self._recording:
            present = {guild.id: guild for guild in self._client.guilds}
            await self._membership.reconcile(present, self._clock())
        self.caught_up.set()
        await self._cancel_where_left_or_blocked()
        for new in await self._membership.to_welcome(present):
            if not present[new.id].unavailable:
                await self._welcome(present[new.id])

    async def on_disconnect(self) -> None:
        """The gateway connection was lost, or one more attempt failed: servers can remove the bot unnoticed."""
        if self.caught_up.is_set():
            self.caught_up.clear()
            self.fell_behind.set()

    async def on_resumed(self) -> None:
        """The connection is back, and Discord has sent what was missed."""
        async with self._recording:  # after the servers that were left meanwhile
            self.caught_up.set()

    async def _cancel_where_left_or_blocked(self) -> None:
        if cancelled := await self._waiting_jobs.cancel_where_left_or_blocked(self._clock()):
            log.info("%d queued videos were cancelled: their server removed the bot or is blocked", cancelled)

    async def _welcome(self, guild: discord.Guild) -> None:
        found = await self._membership.to_welcome([guild.id])
        if not found:
            return
        try:
            channel_id = await self._welcome_channel_id(guild, found[0])
        except DISCORD_FAILED as error:
            if not is_missing(error):
                log.warning("server %d: the welcome is postponed: %s", guild.id, error)
                return
            log.warning("server %d: no channel for the welcome: %s", guild.id, error)
            channel_id = None
        welcome = Welcome(guild.name, self._is_allowed(found[0]))
        if await self._membership.welcome(guild.id, welcome, self._clock(), channel_id=channel_id):
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
