"""A stop in the middle of commands: each is finished or answered, and nothing is left with a traceback."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.process import run
from bot.store.engine import Database
from bot.store.guilds.membership import MembershipStore
from bot.store.maintenance.file_watch import CHECK_INTERVAL_S
from tests.discord_server import DiscordServer, Hang, Interaction, server_error
from tests.faulty_gateway import FaultyGateway
from tests.test_app import KEY, LocalServices, sample_picture

LONG_S = 60.0


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalServices]:
    async with DiscordServer() as discord, FaultyGateway(tmp_path / "upstream", KEY) as upstream:
        yield LocalServices(tmp_path, discord, upstream)


@asynccontextmanager
async def running(local: LocalServices, grace_s: float) -> AsyncIterator[asyncio.Task[None]]:
    """The whole bot with its commands; stopped at the end."""
    task = asyncio.create_task(
        run(local.settings(shutdown_grace_seconds=grace_s), commands=True, file_check_s=CHECK_INTERVAL_S)
    )
    try:
        await local.discord.state.until(lambda: local.discord.gateway.live or task.done(), timeout_s=LONG_S)
        yield task
    finally:
        if not task.done():
            stop()
        await task


def stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def order(local: LocalServices) -> Interaction:
    return await local.discord.slash(
        "animate", options={"prompt": "x"}, attachments={"image": await sample_picture()}
    )


def check_quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing was logged with a traceback."""
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_command_that_a_stop_interrupts_is_answered(
    local: LocalServices, caplog: pytest.LogCaptureFixture
) -> None:
    local.discord.fail_next("GET", "/cdn/*", Hang(), times=9)
    async with running(local, grace_s=0.1) as task:
        interaction = await order(local)
        await local.discord.state.until(lambda: local.discord.calls("GET", "/cdn/"))
        stop()
        await task
    assert interaction.original is not None
    assert "restart" in interaction.original.content
    assert "/videos list" in interaction.original.content
    check_quiet(caplog)


async def test_a_command_that_needs_a_moment_finishes_during_the_stop(
    local: LocalServices, caplog: pytest.LogCaptureFixture
) -> None:
    local.discord.fail_next("GET", "/cdn/*", server_error(503))  # the bot pauses before it asks again
    async with running(local, grace_s=LONG_S) as task:
        interaction = await order(local)
        await local.discord.state.until(lambda: local.discord.calls("GET", "/cdn/"))
        stop()
        await task
    assert "Got it" in (await interaction.answer()).content
    check_quiet(caplog)


async def test_a_welcome_that_waits_for_its_turn_ends_with_the_bot(
    local: LocalServices, caplog: pytest.LogCaptureFixture
) -> None:
    async with running(local, grace_s=0.1) as task:
        async with Database.open(local.settings().database_url) as database, asyncio.timeout(LONG_S):
            membership = MembershipStore(database)
            while await membership.unwelcomed(local.discord.guild.id):
                await asyncio.sleep(0)
        for name in ("One", "Two"):
            local.discord.invite(local.discord.state.add_guild(name))
        await local.discord.state.until(lambda: local.discord.calls("POST", "/users/@me/channels"))
        stop()
        await task
        assert [one for one in asyncio.all_tasks() if "on_guild_join" in one.get_name()] == []
    check_quiet(caplog)
