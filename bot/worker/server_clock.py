"""Keeps this process's clock to that of the database server.

Workers that share a server start from its time. But no two machines count seconds alike, and a virtual machine
that is suspended counts none: after weeks, one would think that another's jobs are overdue.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime

from bot.domain.errors import StoreError
from bot.operations.clock import ReferenceClock, uptime_s
from bot.worker.background_service import PeriodicService

log = logging.getLogger(__name__)

INTERVAL_S = 60.0

_MAX_DELAY_S = 1.0
"""An answer that took longer may be as much out of date."""


class ServerClockSync(PeriodicService):
    """Reads the server's time regularly, through its outages."""

    def __init__(
        self,
        reference: ReferenceClock,
        read_time: Callable[[], Awaitable[datetime | None]],
        *,
        interval_s: float = INTERVAL_S,
        steady_s: Callable[[], float] = uptime_s,
    ) -> None:
        """reference: is set to the server's time. read_time: asks the server; may raise StoreError."""
        super().__init__(interval_s)
        self._reference = reference
        self._read_time = read_time
        self._steady_s = steady_s

    async def run_once(self) -> None:
        """Reads the server's time, if it answers quickly."""
        asked_s = self._steady_s()
        try:
            now = await self._read_time()
        except StoreError as error:
            log.debug("the database server's time can't be read: %s", error)
            return
        if now is not None and self._steady_s() - asked_s <= _MAX_DELAY_S:
            self._reference.set(now)
