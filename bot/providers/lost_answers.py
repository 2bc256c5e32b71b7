"""After the answer to a create was lost, asks the gateway for something free before the next create.

A gateway that loses one answer often loses more of them, and each may be a task that is paid for and that nobody
can find.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from bot.domain.errors import OutcomeUnknown, UpstreamBusy, UpstreamClosed, UpstreamIll, UpstreamUnreached

PROBE_S = 10.0
"""Time limit, in seconds, for the request that precedes a create after a lost response."""

PROBES = 32
"""After this many failed probes in a row a create is sent anyway: some gateways may have no better answer for a
task that can't exist. With the growing pauses between submissions that takes over an hour."""


class LostAnswers:
    """Whether the answer to the latest create was lost. check: as `Provider.check`."""

    def __init__(self, check: Callable[[], Awaitable[None]]) -> None:
        self._check = check
        self._response_lost = False
        self._failed_probes = 0

    @asynccontextmanager
    async def create(self) -> AsyncIterator[None]:
        """Surrounds a create.

        Raises: UpstreamClosed, UpstreamBusy, UpstreamUnreached; nothing that costs money was sent.
        """
        if self._response_lost:
            await self._probe()
        try:
            yield
        except (OutcomeUnknown, asyncio.CancelledError):
            self._response_lost = True
            raise

    async def _probe(self) -> None:
        """After a lost response, finds out with a free request whether the gateway is back."""
        try:
            async with asyncio.timeout(PROBE_S):
                await self._check()
        except (UpstreamIll, UpstreamClosed, UpstreamBusy, TimeoutError) as exc:
            self._failed_probes += 1
            if self._failed_probes < PROBES:
                if isinstance(exc, UpstreamClosed | UpstreamBusy):
                    raise
                said = exc if isinstance(exc, UpstreamIll) else "it does not answer"
                raise UpstreamUnreached(f"The gateway is unavailable, nothing was submitted: {said}") from None
        self._response_lost = False
        self._failed_probes = 0
