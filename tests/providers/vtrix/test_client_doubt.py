"""What the client does about doubt: early refusals are read, lost answers are followed by a free look."""

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
from bot.providers.ssrf_guard import Network
from bot.providers.vtrix.client import PROBES, Vtrix
from tests.providers.conftest import KEY
from tests.providers.servers import Scripted, anonymous_tls, raw

TOO_LARGE = b'HTTP/1.1 413 Too Large\r\nContent-Length: 24\r\n\r\n{"message": "Too large"}'
ANSWER = b'{"id": "t-1", "status": "in_progress", "progress": 0.5, "error": null}'


@contextmanager
def rude(answer: bytes, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """A gateway that reads a head, answers, and resets the connection with the picture still on its way; its port.

    In a thread of its own, since it is two programs at work that bring the failure about.
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
async def test_a_refusal_counts_though_the_gateway_hangs_up_on_the_picture(order: Order, scheme: str) -> None:
    """Read in the order in which things came: the refusal, then the reset."""
    tls = scheme == "https"
    network = Network(ssl=anonymous_tls(ssl.PROTOCOL_TLS_CLIENT)) if tls else Network()
    large = Frame(data=bytes(4_000_000), mime="image/png")
    with rude(TOO_LARGE, anonymous_tls(ssl.PROTOCOL_TLS_SERVER) if tls else None) as port:
        async with Vtrix(f"{scheme}://127.0.0.1:{port}", KEY, network=network) as vtrix:
            for _ in range(10):
                with pytest.raises(UpstreamRefused, match="Too large"):
                    await vtrix.submit(order, large)


async def test_hanging_up_without_a_word_leaves_the_outcome_open(order: Order) -> None:
    with rude(b"") as port:
        async with Vtrix(f"http://127.0.0.1:{port}", KEY) as vtrix:
            with pytest.raises(OutcomeUnknown):
                await vtrix.submit(order, Frame(data=bytes(4_000_000), mime="image/png"))


async def lose_an_answer(server: Scripted, vtrix: Vtrix, order: Order, frame: Frame) -> None:
    server.answers(b"<html>", status=502)
    with pytest.raises(OutcomeUnknown):
        await vtrix.submit(order, frame)
    server.seen.clear()


async def test_after_a_lost_answer_no_create_is_sent_to_a_gateway_that_is_still_ill(
    server: Scripted, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    await lose_an_answer(server, vtrix, order, frame)
    for _ in range(3):
        with pytest.raises(UpstreamUnreached, match="unavailable, nothing was submitted"):
            await vtrix.submit(order, frame)
    assert [seen.method for seen in server.seen] == ["GET"] * 3


async def test_after_a_lost_answer_a_bad_key_is_called_that(
    server: Scripted, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    await lose_an_answer(server, vtrix, order, frame)
    server.answers({"message": "bad key"}, status=401)
    with pytest.raises(UpstreamClosed):
        await vtrix.submit(order, frame)
    assert [seen.method for seen in server.seen] == ["GET"]


async def test_a_gateway_that_is_well_again_gets_one_look_and_then_creates_alone(
    server: Scripted, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    await lose_an_answer(server, vtrix, order, frame)
    server.answers({"id": "t-1"})
    for _ in range(2):
        await vtrix.submit(order, frame)
    assert [seen.method for seen in server.seen] == ["GET", "POST", "POST"]


async def test_a_gateway_with_no_better_answer_to_an_unknown_task_is_tried_in_the_end(
    server: Scripted, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    await lose_an_answer(server, vtrix, order, frame)
    for _ in range(PROBES - 1):
        with pytest.raises(UpstreamUnreached):
            await vtrix.submit(order, frame)
    with pytest.raises(OutcomeUnknown):
        await vtrix.submit(order, frame)
    assert [seen.method for seen in server.seen].count("POST") == 1


@pytest.mark.parametrize("status", [401, 403, 429])
async def test_a_gateway_that_refuses_looks_at_unknown_tasks_takes_creates_in_the_end(
    server: Scripted, vtrix: Vtrix, order: Order, frame: Frame, status: int
) -> None:
    await lose_an_answer(server, vtrix, order, frame)

    async def reply(request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return web.json_response({"id": "t-1"})
        return web.json_response({"message": "not yours"}, status=status)

    server.reply = reply
    for _ in range(PROBES - 1):
        with pytest.raises((UpstreamClosed, UpstreamBusy)):
            await vtrix.submit(order, frame)
    assert (await vtrix.submit(order, frame)).id == "t-1"


async def test_a_create_that_was_cut_off_leaves_doubt_too(
    server: Scripted, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    arrived = asyncio.Event()

    async def never(_: web.Request) -> web.StreamResponse:
        arrived.set()
        await asyncio.Event().wait()
        raise AssertionError

    server.reply = never
    create = asyncio.create_task(vtrix.submit(order, frame))
    await arrived.wait()
    create.cancel()
    with pytest.raises(asyncio.CancelledError):
        await create
    server.answers({"id": "t-1"})
    await vtrix.submit(order, frame)
    assert [seen.method for seen in server.seen] == ["POST", "GET", "POST"]


async def test_an_answer_about_another_members_task_is_not_taken(
    server: Scripted, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    for task_id in ("t-1", "t-2"):
        server.answers({"id": task_id})
        await vtrix.submit(order, frame)
    server.answers({"id": "t-2", "status": "completed"})
    with pytest.raises(UpstreamIll, match="about another"):
        await vtrix.status("t-1")


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
async def test_what_is_known_of_an_unknown_outcome_is_told(
    server: Scripted, vtrix: Vtrix, order: Order, frame: Frame, body: bytes, known: str
) -> None:
    server.answers(body)
    with pytest.raises(OutcomeUnknown, match=known):
        await vtrix.submit(order, frame)


def packed(size_mb: int) -> bytes:
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size_mb)) + packer.flush()


async def test_500_megabytes_that_travel_as_a_few_cost_no_memory(
    server: Scripted, vtrix: Vtrix, order: Order, frame: Frame
) -> None:
    server.answers(packed(500), Content_Encoding="gzip")
    tracemalloc.start()
    try:
        with pytest.raises(OutcomeUnknown, match="far too large"):
            await vtrix.submit(order, frame)
        assert tracemalloc.get_traced_memory()[1] < 32_000_000
    finally:
        tracemalloc.stop()


def spoilt(answer: bytes, dice: random.Random) -> bytes:
    """The answer with some of its bytes changed, doubled, or gone."""
    data = bytearray(answer)
    for _ in range(dice.randrange(1, 6)):
        at = dice.randrange(len(data))
        match dice.randrange(4):
            case 0:
                data[at] = dice.randrange(256)
            case 1:
                del data[at : at + dice.randrange(1, 30)]
            case 2:
                data[at:at] = dice.randbytes(dice.randrange(1, 10))
            case _:
                data[at:at] = data[at : at + dice.randrange(1, 40)]
        if not data:
            break
    return bytes(data)


@pytest.mark.parametrize("extra", ["", "Content-Encoding: gzip\r\n", "Transfer-Encoding: chunked\r\n"])
async def test_no_spoilt_answer_brings_anything_but_an_error_with_a_meaning(
    order: Order, frame: Frame, extra: str
) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{extra}Content-Length: {len(ANSWER)}\r\n\r\n"
    dice = random.Random(f"spoilt {extra}")  # noqa: S311  a fixed seed
    for number in range(40):
        answer = spoilt(head.encode() + ANSWER, dice)
        async with raw(answer) as server, Vtrix(server.url, KEY) as vtrix:
            try:
                task: Any = await vtrix.submit(order, frame)
                assert task.id, number
            except UpstreamError:
                pass
        assert server.connections == 1, "never twice"
