"""Whole processes that Discord rejects: their log, their exit code and the state after the next start."""

import asyncio
import signal
from asyncio.subprocess import Process

import pytest

from tests.discord_server import Answer
from tests.e2e.test_processes import WITHIN_S, BotProcesses, processes

pytestmark = pytest.mark.full

__all__ = ["processes"]


async def check_delivered_once(processes: BotProcesses) -> None:
    await processes.wait_until_finished()
    assert len(await processes.videos()) == 1
    assert len(processes.upstream.received) == 1
    assert processes.discord.messages() == processes.finished()


async def wait_for_exit(process: Process) -> tuple[int | None, str]:
    """The exit code and the log, once the process has ended by itself."""
    async with asyncio.timeout(WITHIN_S):
        out, err = await process.communicate()
    return process.returncode, (out + err).decode()


async def test_a_reset_token_ends_run_with_one_line_and_fails_no_job(processes: BotProcesses) -> None:
    good = processes.discord.token
    processes.upstream.task_seconds = 3600
    async with processes.start("run") as process:
        await processes.order()
        await processes.wait_for_message("Being made")
        processes.discord.revoke_token()
        await processes.discord.gateway.close_with(4004)
        code, output = await wait_for_exit(process)
    assert code == 1
    assert output.splitlines()[-1].startswith("zoetrope: Discord rejects DISCORD_TOKEN: the token was reset")
    assert "Traceback" not in output

    processes.discord.gateway.token = good
    processes.upstream.task_seconds = 0
    async with processes.start("run"):
        await check_delivered_once(processes)


async def test_a_reset_token_ends_a_separate_worker_without_a_burst_of_requests(processes: BotProcesses) -> None:
    good = processes.discord.token
    processes.upstream.task_seconds = 3600
    async with processes.start("run") as process:
        await processes.order()
        await processes.wait_for_message("Being made")
        process.send_signal(signal.SIGTERM)
        await process.communicate()

    async with processes.start("worker") as process:
        logins = processes.discord.calls
        await processes.discord.state.until(
            lambda: [call.status for call in logins("GET", "/oauth2/")] == [200, 200], timeout_s=WITHIN_S
        )
        processes.discord.revoke_token()
        processes.upstream.task_seconds = 0
        code, output = await wait_for_exit(process)
    assert code == 1
    assert output.splitlines()[-1].startswith("zoetrope: Discord rejects DISCORD_TOKEN: the token was reset")
    assert len([call for call in processes.discord.requests if call.status == 401]) < 20

    processes.discord.gateway.token = good
    async with processes.start("worker"):
        await check_delivered_once(processes)


async def test_a_gateway_error_at_the_start_needs_no_restart(processes: BotProcesses) -> None:
    processes.discord.fail_next("GET", "/gateway", Answer(503, "no"))
    async with processes.start("run"):
        await processes.order()
        await check_delivered_once(processes)
