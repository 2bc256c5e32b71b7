"""The image's health check, against real servers."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from tests.deploy.deploy_files import DEPLOY


@asynccontextmanager
async def server(status: int, host: str = "127.0.0.1") -> AsyncIterator[str]:
    """Answers `/healthz` with this status; its port."""

    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status)

    app = web.Application()
    app.router.add_get("/healthz", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, 0).start()
        yield str(runner.addresses[0][1])
    finally:
        await runner.cleanup()


async def check(port: str, **environment: str) -> tuple[int | None, str]:
    """The exit code and the output of the health check."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", DEPLOY / "healthcheck.py", stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={"PATH": os.environ["PATH"], "METRICS_PORT": port} | environment,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode, output.decode()


async def test_a_bot_that_answers_is_healthy() -> None:
    async with server(200) as port:
        assert await check(port) == (0, "200\n")


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_a_bot_that_says_it_is_not_alive_is_unhealthy(status: int) -> None:
    async with server(status) as port:
        code, output = await check(port)
    assert code == 1
    assert str(status) in output


@pytest.mark.parametrize("port", ["1", "none"])
async def test_a_bot_that_cannot_be_asked_is_unhealthy_without_a_traceback(port: str) -> None:
    code, output = await check(port)
    assert code == 1
    assert output.count("\n") == 1


async def test_a_proxy_is_not_asked_about_this_container() -> None:
    async with server(200) as port:
        assert (await check(port, http_proxy="http://127.0.0.1:1"))[0] == 0


@pytest.mark.parametrize("host", ["127.0.0.2", "::1"])
async def test_the_address_that_the_bot_listens_on_is_asked(host: str) -> None:
    async with server(200, host) as port:
        assert await check(port, METRICS_HOST=host) == (0, "200\n")
        assert (await check(port))[0] == 1


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::"])  # noqa: S104 - asked about, not listened on
async def test_a_bot_that_listens_on_every_address_is_asked_on_this_machine(host: str) -> None:
    async with server(200) as port:
        assert await check(port, METRICS_HOST=host) == (0, "200\n")


async def test_a_port_that_the_system_chooses_is_not_asked() -> None:
    code, output = await check("0")
    assert (code, output.count("not asked")) == (0, 1)


async def test_without_a_port_nobody_is_asked() -> None:
    assert (await check(""))[0] == 0
