"""Serves a list of routes over HTTP, and closes cleanly.

It is for the operator and for machines: not encrypted, so it listens on this machine unless told otherwise. Then
it also answers only to names of this machine.
"""

import asyncio
import ipaddress
import os
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from aiohttp import hdrs, http_exceptions, web
from aiohttp.typedefs import Handler, Middleware

from bot.domain.errors import PortUnavailable

_BODY_MAX_BYTES = 64_000
"""The largest request; none of the routes needs more than a form's few fields."""

_CLOSE = {hdrs.CONNECTION: "close"}

_NOT_HERE = (
    "This server only answers for this machine: ask it as http://127.0.0.1 or http://localhost, with its port or "
    "that of your tunnel. A proxy in front of it has to send such a Host.\n"
)

_SHUTDOWN_S = 2.0
"""How long responses in progress may take once the server closes."""

_REQUEST_S = 75.0
"""How long a request may take to arrive, and a connection is kept for the next one. Prometheus scrapes once a
minute by default, on the same connection."""

_LINGERING_S = 2.0
"""How long the rest of a body that nobody reads is awaited before the connection is closed."""


@asynccontextmanager
async def serving(
    routes: Iterable[web.AbstractRouteDef], *, host: str, port: int, request_s: float = _REQUEST_S
) -> AsyncIterator[int]:
    """Serves the routes until it is left; yields the port.

    port: 0 takes a free one. request_s: how long a request's head, and then its body, may take to arrive.
    Raises: PortUnavailable.
    """
    only_own_names = [_answer_only_to_own_names] if is_loopback(host) else []
    application = web.Application(
        client_max_size=_BODY_MAX_BYTES,
        middlewares=[_refuse_broken_bodies, *only_own_names, _reading_bodies(request_s)],
    )
    application.add_routes(routes)
    application.on_response_prepare.append(_harden)
    runner = web.AppRunner(
        application,
        access_log=None,
        shutdown_timeout=_SHUTDOWN_S,
        keepalive_timeout=request_s,  # begins with the connection, and ends only with a complete head
        lingering_time=_LINGERING_S,
    )
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


@web.middleware
async def _refuse_broken_bodies(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Keeps out of the log what is no fault here: a body that ends too early, or is not what its headers say."""
    try:
        return await handler(request)
    except (ConnectionResetError, web.RequestPayloadError, http_exceptions.BadHttpMessage):
        return web.Response(status=400, text="The request's body is incomplete or malformed.\n")


def _reading_bodies(within_s: float) -> Middleware:
    """Reads each body before its handler begins, so that none waits for a client that sends it slowly."""

    @web.middleware
    async def read(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            async with asyncio.timeout(within_s):
                await request.read()
        except TimeoutError:
            return web.Response(status=408, text="The request's body took too long.\n", headers=_CLOSE)
        return await handler(request)

    return read


@web.middleware
async def _answer_only_to_own_names(request: web.Request, handler: Handler) -> web.StreamResponse:
    if names_this_machine(request.headers.get(hdrs.HOST, "localhost")):  # old probes send none
        return await handler(request)
    return web.Response(status=403, text=_NOT_HERE)


async def _harden(request: web.Request, response: web.StreamResponse) -> None:
    """Headers of every response: nothing is cached, framed or guessed, and the server's version is not named."""
    del request
    response.headers["Server"] = "zoetrope"
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    response.headers.setdefault("X-Frame-Options", "DENY")


def is_loopback(host: str) -> bool:
    """Whether a server that listens at this address or name is reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_this_machine(host_header: str) -> bool:
    """Whether a request's Host is this machine itself, with any port.

    A tunnel may use another port. Another name that leads here is a stranger's, who wants a browser on this
    machine to read what is served for a site of theirs (DNS rebinding).
    """
    name = host_header[1:].partition("]")[0] if host_header.startswith("[") else host_header.partition(":")[0]
    return is_loopback(name.lower().removesuffix("."))
