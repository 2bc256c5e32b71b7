"""One gateway connection for each shard of this process, each kept through failures without disturbing the others.

discord.py's own sharded client opens and reopens its shards one after the other, waits five seconds for each, and
closes all of them and the REST client when one message can't be read.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import discord
from discord.gateway import DiscordWebSocket, ReconnectWebSocket
from yarl import URL

from bot.chat.posting import DISCORD_FAILED
from bot.chat.transport.request_throttle import RequestThrottle
from bot.domain.errors import StoreError
from bot.domain.schedule import Backoff

log = logging.getLogger(__name__)

IDENTIFY_INTERVAL_S = 5.2
"""Between two IDENTIFYs of one bucket; Discord allows one in five seconds (its documentation, "Rate Limiting" of
sharding: shards whose numbers leave the same remainder by `max_concurrency` share a bucket)."""

OPEN_TIMEOUT_S = 60.0
"""How long a connection may take from the first packet to IDENTIFY or RESUME."""

FATAL_CODES = frozenset({4004, 4010, 4011, 4012, 4013, 4014})
"""Close codes after which reconnecting is useless (Discord's documentation, "Gateway Close Event Codes")."""

ReserveIdentify = Callable[[int], Awaitable[float]]
"""Takes the next turn in a bucket that other processes use too; returns how many seconds away it is."""


@dataclass(frozen=True, slots=True)
class GatewayPlan:
    """How Discord says that a bot connects. sessions_left: IDENTIFYs that are allowed before the day is over."""

    url: str
    shards: int
    max_concurrency: int
    sessions: int
    sessions_left: int


async def gateway_plan(client: discord.Client) -> GatewayPlan:
    """Asks Discord. Raises: what discord.py raises, `bot.chat.posting.DISCORD_FAILED` and `UNREADABLE`."""
    shards, url, limits = await client.http.get_bot_gateway()
    return GatewayPlan(url, shards, max(1, limits["max_concurrency"]), limits["total"], limits["remaining"])


class IdentifyTurns:
    """Lets one shard of each bucket start its session at a time. reserve: among all processes; None alone."""

    def __init__(
        self,
        max_concurrency: int,
        *,
        reserve: ReserveIdentify | None = None,
        interval_s: float = IDENTIFY_INTERVAL_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._max_concurrency = max_concurrency
        self._reserve = reserve
        self._interval_s = interval_s
        self._clock = clock
        self._sleep = sleep
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._next_at: dict[int, float] = {}

    @asynccontextmanager
    async def turn(self, shard_id: int) -> AsyncIterator[None]:
        """The block opens a connection and ends once IDENTIFY is sent."""
        bucket = shard_id % self._max_concurrency
        async with self._locks[bucket]:
            await self._sleep_until(self._next_at.get(bucket, 0.0))
            reserved_s = await self._reserved_s(bucket)
            await self._sleep_until(self._clock() + reserved_s)
            try:
                yield
            finally:
                self._next_at[bucket] = self._clock() + self._interval_s

    async def _reserved_s(self, bucket: int) -> float:
        """In how many seconds the turn among all processes is. Discord has the last word anyway."""
        if self._reserve is None:
            return 0.0
        try:
            return await self._reserve(bucket)
        except StoreError as error:
            log.warning("the start of a session can't be agreed with other processes: %s", error)
            return 0.0

    async def _sleep_until(self, at: float) -> None:
        if (pause_s := at - self._clock()) > 0:
            await self._sleep(pause_s)


class ShardConnection:
    """One shard's connection. `id`, `ws` and `close` are what discord.py asks of a shard."""

    ws: DiscordWebSocket

    def __init__(
        self,
        client: discord.Client,
        shard_id: int,
        gateway: URL,
        turns: IdentifyTurns,
        throttle: RequestThrottle,
        opened: Callable[["ShardConnection"], None],
        backoff: Backoff,
    ) -> None:
        """opened: called as soon as there is a `ws`."""
        self.id = shard_id
        self._client = client
        self._gateway = gateway
        self._turns = turns
        self._throttle = throttle
        self._opened = opened
        self._backoff = backoff
        self._known: DiscordWebSocket | None = None

    async def run(self) -> None:
        """Stays connected until the client is closed. Raises: discord.ConnectionClosed with a fatal code."""
        failures, resume = 0, False
        while not self._client.is_closed():
            try:
                await self._open(resume=resume)
                while True:
                    await self.ws.poll_event()
                    failures = 0
            except ReconnectWebSocket as error:
                self._lost()
                resume = error.resume
                if not resume:  # as Discord asks for, after an invalid session
                    await asyncio.sleep(self._backoff.pause_s(0, jitter=random.random()))  # noqa: S311
                continue
            except discord.ConnectionClosed as error:
                self._lost()
                if error.code in FATAL_CODES:
                    raise
                resume = self._known is not None
            except (*DISCORD_FAILED, discord.GatewayNotFound) as error:
                self._lost()
                log.warning("shard %d: the gateway connection was lost: %r", self.id, error)
                resume = self._known is not None
            except Exception:  # a message that can't be read: the session may be damaged
                self._lost()
                log.warning("shard %d: a message of the gateway can't be read", self.id, exc_info=True)
                await self.close(code=4000)
                resume = False
            if self._client.is_closed():
                return
            pause_s = self._backoff.pause_s(failures, jitter=random.random())  # noqa: S311 - spreads load, no secret
            failures += 1
            await asyncio.sleep(pause_s)

    async def close(self, *, code: int = 1000) -> None:
        """Closes the connection, if there is one."""
        if self._known is not None:
            with contextlib.suppress(*DISCORD_FAILED, RuntimeError):
                await self._known.close(code=code)

    async def _open(self, *, resume: bool) -> None:
        await self._throttle.before_connection(self.id)
        known = self._known
        if resume and known is not None and known.session_id is not None:
            session: dict[str, Any] = {"session": known.session_id, "sequence": known.sequence, "resume": True}
            await self._connect(known.gateway, session)
            return
        async with self._turns.turn(self.id):
            await self._connect(self._gateway, {})

    async def _connect(self, gateway: URL, session: dict[str, Any]) -> None:
        async with asyncio.timeout(OPEN_TIMEOUT_S):
            self.ws = await DiscordWebSocket.from_client(
                self._client, gateway=gateway, shard_id=self.id, initial=True, **session
            )
        self._known = self.ws
        self._opened(self)

    def _lost(self) -> None:
        self._client.dispatch("disconnect")
        self._client.dispatch("shard_disconnect", self.id)
