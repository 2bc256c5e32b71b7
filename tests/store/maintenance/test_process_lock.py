# ruff: noqa: ASYNC240 - small files of the test's own
import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.domain.errors import StoreError
from bot.store.maintenance.process_lock import process_lock

HOLDER = """
import sys
from bot.store.maintenance.process_lock import process_lock

with process_lock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "zoetrope.db"


@asynccontextmanager
async def holder(file: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Another process that uses the database, until it is killed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", HOLDER, f"sqlite:///{file}"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await process.stdout.readline() == b"held\n"
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_a_file_in_use_is_refused_naming_the_process_that_uses_it_and_what_to_do(file: Path) -> None:
    async with holder(file) as process:
        with (
            pytest.raises(StoreError, match=rf"zoetrope\.db is in use.*process {process.pid} on .*PostgreSQL"),
            process_lock(f"sqlite:///{file}"),
        ):
            pass
    assert not file.exists()


async def test_a_killed_process_holds_no_lock(file: Path) -> None:
    async with holder(file) as process:
        process.kill()
        await process.wait()
        with process_lock(f"sqlite:///{file}"):
            assert f"process {os.getpid()} " in file.with_name("zoetrope.db.lock").read_text()


def test_a_released_lock_can_be_acquired_again(file: Path) -> None:
    for _ in range(2):
        with process_lock(f"sqlite:///{file}"):
            pass


async def test_a_symbolic_link_shares_the_lock_of_its_target(file: Path, tmp_path: Path) -> None:
    async with holder(file):
        link = tmp_path / "link.db"
        link.symlink_to(file)
        with pytest.raises(StoreError, match="in use"), process_lock(f"sqlite:///{link}"):
            pass


async def test_two_files_in_one_folder_are_locked_independently(file: Path) -> None:
    async with holder(file):
        with process_lock(f"sqlite:///{file.with_name('other.db')}"):
            pass


async def test_a_child_process_does_not_inherit_the_lock(file: Path) -> None:
    url = f"sqlite:///{file}"
    with process_lock(url):
        child = await asyncio.create_subprocess_exec("cat", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        with process_lock(url):
            assert child.returncode is None
    finally:
        child.kill()
        await child.communicate()


def test_the_lock_file_and_its_folder_are_private(file: Path) -> None:
    with process_lock(f"sqlite:///{file}"):
        assert file.with_name("zoetrope.db.lock").stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("url", ["postgresql://u@h/d", "sqlite://", "nonsense"])
def test_an_address_without_a_database_file_is_not_locked(url: str) -> None:
    with process_lock(url), process_lock(url):
        pass


def test_a_path_where_no_lock_file_can_be_created_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(StoreError, match=r"can't be locked.*DATABASE_URL"),
        process_lock(f"sqlite:///{tmp_path}/file/a.db"),
    ):
        pass
