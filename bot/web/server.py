"""Serves a list of routes over HTTP, and closes cleanly.

It is for the operator and for machines: not encrypted, so it listens on this machine unless told otherwise.
"""

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import web

from bot.domain.errors import PortUnavailable

_BODY_MAX_BYTES = 64_000
"""The largest request; none of the routes needs more than a form's few fields."""

_SHUTDOWN_S = 2.0
"""How long responses in progress may take once the server closes."""


@asynccontextmanager
async def serving(routes: Iterable[web.AbstractRouteDef], *, host: str, port: int) -> AsyncIterator[int]:
    """Serves the routes until it is left; yields the port. port: 0 takes a free one. Raises: PortUnavailable."""
    application = web.Application(client_max_size=_BODY_MAX_BYTES)
    application.add_routes(routes)
    application.on_response_prepare.append(_harden)
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=_SHUTDOWN_S)
    try:
        await runner.setup()
        site = web.TCPSite(runner, host, port)
        try:
            await site.start()
        except (OSError, UnicodeError) as error:  # UnicodeError: a host that can't be a name
            number = error.errno if isinstance(error, OSError) else None
            reason = os.strerror(number) if number is not None and number > 0 else str(error)
            raise PortUnavailable(
                f"Port {port} on {host} can't be used: {reason}. Choose others in METRICS_PORT and METRICS_HOST, "
                "or stop what uses this one."
            ) from error
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def _harden(request: web.Request, response: web.StreamResponse) -> None:
    """Headers of every response: nothing is cached, framed or guessed, and the server's version is not named."""
    del request
    response.headers["Server"] = "zoetrope"
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("X-Frame-Options", "DENY")
