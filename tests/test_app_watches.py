"""What ends or silences a running bot: no memory, a database file that is gone."""

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from bot.domain.errors import OutOfMemory
from bot.operations.memory_watch import TIMES
from bot.process import run
from tests.discord_server import DiscordServer, FaultPhase, Reset
from tests.faulty_gateway import Ending, Fault, FaultyGateway, Route
from tests.test_app import KEY, LocalServices, sample_picture


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[LocalServices]:
    async with DiscordServer() as discord, FaultyGateway(tmp_path / "upstream", KEY) as upstream:
        yield LocalServices(tmp_path, discord, upstream)


async def start(local: LocalServices, **settings: object) -> "asyncio.Task[None]":
    """The whole bot, connected."""
    task = asyncio.create_task(run(local.settings(**settings), commands=True, file_check_s=0.05))
    await until(lambda: local.discord.gateway.live or task.done())
    return task


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.01)


async def test_repeated_lack_of_memory_ends_the_bot_cleanly_and_within_a_deadline(local: LocalServices) -> None:
    task = await start(local, shutdown_grace_seconds=5)
    try:
        for _ in range(TIMES):
            logging.getLogger("bot.anything").error("a step failed", exc_info=MemoryError())
        with pytest.raises(OutOfMemory, match="more memory"):
            await task
        assert 0 < signal.alarm(0) <= 35
    finally:
        signal.alarm(0)
    assert not local.discord.gateway.live


async def test_a_deleted_database_refuses_orders_and_the_operator_is_told(
    local: LocalServices,
) -> None:
    log_channel = local.discord.state.add_channel(local.discord.guild, "operator")
    task = await start(local, operator_log_channel_id=log_channel.id)
    for file in local.folder.glob("app.db*"):
        file.unlink()

    picture = {"image": await sample_picture()}
    order = await local.discord.slash("animate", options={"prompt": "x"}, attachments=picture)
    assert "was **not** placed" in (await order.answer()).content
    await until(lambda: local.discord.messages(log_channel.id))
    [message] = local.discord.messages(log_channel.id)
    assert "The database file is gone" in message.content
    [copy] = local.folder.glob("app-*-saved.db")
    assert f"zoetrope db restore {copy} --resume" in message.content
    os.kill(os.getpid(), signal.SIGTERM)
    await task


async def test_a_database_deleted_right_before_a_stop_is_saved_and_the_operator_told(local: LocalServices) -> None:
    """The next check would have been too late."""
    log_channel = local.discord.state.add_channel(local.discord.guild, "operator")
    settings = local.settings(operator_log_channel_id=log_channel.id)
    task = asyncio.create_task(run(settings, commands=True, file_check_s=3600))
    await until(lambda: local.discord.gateway.live or task.done())
    for file in local.folder.glob("app.db*"):
        file.unlink()
    os.kill(os.getpid(), signal.SIGTERM)
    await task

    [copy] = local.folder.glob("app-*-saved.db")
    [message] = local.discord.messages(log_channel.id)
    assert f"zoetrope db restore {copy} --resume" in message.content


@pytest.mark.full
async def test_a_stop_saves_a_deleted_database_before_it_waits_for_steps_in_progress(local: LocalServices) -> None:
    """A host kills a process that takes long to stop, and the steps can't be written any more."""
    local.upstream.fault(Route.CREATE, Fault(ending=Ending.HANG))
    settings = local.settings(shutdown_grace_seconds=10)
    task = asyncio.create_task(run(settings, commands=True, file_check_s=3600))
    await until(lambda: local.discord.gateway.live or task.done())
    await local.discord.slash("animate", options={"prompt": "x"}, attachments={"image": await sample_picture()})
    await until(lambda: local.upstream.received)
    for file in local.folder.glob("app.db*"):
        file.unlink()
    os.kill(os.getpid(), signal.SIGTERM)
    await until(lambda: list(local.folder.glob("app-*-saved.db")))

    assert steps_in_progress()
    await task


def steps_in_progress() -> bool:
    return any(task.get_name().startswith("job ") for task in asyncio.all_tasks())


async def test_the_alert_about_a_lost_database_is_posted_once_though_its_answer_was_lost(
    local: LocalServices,
) -> None:
    log_channel = local.discord.state.add_channel(local.discord.guild, "operator")
    path = f"/channels/{log_channel.id}/messages"
    local.discord.fail_next("POST", path, Reset(FaultPhase.AFTER))
    task = await start(local, operator_log_channel_id=log_channel.id)
    for file in local.folder.glob("app.db*"):
        file.unlink()
    await until(lambda: len(local.discord.calls("POST", path)) > 1)
    os.kill(os.getpid(), signal.SIGTERM)
    await task

    assert len(local.discord.messages(log_channel.id)) == 1
