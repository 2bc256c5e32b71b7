"""A value that is asked for at most every few seconds, however many ask for it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Cached(Generic[Value]):
    """Calls `ask` and remembers what it returned for `fresh_s` seconds. Those who come together share one call."""

    def __init__(
        self, ask: Callable[[], Awaitable[Value]], fresh_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ask = ask
        self._fresh_s = fresh_s
        self._clock = clock
        self._asking = asyncio.Lock()
        self._known: tuple[float, Value] | None = None

    async def get(self) -> Value:
        """The value, `fresh_s` seconds old at most. Raises what `ask` raises, which is not remembered."""
        async with self._asking:
            if self._known is None or self._clock() - self._known[0] >= self._fresh_s:
                self._known = None
                value = await self._ask()
                self._known = (self._clock(), value)
            return self._known[1]
