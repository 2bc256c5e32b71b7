"""A Discord client whose shards are in this process, all or some of them, and whose servers take little memory."""

import asyncio
import logging
from typing import Any

import discord
from yarl import URL

from bot.chat.own_shards import own_shards
from bot.chat.transport.guild_cache import SlimState
from bot.chat.transport.request_throttle import RequestThrottle
from bot.chat.transport.shard_connections import (
    IDENTIFY_INTERVAL_S,
    GatewayPlan,
    IdentifyTurns,
    ReserveIdentify,
    ShardConnection,
    gateway_plan,
)
from bot.domain.schedule import Backoff
from bot.domain.shards import ShardRange

log = logging.getLogger(__name__)


class CleanClose(discord.Client):
    """A client that leaves nothing running when it is closed.

    discord.py's own close() doesn't cancel the tasks that wait for the servers after READY. Up to two seconds
    later, they would dispatch `ready` on an event loop that is already closed.
    """

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Called by discord.py for each event; ignored once the client is closed."""
        if not self.is_closed():
            super().dispatch(event, *args, **kwargs)

    async def close(self) -> None:
        """Closes the connection and cancels the tasks that wait for the servers."""
        await super().close()
        state: Any = self._connection  # discord.py has no public way
        waiting = {state._ready_task, *getattr(state, "_ready_tasks", {}).values()} - {None}  # noqa: SLF001
        for task in waiting:
            task.cancel()
        if waiting:
            await asyncio.wait(waiting)


class ShardedClient(CleanClose, discord.AutoShardedClient):
    """Connects the shards of `shards`, or as many as Discord asks for.

    throttle: of the client's requests. reserve_identify: set before it connects where other processes connect too.
    """

    throttle: RequestThrottle
    reserve_identify: ReserveIdentify | None = None
    reconnect_backoff = Backoff(first_s=2, cap_s=60)
    identify_interval_s = IDENTIFY_INTERVAL_S

    def __init__(
        self, *args: Any, shards: ShardRange | None = None, throttle: RequestThrottle | None = None, **options: Any
    ) -> None:
        """options: those of discord.py's client."""
        self.throttle = throttle or RequestThrottle()
        if shards is not None:
            options |= {"shard_ids": list(shards.ids), "shard_count": shards.count}
        super().__init__(*args, http_trace=self.throttle.trace(), **options)
        self._connecting: set[asyncio.Task[None]] = set()
        # Where discord.py's close() reports to its connect(). It sets it at the login only.
        self.__dict__["_AutoShardedClient__queue"] = asyncio.PriorityQueue()

    def _get_state(self, **options: Any) -> SlimState:
        """Called by discord.py."""
        return SlimState(
            dispatch=self.dispatch, handlers=self._handlers, hooks=self._hooks, http=self.http, **options
        )

    async def connect(self, *, reconnect: bool = True) -> None:
        """Connects all shards and keeps them connected until the client is closed.

        Raises: discord.ConnectionClosed if reconnecting is useless; what `gateway_plan` raises.
        """
        del reconnect  # always
        plan = await gateway_plan(self)
        self._follow(plan)
        turns = IdentifyTurns(
            plan.max_concurrency, reserve=self.reserve_identify, interval_s=self.identify_interval_s
        )
        connections = [
            ShardConnection(
                self, shard_id, URL(plan.url), turns, self.throttle, self._on_opened, self.reconnect_backoff
            )
            for shard_id in sorted(own_shards(self))
        ]
        tasks = self._connecting = {
            asyncio.create_task(connection.run(), name=f"shard {connection.id}") for connection in connections
        }
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await asyncio.gather(*(connection.close() for connection in connections))
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def close(self) -> None:
        """Closes all connections, and makes `connect` return."""
        await super().close()
        for task in self._connecting:
            task.cancel()

    def _follow(self, plan: GatewayPlan) -> None:
        if not own_shards(self):
            self.shard_count = plan.shards
        elif self.shard_count < plan.shards:
            log.warning(
                "Discord recommends %d shards for this bot; it has %d. Above 2,500 servers in one, Discord closes "
                "the connection.",
                plan.shards,
                self.shard_count,
            )
        own = own_shards(self)
        self._connection.shard_count = self.shard_count
        self._connection.shard_ids = sorted(own)
        self.throttle.allow_sessions(plan.sessions * len(own) // self.shard_count)
        log.info(
            "connecting %d of %d shards; %d sessions can be started today",
            len(own),
            self.shard_count,
            plan.sessions_left,
        )

    def _on_opened(self, connection: ShardConnection) -> None:
        shards: dict[int, Any] = self.__dict__["_AutoShardedClient__shards"]  # what `latency` and others go by
        shards[connection.id] = connection

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Called by discord.py before it starts a session. Its own pauses for five seconds."""
        del shard_id, initial
        await self.throttle.before_identify()
