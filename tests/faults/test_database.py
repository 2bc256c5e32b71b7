# ruff: noqa: ASYNC240 - small files of the test's own
"""Whole processes with a failing database: what the member, the operator and the upstream see."""

import asyncio
import resource
import signal
import subprocess
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select, text

from bot.store.engine import Database
from bot.store.maintenance.backup import copy_of, inspect_file
from bot.store.schema import jobs
from tests.discord_server import DiscordServer
from tests.discord_server.interactions import Interaction
from tests.e2e.test_processes import KEY, WITHIN_S, BotProcesses
from tests.faulty_gateway import FaultyGateway
from tests.isolation import honour_file_modes
from tests.store import postgres_server
from tests.store.maintenance.test_backup import damage_file
from tests.store.postgres_server import Server

pytestmark = pytest.mark.full


@dataclass
class DatabaseProcesses(BotProcesses):
    """Bot processes whose database a test damages or makes unwritable."""

    @property
    def file(self) -> Path:
        return self.folder / "zoetrope.db"

    async def order_reply(self) -> str:
        """The reply to a member's order."""
        order: Interaction = await self.order()
        return (await order.answer(timeout_s=WITHIN_S)).content

    async def states(self, url: str | None = None) -> list[str]:
        async with (
            Database.open(url or self.environment["DATABASE_URL"]) as database,
            database.read() as connection,
        ):
            rows = await connection.execute(select(jobs.c.state).order_by(jobs.c.created_at))
            return list(rows.scalars())


@pytest.fixture
async def processes(tmp_path: Path) -> AsyncIterator[DatabaseProcesses]:
    async with (
        DiscordServer() as discord,
        FaultyGateway(tmp_path / "upstream", KEY) as upstream,
    ):
        yield DatabaseProcesses(tmp_path, discord, upstream)


@pytest.fixture
def server() -> Iterator[Server]:
    with postgres_server.started() as server:
        yield server


async def stop(process: Process) -> str:
    """Stops a process gracefully and returns its log."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(WITHIN_S):
        _, log = await process.communicate()
    return log.decode()


async def test_a_second_process_on_the_same_file_exits_but_read_only_commands_work(
    processes: DatabaseProcesses,
) -> None:
    async with processes.start("run") as process:
        await processes.discord.state.until(lambda: processes.discord.gateway.live, timeout_s=WITHIN_S)
        commands = (["worker"], ["db", "upgrade"], ["db", "restore", "any.db"], ["doctor"], ["db", "status"])
        answers = await asyncio.gather(*(processes.output(*command) for command in commands))

        for code, output in answers[:3]:
            assert code == 1
            assert f"zoetrope.db is in use by another Zoetrope (process {process.pid} on " in output
            assert len(output.splitlines()) == 1
        for code, output in answers[3:]:
            assert code == 0
            assert "ok   database: reachable and up to date." in output
        assert process.returncode is None


async def test_restoring_a_backup_made_while_the_bot_ran_pays_and_posts_nothing_again(
    processes: DatabaseProcesses,
) -> None:
    processes.upstream.task_seconds = 3600
    async with processes.start("run") as process:
        await processes.order()
        await processes.wait_for_message("Being made")
        code, output = await processes.output("db", "backup", "copy.db")
        assert code == 0, output
        assert "jobs: 1" in output
        processes.upstream.task_seconds = 0
        await processes.wait_until_finished()
        await stop(process)

    code, output = await processes.output("db", "restore", "copy.db")
    assert code == 0, output
    assert "Jobs in progress in the backup: 1." in output
    async with processes.start("run"):
        await processes.wait_for_message("restored from an older copy")
        await processes.wait_until_notified()
    assert await processes.states() == ["failed"]
    assert len(processes.upstream.received) == 1
    assert len(await processes.videos()) == 1


async def test_a_full_disk_refuses_orders_and_loses_nothing(processes: DatabaseProcesses) -> None:
    processes.upstream.task_seconds = 3600
    async with processes.start("run") as process:
        await processes.order()
        await processes.wait_for_message("Being made")
        fill_disk(process)
        processes.upstream.task_seconds = 0

        reply = await processes.order_reply()
        assert "not** placed and nothing is charged" in reply
        free_disk(process)
        await processes.wait_until_finished()
        assert "Got it!" in await processes.order_reply()
        await processes.videos(2)
        await processes.wait_until_finished(2)
        log = await stop(process)

    assert process.returncode == 0
    assert "the disk is full, missing or broken" in log
    assert await processes.states() == ["delivered", "delivered"]
    assert len(processes.upstream.received) == 2
    assert len(await processes.videos(2)) == 2


def fill_disk(process: Process) -> None:
    """Makes every write of the process fail, as on a full disk."""
    hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, hard))


def free_disk(process: Process) -> None:
    hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))


@pytest.mark.parametrize("what", ["file", "folder"])
async def test_a_start_on_a_read_only_database_says_so(
    processes: DatabaseProcesses, migrated_file: Path, what: str
) -> None:
    before = migrated_file.read_bytes()
    processes.file.write_bytes(before)
    target, mode = (processes.file, 0o400) if what == "file" else (processes.folder, 0o500)
    target.chmod(mode)
    processes.preexec = honour_file_modes
    try:
        async with processes.start("run") as process, asyncio.timeout(WITHIN_S):
            _, log = await process.communicate()
    finally:
        target.chmod(0o700)

    output = log.decode()
    assert process.returncode == 1
    assert "zoetrope: The database file" in output
    assert "ive this user write access" in output
    assert "Traceback" not in output
    assert processes.file.read_bytes() == before


async def test_a_start_on_a_damaged_file_names_a_restore_command_that_works(
    processes: DatabaseProcesses, migrated_file: Path
) -> None:
    """The store's tests cover each kind of damage."""
    copy_of(migrated_file, processes.folder / "copy.db")
    processes.file.write_bytes(migrated_file.read_bytes())
    damage_file(processes.file, "page")
    before = processes.file.read_bytes()

    code, output = await processes.output("run")

    assert code == 1
    assert "`zoetrope db restore FILE`" in output
    assert "Traceback" not in output
    assert processes.file.read_bytes() == before
    assert (await processes.output("db", "status"))[0] == 1
    assert (await processes.output("db", "restore", "copy.db"))[0] == 0
    assert inspect_file(processes.file).rows["jobs"] == 0


async def test_a_start_on_a_file_of_a_newer_version_changes_nothing(
    processes: DatabaseProcesses, migrated_file: Path
) -> None:
    processes.file.write_bytes(migrated_file.read_bytes())
    async with processes.database() as database, database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    before = processes.file.read_bytes()

    code, output = await processes.output("run")

    assert code == 1
    assert "written by a newer version" in output
    assert processes.file.read_bytes() == before


async def test_a_database_server_restart_loses_and_duplicates_nothing(
    processes: DatabaseProcesses, server: Server
) -> None:
    """With a job in each active state, and an order while the database server is down."""
    url = server.url
    processes.upstream.task_seconds = 3600
    limits = {"UPSTREAM_MAX_RUNNING": "2", "QUOTA_RUNNING": "10", "QUOTA_VIDEOS_PER_DAY": "100"}
    async with processes.start("run", DATABASE_URL=url, **limits) as process:
        for _ in range(4):
            await processes.order()
        await processes.discord.state.until(lambda: len(processes.upstream.received) == 2, timeout_s=WITHIN_S)
        await processes.wait_for_message("Being made")

        server.stop(signal.SIGQUIT)
        processes.upstream.task_seconds = 0
        assert "not** placed and nothing is charged" in await processes.order_reply()
        server.start()

        assert "Got it!" in await processes.order_reply()
        await processes.wait_until_finished(5)
        log = await stop(process)

    assert process.returncode == 0
    assert "the server is running" in log
    assert await processes.states(url) == ["delivered"] * 5
    assert len(processes.upstream.received) == 5
    assert len(await processes.videos(5)) == 5


def test_the_suggested_postgresql_backup_command_omits_the_password() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bot", "db", "backup", "x"],
        env={"DATABASE_URL": "postgresql://me:s3cret-s3cret@127.0.0.1/d", "PATH": "/usr/bin"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=WITHIN_S,
        check=False,
    )
    assert done.returncode == 1
    assert "pg_dump" in done.stderr
    assert "s3cret-s3cret" not in done.stderr
