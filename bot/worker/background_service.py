"""The loops that run next to the job loop, and how a loop sleeps until it is woken."""

import asyncio
import contextlib
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


async def wait_for(event: asyncio.Event, timeout_s: float) -> None:
    """Waits until the event is set, for at most `timeout_s`."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await event.wait()
