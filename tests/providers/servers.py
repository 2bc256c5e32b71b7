"""Servers on loopback that answer as a test says, and a resolver that finds them."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult

MP4 = (Path(__file__).parents[1] / "tiny.mp4").read_bytes() + (5000).to_bytes(4, "big") + b"free" + bytes(4992)
"""A whole video, with some padding to cut off."""


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """A request as it arrived."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int


@dataclass(slots=True)
class ScriptedServer:
    """Answers every request with `reply`, and keeps what it saw. A reply may also be a handler."""

    url: str = ""
    port: int = 0
    seen: list[ReceivedRequest] = field(default_factory=list)
    reply: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None

    def answers(self, body: bytes | dict[str, Any], status: int = 200, **headers: str) -> None:
        async def reply(_: web.Request) -> web.StreamResponse:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            if isinstance(body, dict):
                return web.json_response(body, status=status, headers=named)
            return web.Response(body=body, status=status, headers=named)

        self.reply = reply

    async def handle(self, request: web.Request) -> web.StreamResponse:
        connection = id(request.transport)
        headers = dict(request.headers)
        self.seen.append(
            ReceivedRequest(request.method, request.raw_path, headers, await request.read(), connection)
        )
        assert self.reply is not None
        return await self.reply(request)


@asynccontextmanager
async def scripted_server(context: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    app = web.Application(client_max_size=20_000_000)
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.05)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    server.port = runner.addresses[0][1]
    server.url = f"http://127.0.0.1:{server.port}"
    try:
        yield server
    finally:
        await runner.cleanup()


@dataclass(slots=True)
class RawServer:
    """A server that writes bytes. `heads`: the first line of each request that it read."""

    url: str
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0


@asynccontextmanager
async def raw_server(
    answer: bytes | None, *, read: bool = True, then_hang: bool = False
) -> AsyncIterator[RawServer]:
    """Serves `answer` on each connection and closes it; None resets it. `read`: the whole request first."""
    held = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            if read:
                head = await reader.readuntil(b"\r\n\r\n")
                server.heads.append(head.split(b"\r\n")[0])
                sizes = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                await reader.readexactly(int(sizes[0].split(b":")[1]) if sizes else 0)
            if answer is None:
                writer.transport.abort()
                return
            writer.write(answer)
            await writer.drain()
            if then_hang:
                await held.wait()
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    server = RawServer(f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}")
    try:
        yield server
    finally:
        held.set()
        listener.close()
        await asyncio.sleep(0)


class StaticResolver(AbstractResolver):
    """Resolves the given hosts only. The lookup of a host without addresses never ends."""

    def __init__(self, **hosts: list[str]) -> None:
        self._hosts = {name.replace("_", "."): addresses for name, addresses in hosts.items()}

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family
        if host not in self._hosts:
            raise OSError(None, f"{host} is not known")
        if not self._hosts[host]:
            await asyncio.Event().wait()
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._hosts[host]
        ]

    async def close(self) -> None:
        pass


def anonymous_tls(protocol: int) -> ssl.SSLContext:
    """TLS without certificates, which a test would have to keep: both sides agree on an anonymous cipher."""
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("aNULL:@SECLEVEL=0")
    return context
