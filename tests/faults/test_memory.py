"""Whole processes on a machine whose memory runs out."""

import asyncio
import contextlib
import resource
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.discord_server import DiscordServer
from tests.e2e.test_processes import KEY, WITHIN_S, BotProcesses
from tests.faulty_gateway import FaultyGateway

pytestmark = pytest.mark.full

MIB = 2**20


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[BotProcesses]:
    async with DiscordServer() as discord, FaultyGateway(tmp_path / "upstream", KEY) as upstream:
        yield BotProcesses(tmp_path, discord, upstream)


async def test_a_process_without_memory_ends_and_the_next_one_continues(processes: BotProcesses) -> None:
    processes.upstream.task_seconds = 3600
    async with processes.start("run", SHUTDOWN_GRACE_SECONDS="5") as process:
        await processes.order()
        await processes.wait_for_message("Being made")
        take_memory(process)
        busy = asyncio.create_task(keep_busy(processes))
        async with asyncio.timeout(WITHIN_S):
            out, err = await process.communicate()
        busy.cancel()
    assert process.returncode not in (None, 0), (out + err).decode()
    assert b"MemoryError" in err

    processes.upstream.task_seconds = 0
    async with processes.start("run"):
        await processes.wait_until_finished()
    assert len(await processes.videos()) == len(processes.upstream.received)


async def keep_busy(processes: BotProcesses) -> None:
    """Orders again and again, whatever becomes of it: an idle process needs no more memory."""
    while True:
        with contextlib.suppress(TimeoutError):
            await processes.order()
        await asyncio.sleep(0.2)


def take_memory(process: Process) -> None:
    """Lets the process have less than it already uses: nothing more is allocated from the system."""
    hard = resource.prlimit(process.pid, resource.RLIMIT_AS)[1]
    resource.prlimit(process.pid, resource.RLIMIT_AS, (100 * MIB, hard))
