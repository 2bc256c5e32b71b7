import asyncio
import socket

import aiohttp
import pytest
from aiohttp import web

from bot.domain.errors import PortUnavailable
from bot.web.server import is_loopback, names_this_machine, serving


async def hello(_: web.Request) -> web.Response:
    return web.Response(text="hello")


async def broken(_: web.Request) -> web.Response:
    raise RuntimeError("the password is hunter2")


ROUTES = [web.get("/hello", hello), web.get("/broken", broken)]


async def test_the_routes_answer_until_the_server_is_left() -> None:
    async with (
        serving(ROUTES, host="127.0.0.1", port=0) as port,
        aiohttp.request("GET", f"http://127.0.0.1:{port}/hello") as response,
    ):
        assert (response.status, await response.text()) == (200, "hello")
    with pytest.raises(aiohttp.ClientConnectorError):
        async with aiohttp.request("GET", f"http://127.0.0.1:{port}/hello"):
            pass


async def test_responses_are_neither_cached_nor_framed_nor_name_the_servers_version() -> None:
    async with serving(ROUTES, host="127.0.0.1", port=0) as port, aiohttp.ClientSession() as session:
        for path in ("hello", "unknown"):
            async with session.get(f"http://127.0.0.1:{port}/{path}") as response:
                headers = response.headers
                assert headers["Server"] == "zoetrope"
                assert headers["Cache-Control"] == "no-store"
                assert headers["X-Content-Type-Options"] == "nosniff"
                assert headers["X-Frame-Options"] == "DENY"


async def test_an_error_says_nothing_about_its_cause() -> None:
    async with (
        serving(ROUTES, host="127.0.0.1", port=0) as port,
        aiohttp.request("GET", f"http://127.0.0.1:{port}/broken") as response,
    ):
        assert response.status == 500
        assert "hunter2" not in await response.text()


async def test_a_request_that_is_too_large_is_refused() -> None:
    async def read(request: web.Request) -> web.Response:
        return web.Response(text=str(len(await request.read())))

    async with (
        serving([web.post("/read", read)], host="127.0.0.1", port=0) as port,
        aiohttp.request("POST", f"http://127.0.0.1:{port}/read", data=bytes(100_000)) as response,
    ):
        assert response.status == 413


async def test_a_taken_port_is_explained() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortUnavailable) as caught:
            async with serving(ROUTES, host="127.0.0.1", port=port):
                pass
    assert str(caught.value) == (
        f"Port {port} on 127.0.0.1 can't be used: Address already in use. Choose others in METRICS_PORT and "
        "METRICS_HOST, or stop what uses this one."
    )


@pytest.mark.parametrize("host", ["192.0.2.1", "a.host.that.is.invalid"])
async def test_an_address_of_no_interface_is_explained(host: str) -> None:
    with pytest.raises(PortUnavailable, match=f"on {host} can't be used: "):
        async with serving(ROUTES, host=host, port=0):
            pass


@pytest.mark.parametrize(
    ("host", "is_local"),
    [
        ("127.0.0.1", True),
        ("127.8.8.8", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),  # noqa: S104 - nothing listens here
        ("::", False),
        ("192.168.1.4", False),
        ("bot.example", False),
    ],
)
def test_which_addresses_are_reached_from_this_machine_only(host: str, *, is_local: bool) -> None:
    assert is_loopback(host) is is_local


async def test_on_this_machine_nothing_is_answered_to_another_name_that_leads_here() -> None:
    async with serving(ROUTES, host="127.0.0.1", port=0) as port, aiohttp.ClientSession() as session:
        url = f"http://127.0.0.1:{port}/hello"
        answers = [await session.get(url, headers={"Host": host}) for host in ("evil.example", "localhost")]
    assert [answer.status for answer in answers] == [403, 200]


async def test_a_probe_without_a_host_is_answered() -> None:
    async with serving(ROUTES, host="127.0.0.1", port=0) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /hello HTTP/1.0\r\n\r\n")
        assert b" 200 " in await reader.readline()
        writer.close()


@pytest.mark.parametrize(
    ("host", "is_ours"),
    [
        ("127.0.0.1", True),
        ("127.0.0.1:9464", True),
        ("localhost:8080", True),
        ("LOCALHOST.", True),
        ("[::1]:9464", True),
        ("", False),
        ("evil.example", False),
        ("localhost.evil.example:9464", False),
        ("127.0.0.1.evil.example", False),
        ("[::2]:9464", False),
        ("[", False),
    ],
)
def test_another_name_that_leads_here_is_not_this_machine(host: str, *, is_ours: bool) -> None:
    assert names_this_machine(host) is is_ours


@pytest.mark.parametrize("body", [b"abc", b"Content-Encoding: gzip"])
async def test_a_body_that_is_cut_off_or_malformed_is_no_error_of_ours(
    caplog: pytest.LogCaptureFixture, body: bytes
) -> None:
    async def read(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    encoding = b"Content-Encoding: gzip\r\n" if b"gzip" in body else b""
    rest = b"abc" if b"gzip" not in body else b"x" * 20
    routes = [*ROUTES, web.post("/read", read)]
    async with serving(routes, host="127.0.0.1", port=0) as port, aiohttp.ClientSession() as session:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(
            b"POST /read HTTP/1.1\r\nHost: localhost\r\n" + encoding + b"Content-Length: 20\r\n\r\n" + rest
        )
        await writer.drain()
        writer.close()
        await session.get(f"http://127.0.0.1:{port}/hello")  # is answered after that
    assert not [line for line in caplog.records if line.levelname == "ERROR"]


HEAD = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n"


@pytest.mark.parametrize(
    ("begin", "answered"),
    [(b"", b""), (HEAD, b""), (HEAD + b"\r\n", b"HTTP/1.1 408 ")],
)
async def test_a_request_that_arrives_byte_by_byte_does_not_hold_its_connection(
    begin: bytes, answered: bytes
) -> None:
    async def read(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async with serving([web.post("/read", read)], host="127.0.0.1", port=0, request_s=0.3) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begin)
        sending = asyncio.create_task(send_slowly(writer, b"x" if begin else b""))
        async with asyncio.timeout(30):
            said = await reader.read()
        sending.cancel()
        writer.close()
    assert said.startswith(answered)


async def send_slowly(writer: asyncio.StreamWriter, byte: bytes) -> None:
    while True:
        writer.write(byte)
        await asyncio.sleep(0.05)


async def test_an_idle_connection_is_closed_after_its_answer() -> None:
    async with serving(ROUTES, host="127.0.0.1", port=0, request_s=0.3) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(30):
            assert (await reader.read()).endswith(b"hello")
        writer.close()
