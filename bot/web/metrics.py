"""Answers Prometheus at `/metrics`, and measures the event loop's lag meanwhile."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from bot.store.monitoring import Figures
from bot.web.cached import Cached
from bot.web.database_collector import DatabaseCollector
from bot.web.instruments import Instruments

log = logging.getLogger(__name__)

TIMEOUT_S = 3.0
"""How long the database may take, well within Prometheus' own limit of ten seconds."""

FRESH_S = 4.0
"""How long its figures are good for: scrapes more frequent than that don't load it."""

RENDERED_S = 1.0
"""How long a response is good for: rendering one keeps the event loop busy for milliseconds."""

_LAG_EVERY_S = 1.0


class Scrapes:
    """Answers scrapes from the instruments' registry.

    read: reads the database's figures; whatever it raises means that the database is down.
    """

    def __init__(
        self,
        instruments: Instruments,
        read: Callable[[], Awaitable[Figures]],
        *,
        timeout_s: float = TIMEOUT_S,
        fresh_s: float = FRESH_S,
        rendered_s: float = RENDERED_S,
    ) -> None:
        self._registry = instruments.registry
        self._read = read
        self._timeout_s = timeout_s
        self._figures = Cached(self._ask, fresh_s)
        self._rendered = Cached(self._render, rendered_s)
        self._from_database = DatabaseCollector()
        self._registry.register(self._from_database)
        self._is_down = False

    async def scrape(self) -> bytes:
        """The metrics as text."""
        return await self._rendered.get()

    async def _render(self) -> bytes:
        self._from_database.figures = await self._figures.get()
        return generate_latest(self._registry)

    async def _ask(self) -> Figures | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                figures = await self._read()
        except Exception as error:  # noqa: BLE001 - whatever it is, the other metrics are worth having
            if not self._is_down:  # once, not with every scrape
                reason = "no answer in time" if isinstance(error, TimeoutError) else error
                log.warning("metrics are without the database's figures: %s", reason)
            self._is_down = True
            return None
        self._is_down = False
        return figures


def routes(scrapes: Scrapes) -> list[web.RouteDef]:
    """`/metrics`."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(body=await scrapes.scrape(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    return [web.get("/metrics", answer)]


@asynccontextmanager
async def lag_measured(report: Callable[[float], None], every_s: float = _LAG_EVERY_S) -> AsyncIterator[None]:
    """Reports once in a while how late the event loop runs what is due, in seconds."""

    async def measure() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due_s = loop.time() + every_s
            await asyncio.sleep(every_s)
            report(max(0.0, loop.time() - due_s))

    measuring = asyncio.create_task(measure(), name="event loop lag")
    try:
        yield
    finally:
        measuring.cancel()
        await asyncio.wait({measuring})
