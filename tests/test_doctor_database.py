"""The doctor's check of the database: it says "ok" only where a start could write, and leaves nothing behind."""

import asyncio
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from bot.doctor import CheckStatus, check_backups, check_database
from bot.store.engine import Database
from bot.store.maintenance.migrate import migrate
from tests.isolation import honour_file_modes

ROOT = Path(__file__).parents[1]


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


NOWHERE_TO_WRITE = [
    "/proc/zoetrope.db",  # root has every permission there, and still can't create a file
    "/proc/new/zoetrope.db",
    "/dev/null/zoetrope.db",
]


@pytest.mark.parametrize("file", NOWHERE_TO_WRITE)
async def test_a_place_where_no_file_can_be_created_is_a_failure(file: str) -> None:
    result = await check_database(f"sqlite:///{file}")
    assert result.status is CheckStatus.FAILED
    assert result.text.startswith(f"{file} does not exist and can't be created in /")
    assert "DATABASE_URL" in result.text


async def test_a_file_name_that_is_too_long_for_the_lock_beside_it_is_a_failure(tmp_path: Path) -> None:
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    fits, too_long = tmp_path / ("x" * (longest - 5)), tmp_path / ("x" * (longest - 4))
    assert (await check_database(f"sqlite:///{fits}")).status is CheckStatus.OK
    assert (await check_database(f"sqlite:///{too_long}")).status is CheckStatus.FAILED


@pytest.mark.parametrize("name", ["zoetrope.db", "new/folders/zoetrope.db"])
async def test_a_missing_file_in_a_writable_folder_is_ok_and_nothing_is_left_behind(
    tmp_path: Path, name: str
) -> None:
    result = await check_database(f"sqlite:///{tmp_path / name}")
    assert result.status is CheckStatus.OK
    assert "the first start creates it" in result.text
    assert files(tmp_path) == []


async def test_the_target_of_a_dangling_link_is_what_is_checked(tmp_path: Path) -> None:
    link = tmp_path / "zoetrope.db"
    link.symlink_to("/proc/zoetrope.db")
    result = await check_database(f"sqlite:///{link}")
    assert result.status is CheckStatus.FAILED
    assert "/proc" in result.text


async def test_a_disk_without_space_is_a_failure(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))  # an empty file still fits, as on a full disk
    try:
        result = await check_database(f"sqlite:///{tmp_path / 'zoetrope.db'}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert result.status is CheckStatus.FAILED
    assert files(tmp_path) == []


@pytest.mark.parametrize("what", ["file", pytest.param("folder", marks=pytest.mark.full)])
async def test_an_existing_database_that_cannot_be_written_is_a_failure(tmp_path: Path, what: str) -> None:
    file = tmp_path / "zoetrope.db"
    async with Database.open(f"sqlite:///{file}") as database:
        await migrate(database)
    target, mode = (file, 0o400) if what == "file" else (tmp_path, 0o500)
    target.chmod(mode)
    try:
        done = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "bot", "db", "status"],
            env={**os.environ, "PYTHONPATH": str(ROOT), "DATABASE_URL": f"sqlite:///{file}"},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=honour_file_modes,
        )
    finally:
        target.chmod(0o700)
    assert done.returncode == 1, done
    assert done.stdout.startswith(f"FAIL database: The database file {file} ")
    assert "ive this user write access" in done.stdout


def test_a_missing_folder_for_backups_is_a_failure_and_an_existing_one_is_left_empty(tmp_path: Path) -> None:
    missing = check_backups(tmp_path / "missing", None)
    assert missing.status is CheckStatus.FAILED
    assert "No such file or directory" in missing.text
    assert check_backups(tmp_path, tmp_path / "zoetrope.db").status is CheckStatus.OK
    assert files(tmp_path) == []


def test_a_folder_with_the_backups_of_another_database_is_a_failure(tmp_path: Path) -> None:
    file, other = tmp_path / "zoetrope.db", tmp_path / "other" / "zoetrope.db"
    other.parent.mkdir()
    other.touch()
    (tmp_path / ".zoetrope-backup.lock").write_text(str(other))
    assert f"has the backups of {other}." in check_backups(tmp_path, file).text
