"""The gateway's render process ends when it should, without any output."""

import asyncio
import io
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from PIL import Image

from bot.domain.jobs import Frame, Order, Resolution
from bot.providers.base import TaskRef, TaskStatus
from bot.providers.vtrix.client import Vtrix

SOON_S = 60.0


async def render_once(url: str) -> None:
    """After one video the second process is surely running."""
    picture = io.BytesIO()
    Image.new("RGB", (360, 360), "teal").save(picture, "PNG")
    order = Order(prompt="x", resolution=Resolution.P480)
    async with Vtrix(url, "demo-key") as vtrix:
        task = await vtrix.submit(order, Frame(data=picture.getvalue(), mime="image/png"), request_id="a-job")
        while task.status is TaskStatus.IN_PROGRESS:
            await asyncio.sleep(0.05)
            task = await vtrix.status(TaskRef(task.id))
        assert task.status is TaskStatus.COMPLETED


@pytest.fixture
async def gateway(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Process]:
    """A gateway in a process group of its own, that has rendered a video."""
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(Path(__file__).with_name("gateway_process.py")), str(tmp_path)),
        stdout=PIPE,
        stderr=PIPE,
        start_new_session=True,
    )
    assert process.stdout is not None
    async with asyncio.timeout(SOON_S):
        await render_once((await process.stdout.readline()).decode().strip())
    yield process
    if process.returncode is None:
        process.kill()
        await process.communicate()


@pytest.mark.full
async def test_a_ctrl_c_ends_both_processes_without_error_output(gateway: Process) -> None:
    os.killpg(gateway.pid, signal.SIGINT)
    async with asyncio.timeout(SOON_S):
        _, errors = await gateway.communicate()
    assert (gateway.returncode, errors) == (0, b"")


@pytest.mark.full
async def test_the_render_process_does_not_outlive_a_killed_gateway(gateway: Process) -> None:
    gateway.kill()
    assert gateway.stdout is not None
    async with asyncio.timeout(SOON_S):
        # The end of the output is there when nobody is left who could write to it.
        assert await gateway.stdout.read() == b""
