"""Watches that no process that was stopped in the middle of a statement keeps its locks on the server."""

import logging
from collections.abc import Awaitable, Callable

from bot.domain.errors import StoreError
from bot.worker.background_service import PeriodicService

log = logging.getLogger(__name__)

INTERVAL_S = 10.0


class StoppedSessionsWatch(PeriodicService):
    """Ends such sessions regularly, through outages of the server."""

    def __init__(self, end_stopped: Callable[[], Awaitable[int]], *, interval_s: float = INTERVAL_S) -> None:
        """end_stopped: ends them and returns how many; may raise StoreError."""
        super().__init__(interval_s)
        self._end_stopped = end_stopped

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
