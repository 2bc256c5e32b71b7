"""Keeps all requests to Discord's REST API below its global limit, in this process or in all of them together.

Discord allows a bot 50 requests a second, whichever process sends them, and refuses the rest with 429 (source: its
documentation, "Global Rate Limit"). Responses to interactions don't count. discord.py knows of the limit only
once it is passed.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable

from bot.domain.errors import StoreError

log = logging.getLogger(__name__)

A_SECOND = 40.0
"""The default; what Discord allows above it is for requests that were delayed on their way."""

AT_ONCE = 8
"""How many requests may be sent together after a pause."""

BATCH_MAX = 8
"""How many turns are reserved together, if so many requests wait."""

ANSWER_S = 1.0
"""How long the answer is waited for; a request matters more than the limit, which Discord enforces."""
_ALONE_S = 5.0
"""How long this process goes by itself after that."""
_STALE_S = 0.25
"""A reserved turn that nobody took for so long is forgotten."""

_PAUSE_MAX_S = 10.0
"""A turn that is further ahead is not waited for."""

Reserve = Callable[[int], Awaitable[float]]
"""Takes so many turns among all processes; returns in how many seconds the first one is. May raise StoreError."""


class RequestLimiter:
    """Gives each request its turn.

    a_second: how many there are. reserve: None where this process is alone. answer_s: how long it may take.
    """

    def __init__(
        self,
        a_second: float = A_SECOND,
        *,
        reserve: Reserve | None = None,
        answer_s: float = ANSWER_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.interval_s = 1 / a_second
        self._reserve = reserve
        self._answer_s = answer_s
        self._clock = clock
        self._sleep = sleep
        self._next_at = 0.0
        self._alone_until = 0.0
        self._waiting = 0
        self._reserving = asyncio.Lock()
        self._turns: deque[float] = deque()

    async def wait(self) -> None:
        """Returns when it is the caller's turn."""
        self._waiting += 1
        try:
            at = await self._turn()
        finally:
            self._waiting -= 1
        if (pause_s := at - self._clock()) > 0:
            await self._sleep(pause_s)

    async def _turn(self) -> float:
        async with self._reserving:
            if self._reserve is None or self._clock() < self._alone_until:
                return self._own_turn()
            while self._turns and self._turns[0] < self._clock() - _STALE_S:
                self._turns.popleft()
            if not self._turns:
                turns = min(self._waiting, BATCH_MAX)
                try:
                    async with asyncio.timeout(self._answer_s):
                        pause_s = await self._reserve(turns)
                    first_at = self._clock() + pause_s  # as of now: the answer may have taken a while
                except (StoreError, TimeoutError) as error:
                    log.warning("the limit of requests to Discord can't be shared for now: %r", error)
                    self._alone_until = self._clock() + _ALONE_S
                    return self._own_turn()
                if pause_s > _PAUSE_MAX_S:  # no such limit makes requests wait for so long
                    return self._own_turn()
                self._turns.extend(
                    max(first_at + self.interval_s * number, self._clock()) for number in range(turns)
                )
            return self._turns.popleft()

    def _own_turn(self) -> float:
        at = max(self._next_at, self._clock() - (AT_ONCE - 1) * self.interval_s)
        self._next_at = at + self.interval_s
        return at
