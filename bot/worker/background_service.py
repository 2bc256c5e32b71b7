"""The loops that run next to the job loop, and how a loop sleeps until it is woken."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from typing import Protocol


class BackgroundService(Protocol):
    """A loop that runs, is woken and is stopped together with the worker."""

    async def run(self) -> None:
        """Runs until `stop` is called."""
        ...

    def wake(self) -> None:
        """There may be something to do now."""
        ...

    def stop(self) -> None:
        """Makes `run` return soon. A service that takes too long is cancelled and must survive that."""
        ...


class PeriodicService(ABC):
    """A background service that does the same at its start and once per interval. One task runs `run`."""

    def __init__(self, interval_s: float) -> None:
        self._interval_s = interval_s
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Runs until `stop` is called."""
        while not self._stop.is_set():
            await self.run_once()
            await wait_for(self._stop, self._interval_s)

    @abstractmethod
    async def run_once(self) -> None:
        """Does it. What fails in a way that may pass is not raised: the next time tries again."""

    def wake(self) -> None:  # noqa: B027 - that is all it does
        """Does nothing: a new job is no reason to do it sooner."""

    def stop(self) -> None:
        """Ends `run`."""
        self._stop.set()


async def wait_for(event: asyncio.Event, timeout_s: float) -> None:
    """Waits until the event is set, for at most `timeout_s`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
