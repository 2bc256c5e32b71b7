"""Unknown outcomes: an early refusal is still read, and after a lost response the gateway is probed first."""

import asyncio
import contextlib
import random
import socket
import ssl
import struct
import threading
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiohttp import web

from bot.domain.errors import (
    OutcomeUnknown,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamError,
    UpstreamIll,
    UpstreamRefused,
    UpstreamUnreached,
)
from bot.domain.jobs import Frame, Order
from bot.providers.base import TaskRef
from bot.providers.lost_answers import PROBES
from bot.providers.ssrf_guard import Network
from bot.providers.vtrix.client import Vtrix
from tests.providers.conftest import JOB_ID, KEY
from tests.providers.servers import ScriptedServer, anonymous_tls, raw_server

TOO_LARGE = b'HTTP/1.1 413 Too Large\r\nContent-Length: 24\r\n\r\n{"message": "Too large"}'
ANSWER = b'{"id": "t-1", "status": "in_progress", "progress": 0.5, "error": null}'


@contextmanager
def resetting_gateway(answer: bytes, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A gateway that reads the head, answers, and resets the connection during the upload. Yields its port.

    In its own thread, because the failure needs both sides to run at the same time.
    """
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                plain, _ = listener.accept()
                connection = context.wrap_socket(plain, server_side=True) if context else plain
                head = b""
                while b"\r\n\r\n" not in head:
                    head += connection.recv(1000)
                connection.sendall(answer)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join()


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_refusal_is_read_even_if_the_gateway_resets_the_upload(order: Order, scheme: str) -> None:
    """The refusal arrives before the reset, so it is read first."""
    tls = scheme == "https"
    network = Network(ssl=anonymous_tls(ssl.PROTOCOL_TLS_CLIENT)) if tls else Network()
    large = Frame(data=bytes(4_000_000), mime="image/png")
    with resetting_gateway(TOO_LARGE, anonymous_tls(ssl.PROTOCOL_TLS_SERVER) if tls else None) as port:
        async with Vtrix(f"{scheme}://127.0.0.1:{port}", KEY, network=network) as vtrix:
            for _ in range(10):
                with pytest.raises(UpstreamRefused, match="Too large"):
                    await vtrix.submit(order, large, request_id=JOB_ID)


async def test_a_reset_without_a_response_leaves_the_outcome_unknown(order: Order) -> None:
    with resetting_gateway(b"") as port:
        async with Vtrix(f"http://127.0.0.1:{port}", KEY) as vtrix:
            with pytest.raises(OutcomeUnknown):
                await vtrix.submit(order, Frame(data=bytes(4_000_000), mime="image/png"), request_id=JOB_ID)


async def lose_response(server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame) -> None:
    server.answers(b"<html>", status=502)
    with pytest.raises(OutcomeUnknown):
        await vtrix.submit(order, frame, request_id=JOB_ID)
    server.seen.clear()


async def test_after_a_lost_response_no_create_is_sent_while_the_gateway_still_fails(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    await lose_response(server, vtrix, order, frame)
    for _ in range(3):
        with pytest.raises(UpstreamUnreached, match="unavailable, nothing was submitted"):
            await vtrix.submit(order, frame, request_id=JOB_ID)
    assert [seen.method for seen in server.seen] == ["GET"] * 3


async def test_after_a_lost_response_a_bad_key_is_reported_as_such(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    await lose_response(server, vtrix, order, frame)
    server.answers({"message": "bad key"}, status=401)
    with pytest.raises(UpstreamClosed):
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert [seen.method for seen in server.seen] == ["GET"]


async def test_a_recovered_gateway_is_probed_once_before_creates_continue(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    await lose_response(server, vtrix, order, frame)
    server.answers({"id": "t-1"})
    for _ in range(2):
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert [seen.method for seen in server.seen] == ["GET", "POST", "POST"]


async def test_after_enough_failed_probes_a_create_is_sent_anyway(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    await lose_response(server, vtrix, order, frame)
    for _ in range(PROBES - 1):
        with pytest.raises(UpstreamUnreached):
            await vtrix.submit(order, frame, request_id=JOB_ID)
    with pytest.raises(OutcomeUnknown):
        await vtrix.submit(order, frame, request_id=JOB_ID)
    assert [seen.method for seen in server.seen].count("POST") == 1


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_after_enough_refused_probes_a_create_is_sent_anyway(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame, status: int
) -> None:
    await lose_response(server, vtrix, order, frame)

    async def reply(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return web.json_response({"id": "t-1"})
        return web.json_response({"message": "not yours"}, status=status)

    server.reply = reply
    for _ in range(PROBES - 1):
        with pytest.raises((UpstreamClosed, UpstreamBusy)):
            await vtrix.submit(order, frame, request_id=JOB_ID)
    assert (await vtrix.submit(order, frame, request_id=JOB_ID)).id == "t-1"


async def test_a_cancelled_create_is_followed_by_a_probe(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    arrived = asyncio.Event()

    async def never(_: web.Request) -> web.StreamResponse:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    server.reply = never
    create = asyncio.create_task(vtrix.submit(order, frame, request_id=JOB_ID))
    await arrived.wait()
    create.cancel()
    with pytest.raises(asyncio.CancelledError):
        await create
    server.answers({"id": "t-1"})
    await vtrix.submit(order, frame, request_id=JOB_ID)
    assert [seen.method for seen in server.seen] == ["POST", "GET", "POST"]


async def test_a_response_about_another_members_task_is_rejected(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    for task_id in ("t-1", "t-2"):
        server.answers({"id": task_id})
        await vtrix.submit(order, frame, request_id=JOB_ID)
    server.answers({"id": "t-2", "status": "completed"})
    with pytest.raises(UpstreamIll, match="about another"):
        await vtrix.status(TaskRef("t-1"))


@pytest.mark.parametrize(
    ("body", "known"),
    [
        (b"<html>Welcome", r"HTTP 200, application/octet-stream\): <html>Welcome\."),
        (b"", "empty"),
        (bytes(50), "nothing that can be shown"),
        (b'{"task": "t-77"}', '"task": "t-77"'),
        (b'{"token": "%b"}' % KEY.encode(), r'"\[key\]"'),
    ],
    ids=["html", "nothing", "zeros", "another form", "echo"],
)
async def test_an_unknown_outcome_describes_the_response(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame, body: bytes, known: str
) -> None:
    server.answers(body)
    with pytest.raises(OutcomeUnknown, match=known):
        await vtrix.submit(order, frame, request_id=JOB_ID)


def gzipped_zeros(size_mb: int) -> bytes:
    compressor = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join(compressor.compress(bytes(1 << 20)) for _ in range(size_mb)) + compressor.flush()


async def test_a_gzip_bomb_of_500_megabytes_uses_little_memory(
    server: ScriptedServer, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    server.answers(gzipped_zeros(500), Content_Encoding="gzip")
    tracemalloc.start()
    try:
        with pytest.raises(OutcomeUnknown, match="far too large"):
            await vtrix.submit(order, frame, request_id=JOB_ID)
        assert tracemalloc.get_traced_memory()[1] < 32_000_000
    finally:
        tracemalloc.stop()


def corrupted(answer: bytes, rng: random.Random) -> bytes:
    """The answer with some of its bytes changed, repeated, inserted or removed."""
    data = bytearray(answer)
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                del data[at : at + rng.randrange(1, 30)]
            case 2:
                data[at:at] = rng.randbytes(rng.randrange(1, 10))
            case _:
                data[at:at] = data[at : at + rng.randrange(1, 40)]
        if not data:
            break
    return bytes(data)


@pytest.mark.parametrize("extra", ["", "Content-Encoding: gzip\r\n", "Transfer-Encoding: chunked\r\n"])
async def test_a_corrupted_response_gives_a_task_or_an_upstream_error(
    order: Order, frame: Frame, extra: str
) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{extra}Content-Length: {len(ANSWER)}\r\n\r\n"
    rng = random.Random(f"spoilt {extra}")  # noqa: S311  a fixed seed
    for number in range(40):
        answer = corrupted(head.encode() + ANSWER, rng)
        async with raw_server(answer) as server, Vtrix(server.url, KEY) as vtrix:
            try:
                task: Any = await vtrix.submit(order, frame, request_id=JOB_ID)
                assert task.id, number
            except UpstreamError:
                pass
        assert server.connections == 1, "never twice"
