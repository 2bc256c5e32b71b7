import socket

import aiohttp
import pytest
from aiohttp import web

from bot.domain.errors import PortUnavailable
from bot.web.server import serving


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
