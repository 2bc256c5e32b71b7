"""How the process as a whole behaves towards Discord, by the trace hooks of discord.py's HTTP session.

Each job has its own growing pauses. What they can't know is that Discord wants none of them to ask: behind the
wall in front of it, every request lengthens the ban; 10,000 refused ones within ten minutes earn one (source:
Discord's documentation, "Invalid Request Limit"); a gateway that closes each connection at once is opened again by
discord.py without a pause. All of that is held here, below everything that sends.
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

from bot.domain.schedule import Backoff

log = logging.getLogger(__name__)

REFUSED_MAX = 2_000
"""Refused requests within `REFUSED_WINDOW_S` after which none is sent: a fifth of what Discord bans for."""
REFUSED_WINDOW_S = 600.0
WALL_S = 60.0
"""How long nothing is sent where the wall does not say how long."""
WALL_MAX_S = 3600.0

STEADY_S = 60.0
"""A gateway connection that lasted this long was a good one."""
SESSIONS_MAX, SESSIONS_WINDOW_S, SESSIONS_PAUSE_S = 500, 86_400.0, 180.0
"""Discord takes 1,000 IDENTIFYs a day and resets the token of a bot that sends more. After the first number of a
day, they come with the last pause between them, which makes at most 980."""

_REFUSALS = frozenset({401, 403, 429})


class RequestSuppressed(aiohttp.ClientError):
    """A request that was not sent, because Discord wants none just now. Passes, as any failed connection does."""


class RequestThrottle:
    """What is remembered of Discord's answers. One for each client."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        backoff: Backoff = Backoff(first_s=2, cap_s=45),
    ) -> None:
        """backoff: between gateway connections that did not last; discord.py gives pause and try one minute."""
        self.unauthorized = asyncio.Event()
        """Set by a 401 to the bot's own token."""
        self._clock = clock
        self._chance = chance
        self._sleep = sleep
        self._backoff = backoff
        self._refused: deque[float] = deque()
        self._silent_until = 0.0
        self._opened_at: float | None = None
        self._short_lived = 0
        self._sessions: deque[float] = deque()

    def trace(self) -> aiohttp.TraceConfig:
        """For the `http_trace` of a discord.py client."""
        config = aiohttp.TraceConfig()
        config.on_request_start.append(self._before)
        config.on_request_end.append(self._after)
        return config

    async def before_identify(self) -> None:
        """Asked before each IDENTIFY. Raises: HeldBack where it would be one too many; discord.py tries again."""
        now = self._clock()
        _forget(self._sessions, now - SESSIONS_WINDOW_S)
        if len(self._sessions) >= SESSIONS_MAX and now - self._sessions[-1] < SESSIONS_PAUSE_S:
            raise RequestSuppressed(f"{len(self._sessions)} sessions were begun within a day; the next one waits.")
        self._sessions.append(now)

    async def _before(
        self, session: aiohttp.ClientSession, context: SimpleNamespace, request: aiohttp.TraceRequestStartParams
    ) -> None:
        del session, context
        if request.headers.get("Upgrade") == "websocket":
            await self._pace()
        elif str(request.url).startswith(Route.BASE):
            self._hold_back()

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
        if response.headers.get("X-RateLimit-Scope") != "shared":  # those don't count
            self._refused.append(now)
            _forget(self._refused, now - REFUSED_WINDOW_S)
        if response.status == 429 and "Via" not in response.headers:  # noqa: PLR2004 - HTTP's own number
            self._silent_until = now + _pause_s(response.headers.get("Retry-After"))
            log.error("Discord's front bans this address; nothing is sent for %.0f s", self._silent_until - now)

    def _hold_back(self) -> None:
        now = self._clock()
        if now < self._silent_until:
            raise RequestSuppressed(
                f"Discord's front bans this address for {self._silent_until - now:.0f} s more."
            )
        _forget(self._refused, now - REFUSED_WINDOW_S)
        if len(self._refused) >= REFUSED_MAX:
            self._silent_until = self._refused[0] + REFUSED_WINDOW_S
            log.error("Discord refused %d requests; nothing is sent for a while", len(self._refused))
            raise RequestSuppressed(f"Discord refused {len(self._refused)} requests within ten minutes.")

    async def _pace(self) -> None:
        """Lets time pass before a gateway connection, where the last ones did not last."""
        opened_at = self._opened_at
        if opened_at is not None and self._clock() - opened_at < STEADY_S:
            pause_s = self._backoff.pause_s(self._short_lived, chance=self._chance())
            self._short_lived += 1
            if self._short_lived > 1:
                log.warning("the last gateway connections did not last; the next one in %.0f s", pause_s)
            await self._sleep(pause_s)
        else:
            self._short_lived = 0
        self._opened_at = self._clock()


def _pause_s(retry_after: str | None) -> float:
    try:
        return min(WALL_MAX_S, max(1.0, float(retry_after or WALL_S)))
    except ValueError:  # a date: HTTP allows it, Discord's front never sent one
        return WALL_S


def _forget(times: deque[float], before: float) -> None:
    while times and times[0] <= before:
        times.popleft()
