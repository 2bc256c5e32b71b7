"""Watches that no process that was stopped in the middle of a statement keeps its locks on the server."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from bot.domain.errors import StoreError
from bot.worker.background_service import wait_for

log = logging.getLogger(__name__)

INTERVAL_S = 10.0


class StoppedSessionsWatch:
    """Ends such sessions regularly until it is stopped. One task runs `run`."""

    def __init__(self, end_stopped: Callable[[], Awaitable[int]], *, interval_s: float = INTERVAL_S) -> None:
        """end_stopped: ends them and returns how many; may raise StoreError."""
        self._end_stopped = end_stopped
        self._interval_s = interval_s
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Runs once per interval until `stop` is called, through outages of the server."""
        while not self._stop.is_set():
            await wait_for(self._stop, self._interval_s)
            await self.run_once()

    async def run_once(self) -> None:
        """Looks once."""
        try:
            ended = await self._end_stopped()
        except StoreError as error:
            log.debug("the sessions of stopped processes can't be looked for: %s", error)
            return
        if ended:
            log.warning(
                "%d database sessions were ended: their process stopped in the middle of a statement", ended
            )

    def wake(self) -> None:
        """Does nothing: a new job stops no process."""

    def stop(self) -> None:
        """Ends `run`."""
        self._stop.set()
