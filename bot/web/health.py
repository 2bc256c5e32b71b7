"""Answers the probes of service managers and orchestrators: `/healthz` and `/readyz`.

`/healthz` says that the event loop runs, and nothing else: what fails it is restarted, and a restart mends neither
a database nor Discord. `/readyz` says whether this process can do its work, part by part, with 200 or 503. A
provider that takes no jobs is shown but fails nothing: orders are accepted, and wait.

Reasons are the program's own words. What a database or a provider said is in the log and in `/operator`.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from aiohttp import web

from bot.web.cached import Cached

log = logging.getLogger(__name__)

TIMEOUT_S = 2.0
"""How long a part may take to answer."""

FRESH_S = 3.0
"""How long a report is good for: probes come every few seconds, from several places."""


class PartStatus(StrEnum):
    """How a part of the process is. degraded: worth knowing, but the process does its work."""

    OK = "ok"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class PartHealth:
    """A part and, unless it is well, what is wrong with it."""

    status: PartStatus
    reason: str | None = None


Checks = Mapping[str, Callable[[], Awaitable[PartHealth]]]
"""Checks by the name of the part; what a check raises means that its part failed."""


class Health:
    """Asks the parts, each with a time limit, and remembers the answers for `fresh_s` seconds."""

    def __init__(
        self,
        checks: Checks,
        *,
        timeout_s: float = TIMEOUT_S,
        fresh_s: float = FRESH_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._checks = checks
        self._timeout_s = timeout_s
        self._raised: set[str] = set()
        self._reports = Cached(self._ask_all, fresh_s, clock)

    async def report(self) -> Mapping[str, PartHealth]:
        """The health of each part, a few seconds old at most."""
        return await self._reports.get()

    async def _ask_all(self) -> Mapping[str, PartHealth]:
        answers = await asyncio.gather(*(self._ask(name) for name in self._checks))
        return dict(zip(self._checks, answers, strict=True))

    async def _ask(self, name: str) -> PartHealth:
        try:
            async with asyncio.timeout(self._timeout_s):
                found = await self._checks[name]()
        except TimeoutError:
            return PartHealth(PartStatus.FAILED, "no answer in time")
        except Exception as error:  # noqa: BLE001 - whatever a part raises, it does not work
            if name not in self._raised:  # once, not with every probe
                log.warning("%s is not ready: %s", name, error)
            self._raised.add(name)
            return PartHealth(PartStatus.FAILED, "it fails: see the log")
        self._raised.discard(name)
        return found


def routes(health: Health) -> list[web.RouteDef]:
    """`/healthz` and `/readyz`."""

    async def is_alive(_: web.Request) -> web.Response:
        return web.json_response({"status": "alive"})

    async def is_ready(_: web.Request) -> web.Response:
        report = await health.report()
        failed = any(part.status is PartStatus.FAILED for part in report.values())
        parts = {
            name: {"status": part.status} | ({} if part.reason is None else {"reason": part.reason})
            for name, part in report.items()
        }
        body = {"status": "not ready" if failed else "ready", "parts": parts}
        return web.json_response(body, status=503 if failed else 200)

    return [web.get("/healthz", is_alive), web.get("/readyz", is_ready)]
