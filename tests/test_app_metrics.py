"""The whole bot with a port for metrics and health."""

import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from pydantic import SecretStr

from bot.app import open_app
from bot.chat.transport.client import RestClient
from bot.domain.errors import PortUnavailable
from bot.domain.jobs import JobState, ProviderName
from bot.domain.models import kind_of
from bot.domain.outcomes import JobUpdate, MoveTo, Reschedule
from bot.domain.provider_limits import ProviderLimits
from bot.domain.task_durations import TaskDuration
from bot.operations.clock import utc_now
from bot.process import run
from bot.store.engine import Database
from bot.store.jobs import task_durations
from bot.store.jobs.job_store import JobStore
from bot.worker.config import LEASE_DURATIONS
from tests.discord_server import DiscordServer
from tests.faulty_gateway import FaultyGateway
from tests.test_app import KEY, LocalServices, until


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalServices]:
    async with DiscordServer() as discord, FaultyGateway(tmp_path / "upstream", KEY) as upstream:
        yield LocalServices(tmp_path, discord, upstream)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


async def get(port: int, path: str) -> tuple[int, str]:
    async with aiohttp.request("GET", f"http://127.0.0.1:{port}{path}") as response:
        return response.status, await response.text()


@asynccontextmanager
async def running(local: LocalServices, *, commands: bool, **settings: Any) -> AsyncIterator["asyncio.Task[None]"]:
    """The whole bot, stopped at the end by a signal."""
    bot = asyncio.create_task(run(local.settings(**settings), commands=commands, file_check_s=60))
    try:
        yield bot
    finally:
        if not bot.done():
            os.kill(os.getpid(), signal.SIGTERM)
        await bot


async def ready(port: int, bot: "asyncio.Task[None]") -> dict[str, Any]:
    """The report of a bot that has become ready."""
    while not bot.done():
        try:
            status, body = await get(port, "/readyz")
        except aiohttp.ClientError:  # it does not listen yet
            status, body = 0, ""
        if status == 200:
            report: dict[str, Any] = json.loads(body)
            return report
        await asyncio.sleep(0.05)
    raise AssertionError("the bot has ended")


@pytest.mark.parametrize("commands", [True, False])
async def test_a_bot_and_a_worker_become_ready_and_export_what_they_ask_of_discord(
    local: LocalServices, *, commands: bool
) -> None:
    port = free_port()
    async with running(local, commands=commands, metrics_port=port) as bot:
        report = await ready(port, bot)
        assert report["parts"] == {part: {"status": "ok"} for part in ("database", "discord", "providers")}
        assert await get(port, "/healthz") == (200, '{"status": "alive"}')
        status, text = await get(port, "/metrics")
        assert status == 200
        login = 'method="GET",route="/users/@me",status="2xx"'
        assert f"zoetrope_discord_request_duration_seconds_count{{{login}}}" in text
        assert "zoetrope_discord_logged_in 1.0" in text
        assert ('zoetrope_discord_gateway_connected{shard="0"} 1.0' in text) is commands
    with pytest.raises(aiohttp.ClientConnectorError):
        await get(port, "/healthz")


@pytest.mark.full
async def test_a_bot_whose_jobs_others_work_on_knows_how_long_tasks_usually_take(local: LocalServices) -> None:
    job = await local.order_before_start()
    async with Database.open(local.settings().database_url) as database:
        store, now = JobStore(database), utc_now()
        [claimed] = await store.claim_due(now, 1, LEASE_DURATIONS)
        await store.reschedule([(claimed, Reschedule(None))], now)
        submitting = await store.claim_queued(now, (ProviderLimits(ProviderName.VTRIX, 5),), timedelta(minutes=1))
        assert submitting is not None
        task = JobUpdate(upstream_id="task-1", submitted_at=now)
        assert await store.apply(submitting, MoveTo(JobState.RUNNING, task), now)
        async with database.write() as connection:
            for _ in range(30):
                await task_durations.record(connection, kind_of(submitting), TaskDuration(40.0, 42.0))
    port, token = free_port(), "a-token-of-a-test"
    settings = local.settings(metrics_port=port, operator_page_token=SecretStr(token))
    bot = asyncio.create_task(run(settings, commands=True, file_check_s=60, works=False))
    try:
        await ready(port, bot)
        text, headers = "", {"Authorization": f"Bearer {token}"}
        async with asyncio.timeout(20), aiohttp.ClientSession(headers=headers) as session:
            while "; usually" not in text:
                async with session.get(f"http://127.0.0.1:{port}/jobs/{job.id}") as response:
                    text = await response.text()
                await asyncio.sleep(0.1)
    finally:
        os.kill(os.getpid(), signal.SIGTERM)
        await bot


async def test_a_bot_without_discord_is_alive_but_not_ready(local: LocalServices) -> None:
    async with open_app(local.settings(metrics_port=0), RestClient()) as app:
        assert app.metrics_port is not None
        assert (await get(app.metrics_port, "/healthz"))[0] == 200
        status, body = await get(app.metrics_port, "/readyz")
        assert status == 503
        assert json.loads(body)["parts"]["discord"] == {"status": "failed", "reason": "not logged in"}


async def test_a_taken_port_ends_the_start_with_an_explanation(local: LocalServices) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortUnavailable, match=f"^Port {port} on 127.0.0.1 can't be used"):
            await run(local.settings(metrics_port=port), commands=False, file_check_s=60)


async def test_without_a_port_nothing_listens(local: LocalServices) -> None:
    async with open_app(local.settings(), RestClient()) as app:
        assert app.metrics_port is None


@pytest.mark.parametrize(("commands", "servers"), [(True, "; 1 servers"), (False, "")])
async def test_a_start_is_logged_in_one_line(
    local: LocalServices, caplog: pytest.LogCaptureFixture, *, commands: bool, servers: str
) -> None:
    caplog.set_level(logging.INFO)

    def started() -> list[str]:
        return [message for message in caplog.messages if "started; " in message]

    async with running(local, commands=commands, budget_usd_per_month=None) as bot:
        await until(lambda: bool(started()) and any("logged in" in said for said in caplog.messages), bot)
    file = local.folder / "app.db"
    assert started() == [
        f"zoetrope 0.1.0 started; database: SQLite, {file}; budget: 10 USD a day, no limit a month{servers}"
    ]
