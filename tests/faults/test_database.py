# ruff: noqa: ASYNC240 - small files of the test's own
"""Whole processes whose database is at fault: what the member, the operator and the upstream see of it."""

import asyncio
import ctypes
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

from bot.demo.gateway import LocalGateway
from bot.store.engine import Database
from bot.store.maintenance.backup import copy_of, inspect_file
from bot.store.schema import jobs
from tests.discord_server import DiscordServer
from tests.discord_server.interactions import Interaction
from tests.e2e.test_processes import KEY, WITHIN_S, OperatorState
from tests.store import postgres_server
from tests.store.maintenance.test_backup import spoil
from tests.store.postgres_server import Server

DROP_BOUND, OVERRIDE_RIGHTS, SEARCH_ALL = 24, 1, 2
"""Of prctl(2) and capabilities(7): what lets root pass over a file's rights."""


@dataclass
class PolicyEntry(OperatorState):
    """A house of which one process can be made as weak as any user's."""

    @property
    def file(self) -> Path:
        return self.folder / "house.db"

    async def answer_to_an_order(self) -> str:
        """What a member is told who orders."""
        order: Interaction = await self.order()
        return await self.discord.world.until(
            lambda: order.original.content if order.original else None, timeout_s=WITHIN_S
        )

    async def states(self, url: str | None = None) -> list[str]:
        async with (
            Database.open(url or self.environment["DATABASE_URL"]) as database,
            database.read() as connection,
        ):
            rows = await connection.execute(select(jobs.c.state).order_by(jobs.c.created_at))
            return list(rows.scalars())


def give_up_power() -> None:
    """Makes the process heed the rights of files even where it is root's."""
    libc = ctypes.CDLL(None)
    for capability in (OVERRIDE_RIGHTS, SEARCH_ALL):
        libc.prctl(DROP_BOUND, capability, 0, 0, 0)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[PolicyEntry]:
    async with (
        DiscordServer() as discord,
        LocalGateway(folder=tmp_path / "upstream", api_key=KEY, render=False) as upstream,
    ):
        yield PolicyEntry(tmp_path, discord, upstream)


@pytest.fixture
def server() -> Iterator[Server]:
    with postgres_server.started() as server:
        yield server


async def stopped(process: Process) -> str:
    """Ends a process in order; what it has logged."""
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(WITHIN_S):
        _, log = await process.communicate()
    return log.decode()


async def test_a_second_process_on_the_file_says_so_and_ends_and_the_looks_work_beside_the_first(
    house: PolicyEntry,
) -> None:
    async with house.process("run") as process:
        await house.discord.world.until(lambda: house.discord.gateway.live, timeout_s=WITHIN_S)
        commands = (["worker"], ["db", "upgrade"], ["db", "restore", "any.db"], ["doctor"], ["db", "status"])
        answers = await asyncio.gather(*(house.output(*command) for command in commands))

        for code, said in answers[:3]:
            assert code == 1
            assert f"house.db is in use by another Zoetrope (process {process.pid} on " in said
            assert len(said.splitlines()) == 1
        for code, said in answers[3:]:
            assert code == 0
            assert "ok   database: reachable and up to date." in said
        assert process.returncode is None


async def test_a_backup_made_beside_the_bot_is_restored_and_nothing_of_it_is_paid_or_posted_again(
    house: PolicyEntry,
) -> None:
    house.upstream.task_seconds = 3600
    async with house.process("run") as process:
        await house.order()
        await house.saying("is being made")
        code, said = await house.output("db", "backup", "copy.db")
        assert code == 0, said
        assert "1 jobs" in said
        house.upstream.task_seconds = 0
        await house.saying("is ready")
        await stopped(process)

    code, said = await house.output("db", "restore", "copy.db")
    assert code == 0, said
    assert "1 jobs were under way then" in said
    async with house.process("run"):
        await house.saying("restored from an older copy")
        await house.told()
    assert await house.states() == ["failed"]
    assert len(house.upstream.received) == 1
    assert len(await house.videos()) == 1


async def test_a_full_disk_takes_no_order_says_so_and_loses_nothing(house: PolicyEntry) -> None:
    house.upstream.task_seconds = 3600
    async with house.process("run") as process:
        await house.order()
        await house.saying("is being made")
        fill_up(process)
        house.upstream.task_seconds = 0

        told = await house.answer_to_an_order()
        assert "not** taken and nothing is charged" in told
        make_room(process)
        await house.saying("is ready")
        assert "Got it!" in await house.answer_to_an_order()
        await house.videos(2)
        await house.discord.world.until(lambda: len(finished(house)) == 2, timeout_s=WITHIN_S)
        log = await stopped(process)

    assert process.returncode == 0
    assert "the disk is full, gone or broken" in log
    assert await house.states() == ["delivered", "delivered"]
    assert len(house.upstream.received) == 2
    assert len(await house.videos(2)) == 2


def fill_up(process: Process) -> None:
    """From now on no file of the process grows or is written: the disk's end is at its beginning."""
    hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, hard))


def make_room(process: Process) -> None:
    hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))


def finished(house: PolicyEntry) -> list[object]:
    return [message for message in house.discord.messages() if "is ready" in message.content]


@pytest.mark.parametrize("what", ["file", "folder"])
async def test_a_start_on_what_is_read_only_says_so(house: PolicyEntry, migrated_file: Path, what: str) -> None:
    before = migrated_file.read_bytes()
    house.file.write_bytes(before)
    target, mode = (house.file, 0o400) if what == "file" else (house.folder, 0o500)
    target.chmod(mode)
    house.before = give_up_power
    try:
        async with house.process("run") as process, asyncio.timeout(WITHIN_S):
            _, log = await process.communicate()
    finally:
        target.chmod(0o700)

    said = log.decode()
    assert process.returncode == 1
    assert "zoetrope: The database file" in said
    assert "right to write there" in said
    assert "Traceback" not in said
    assert house.file.read_bytes() == before


async def test_a_start_on_a_damaged_file_names_the_command_that_restores_and_that_one_works(
    house: PolicyEntry, migrated_file: Path
) -> None:
    """Each kind of damage is the store's to find; see its tests."""
    copy_of(migrated_file, house.folder / "copy.db")
    house.file.write_bytes(migrated_file.read_bytes())
    spoil(house.file, "page")
    before = house.file.read_bytes()

    code, said = await house.output("run")

    assert code == 1
    assert "`zoetrope db restore FILE`" in said
    assert "Traceback" not in said
    assert house.file.read_bytes() == before
    assert (await house.output("db", "status"))[0] == 1
    assert (await house.output("db", "restore", "copy.db"))[0] == 0
    assert inspect_file(house.file).rows["jobs"] == 0


async def test_a_start_on_a_file_of_a_newer_version_touches_nothing(
    house: PolicyEntry, migrated_file: Path
) -> None:
    house.file.write_bytes(migrated_file.read_bytes())
    async with house.database() as database, database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    before = house.file.read_bytes()

    code, said = await house.output("run")

    assert code == 1
    assert "written by a newer version" in said
    assert house.file.read_bytes() == before


async def test_a_server_that_is_stopped_and_started_again_loses_and_doubles_nothing(
    house: PolicyEntry, server: Server
) -> None:
    """With a job in each of the states in which something is under way, and an order while it is gone."""
    url = server.url
    house.upstream.task_seconds = 3600
    limits = {"UPSTREAM_MAX_RUNNING": "2", "QUOTA_RUNNING": "10", "QUOTA_VIDEOS_PER_DAY": "100"}
    async with house.process("run", DATABASE_URL=url, **limits) as process:
        for _ in range(4):
            await house.order()
        await house.discord.world.until(lambda: len(house.upstream.received) == 2, timeout_s=WITHIN_S)
        await house.saying("is being made")

        server.stop(signal.SIGQUIT)
        house.upstream.task_seconds = 0
        assert "not** taken and nothing is charged" in await house.answer_to_an_order()
        server.start()

        assert "Got it!" in await house.answer_to_an_order()
        await house.discord.world.until(lambda: len(finished(house)) == 5, timeout_s=WITHIN_S)
        log = await stopped(process)

    assert process.returncode == 0
    assert "the server is running" in log
    assert await house.states(url) == ["delivered"] * 5
    assert len(house.upstream.received) == 5
    assert len(await house.videos(5)) == 5


def test_the_command_that_is_told_for_postgresql_is_without_the_password() -> None:
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
