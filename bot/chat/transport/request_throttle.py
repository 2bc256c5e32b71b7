"""Limits what the process as a whole sends to Discord, through the trace hooks of discord.py's HTTP session.

Each job backs off by itself, but doesn't know about the others. Three things concern all of them: every request
during an IP ban prolongs it; 10,000 refused requests within ten minutes lead to one (source: Discord's
documentation, "Invalid Request Limit"); and a gateway connection that is closed right after it opened must not be
opened again at once. Besides, nothing is sent for a job or a notification whose lease is over.
"""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from types import SimpleNamespace

import aiohttp
from discord.http import Route

from bot.chat.transport.request_limiter import RequestLimiter
from bot.chat.transport.request_times import RequestTimes
from bot.domain.schedule import Backoff
from bot.operations.held_lease import is_overtaken
from bot.operations.observer import Observer

log = logging.getLogger(__name__)

REFUSED_MAX = 2_000
"""The most refused requests within `REFUSED_WINDOW_S`, a fifth of what Discord bans for; then nothing is sent."""
REFUSED_WINDOW_S = 600.0
BAN_S = 60.0
"""How long nothing is sent during a ban of unknown length."""
BAN_MAX_S = 3600.0

STEADY_S = 60.0
"""A gateway connection that lasted this long counts as stable."""
SESSIONS_LIMIT, SESSIONS_MAX, SESSIONS_WINDOW_S, SESSIONS_PAUSE_S = 1_000, 500, 86_400.0, 180.0
"""Discord allows 1,000 IDENTIFYs a day and resets the token of a bot that sends more. After the first
`SESSIONS_MAX` of a day there is a pause before each, so at most 980 are sent."""

_REFUSALS = frozenset({401, 403, 429})


class RequestSuppressed(aiohttp.ClientError):
    """A request that was not sent: Discord wants none now, or a lease is over. Retried like any failed request."""


class RequestThrottle:
    """Remembers how Discord responded. Each client has its own."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        backoff: Backoff = Backoff(first_s=2, cap_s=45),
        observer: Observer | None = None,
    ) -> None:
        """backoff: between a shard's gateway connections that didn't last. observer: is told of each request."""
        self.unauthorized = asyncio.Event()
        """Set when Discord answers a request with the bot's own token with 401."""
        self.limiter: RequestLimiter | None = None
        """Spaces requests out, where something has to."""
        self._clock = clock
        self._chance = chance
        self._sleep = sleep
        self._backoff = backoff
        self._refused: deque[float] = deque()
        self._silent_until = 0.0
        self._opened_at: dict[int, float] = {}
        self._short_lived: dict[int, int] = {}
        self._sessions: deque[float] = deque()
        self._times = None if observer is None else RequestTimes(observer)
        self.allow_sessions(SESSIONS_LIMIT)

    def trace(self) -> aiohttp.TraceConfig:
        """For the `http_trace` of a discord.py client."""
        config = aiohttp.TraceConfig()
        config.on_request_start.append(self._before)
        config.on_request_end.append(self._after)
        # The process may be stopped while it connects or sends: these come right before the bytes.
        config.on_request_headers_sent.append(_before_bytes)
        config.on_request_chunk_sent.append(_before_bytes)
        return config if self._times is None else self._times.add_to(config)

    def allow_sessions(self, a_day: int) -> None:
        """This process may send so many IDENTIFYs a day: its part of what Discord allows the bot."""
        share = max(a_day, 1) / SESSIONS_LIMIT
        self._sessions_max = max(1, round(SESSIONS_MAX * share))
        self._sessions_pause_s = SESSIONS_PAUSE_S / share

    async def before_identify(self) -> None:
        """Called before each IDENTIFY. Raises: RequestSuppressed if it is too early; it is tried again."""
        now = self._clock()
        _forget(self._sessions, now - SESSIONS_WINDOW_S)
        if len(self._sessions) >= self._sessions_max and now - self._sessions[-1] < self._sessions_pause_s:
            raise RequestSuppressed(
                f"{len(self._sessions)} sessions were started within a day; the next one waits."
            )
        self._sessions.append(now)

    async def before_connection(self, shard_id: int) -> None:
        """Called before each gateway connection: waits if the shard's last ones didn't last."""
        opened_at = self._opened_at.get(shard_id)
        if opened_at is not None and self._clock() - opened_at < STEADY_S:
            short_lived = self._short_lived.get(shard_id, 0)
            pause_s = self._backoff.pause_s(short_lived, jitter=self._chance())
            self._short_lived[shard_id] = short_lived + 1
            if short_lived > 0:
                log.warning("recent gateway connections didn't last; connecting again in %.0f s", pause_s)
            await self._sleep(pause_s)
        else:
            self._short_lived[shard_id] = 0
        self._opened_at[shard_id] = self._clock()

    async def _before(
        self, session: aiohttp.ClientSession, context: SimpleNamespace, request: aiohttp.TraceRequestStartParams
    ) -> None:
        del session, context
        if str(request.url).startswith(Route.BASE):
            self._hold_back()
            if self.limiter is not None and "Authorization" in request.headers:  # others don't count
                await self.limiter.wait()
                self._hold_back()  # it may have been a long wait

    async def _after(
        self, session: aiohttp.ClientSession, context: SimpleNamespace, request: aiohttp.TraceRequestEndParams
    ) -> None:
        del session, context
        response = request.response
        if response.status not in _REFUSALS or not str(request.url).startswith(Route.BASE):
            return
        if response.status == 401 and "Authorization" in request.headers:  # noqa: PLR2004 - HTTP's own number
            self.unauthorized.set()
        now = self._clock()
        if response.headers.get("X-RateLimit-Scope") != "shared":  # Discord doesn't count those
            self._refused.append(now)
            _forget(self._refused, now - REFUSED_WINDOW_S)
        if response.status == 429 and "Via" not in response.headers:  # noqa: PLR2004 - HTTP's own number
            self._silent_until = now + _pause_s(response.headers.get("Retry-After"))
            log.error("Discord has banned this IP address; sending nothing for %.0f s", self._silent_until - now)

    def _hold_back(self) -> None:
        _refuse_overtaken()
        now = self._clock()
        if now < self._silent_until:
            raise RequestSuppressed(
                f"Discord has banned this IP address for {self._silent_until - now:.0f} s more."
            )
        _forget(self._refused, now - REFUSED_WINDOW_S)
        if len(self._refused) >= REFUSED_MAX:
            self._silent_until = self._refused[0] + REFUSED_WINDOW_S
            log.error(
                "Discord refused %d requests within ten minutes; sending nothing for a while", len(self._refused)
            )
            raise RequestSuppressed(f"Discord refused {len(self._refused)} requests within ten minutes.")


async def _before_bytes(
    session: aiohttp.ClientSession,
    context: SimpleNamespace,
    part: aiohttp.TraceRequestHeadersSentParams | aiohttp.TraceRequestChunkSentParams,
) -> None:
    del session, context
    if str(part.url).startswith(Route.BASE):
        _refuse_overtaken()


def _refuse_overtaken() -> None:
    if is_overtaken():
        raise RequestSuppressed("The lease is over: another process may have sent this already.")


def _pause_s(retry_after: str | None) -> float:
    try:
        return min(BAN_MAX_S, max(1.0, float(retry_after or BAN_S)))
    except ValueError:  # a date: HTTP allows it, Discord has never sent one
        return BAN_S


def _forget(times: deque[float], before: float) -> None:
    while times and times[0] <= before:
        times.popleft()
