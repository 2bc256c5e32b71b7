"""Whole processes whose Discord turns away: what they say, how they end, what is there after the next start."""

import asyncio
import signal
from asyncio.subprocess import Process

from tests.discord_server import Answer
from tests.e2e.test_processes import WITHIN_S, OperatorState, house

__all__ = ["house"]


async def is_delivered_once(house: OperatorState) -> None:
    await house.saying("is ready")
    assert len(await house.videos()) == 1
    assert len(house.upstream.received) == 1
    assert len([message for message in house.discord.messages() if "is ready" in message.content]) == 1


async def end_of(process: Process) -> tuple[int | None, str]:
    """Exit code and log, once it ended by itself."""
    async with asyncio.timeout(WITHIN_S):
        out, err = await process.communicate()
    return process.returncode, (out + err).decode()


async def test_a_token_that_is_reset_ends_run_with_a_line_and_fails_no_job(house: OperatorState) -> None:
    good = house.discord.token
    house.upstream.task_seconds = 3600
    async with house.process("run") as process:
        await house.order()
        await house.saying("is being made")
        house.discord.revoke_token()
        await house.discord.gateway.close_with(4004)
        code, said = await end_of(process)
    assert code == 1
    assert said.splitlines()[-1].startswith("zoetrope: Discord rejects DISCORD_TOKEN: the token was reset")
    assert "Traceback" not in said

    house.discord.gateway.token = good
    house.upstream.task_seconds = 0
    async with house.process("run"):
        await is_delivered_once(house)


async def test_a_token_that_is_reset_ends_a_worker_alone_too_without_a_stampede(house: OperatorState) -> None:
    good = house.discord.token
    house.upstream.task_seconds = 3600
    async with house.process("run") as process:
        await house.order()
        await house.saying("is being made")
        process.send_signal(signal.SIGTERM)
        await process.communicate()

    async with house.process("worker") as process:
        logins = house.discord.calls
        await house.discord.world.until(
            lambda: [call.status for call in logins("GET", "/oauth2/")] == [200, 200], timeout_s=WITHIN_S
        )
        house.discord.revoke_token()
        house.upstream.task_seconds = 0
        code, said = await end_of(process)
    assert code == 1
    assert said.splitlines()[-1].startswith("zoetrope: Discord rejects DISCORD_TOKEN: the token was reset")
    assert len([call for call in house.discord.requests if call.status == 401]) < 20

    house.discord.gateway.token = good
    async with house.process("worker"):
        await is_delivered_once(house)


async def test_a_gateway_that_is_ill_at_the_start_needs_no_restart(house: OperatorState) -> None:
    house.discord.fail_next("GET", "/gateway", Answer(503, "no"))
    async with house.process("run"):
        await house.order()
        await is_delivered_once(house)
