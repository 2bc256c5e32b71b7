"""The folder of scheduled backups: when one is due, what is counted, what is deleted."""

import fcntl
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.domain.errors import StoreError
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance.backup import copy_of, inspect_file
from bot.store.maintenance.scheduled_backups import ScheduledBackups, folder_owner, folder_problem
from tests.store.factories import add
from tests.store.maintenance.test_backup import damage_file

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ROOT = Path(__file__).parents[3]


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.fixture
def file(database_url: str) -> Path:
    return Path(database_url.removeprefix("sqlite:///"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "backups"
    folder.mkdir()
    return folder


@pytest.fixture
def backups(file: Path, folder: Path) -> ScheduledBackups:
    return ScheduledBackups(file, folder, every=DAY, keep=3)


def run(
    backups: ScheduledBackups, now: datetime = NOW, stopping: Callable[[], bool] = lambda: False
) -> str | None:
    made = backups.run(now, stopping)
    return None if made is None else made.path.name


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_the_first_backup_is_due_at_once_and_the_next_after_the_interval(
    backups: ScheduledBackups, folder: Path
) -> None:
    assert run(backups) == "zoetrope-backup-20260131-120000.db"
    assert run(backups, NOW + DAY - HOUR) is None
    assert run(backups, NOW + DAY) == "zoetrope-backup-20260201-120000.db"
    assert len(names(folder)) == 2
    assert inspect_file(folder / names(folder)[0]).status == "current"
    assert (folder / names(folder)[0]).stat().st_mode & 0o777 == 0o600


def test_a_restart_makes_no_further_backup(file: Path, folder: Path, backups: ScheduledBackups) -> None:
    run(backups)
    again = ScheduledBackups(file, folder, every=DAY, keep=3)
    assert run(again, NOW + HOUR) is None


def test_the_newest_are_kept_and_only_after_a_new_one_was_made(backups: ScheduledBackups, folder: Path) -> None:
    for day in range(5):
        run(backups, NOW + day * DAY)
    assert names(folder) == [f"zoetrope-backup-2026020{day}-120000.db" for day in (2, 3, 4)]


async def test_a_backup_that_fails_deletes_none(backups: ScheduledBackups, file: Path, folder: Path) -> None:
    for day in range(3):
        run(backups, NOW + day * DAY)
    before = names(folder)
    damage_file(file, "cut")
    with pytest.raises(StoreError, match="is damaged"):
        run(backups, NOW + 3 * DAY)
    assert names(folder) == before


def test_nothing_else_is_counted_or_deleted(backups: ScheduledBackups, folder: Path) -> None:
    others = [
        "zoetrope.db", "zoetrope-backup-20260101-120000.db.gz", "my-zoetrope-backup-20260101-120000.db",
        "zoetrope-backup-20261301-120000.db", "other-backup-20260131-115900.db", "zoetrope-backup-mine.db",
        ".zoetrope-backup-20260131-115900.db.12.part.txt",
    ]  # fmt: skip
    for name in others:
        (folder / name).write_text("precious")
    (folder / "zoetrope-backup-20260130-130000.db").mkdir()
    (folder / "zoetrope-backup-20260130-140000.db").symlink_to(folder / "zoetrope.db")
    for day in range(5):
        assert run(backups, NOW + day * DAY) is not None
    assert set(others) <= set(names(folder))
    assert (folder / "zoetrope-backup-20260130-130000.db").is_dir()
    assert (folder / "zoetrope-backup-20260130-140000.db").is_symlink()
    assert all((folder / name).read_text() == "precious" for name in others)


def test_a_clock_that_was_ahead_prevents_no_backup_and_causes_no_flood(
    backups: ScheduledBackups, folder: Path
) -> None:
    for day in range(365, 370):  # the clock was a year ahead for some days
        run(backups, NOW + day * DAY)
    assert len(names(folder)) == 3
    assert run(backups, NOW) is not None
    assert [run(backups, NOW + n * HOUR) for n in range(1, 24)] == [None] * 23
    for day in range(1, 4):
        assert run(backups, NOW + day * DAY) is not None
    assert names(folder) == [f"zoetrope-backup-2026020{day}-120000.db" for day in (1, 2, 3)]


def test_a_clock_that_is_set_back_makes_one_backup_and_goes_on(backups: ScheduledBackups, folder: Path) -> None:
    run(backups, NOW)
    back = NOW - 40 * DAY
    assert run(backups, back) is not None
    assert run(backups, back + HOUR) is None
    assert run(backups, NOW + HOUR) is None
    assert len(names(folder)) == 2


def test_a_clock_that_is_corrected_by_seconds_makes_no_second_backup(backups: ScheduledBackups) -> None:
    run(backups, NOW)
    assert run(backups, NOW - timedelta(seconds=30)) is None


def test_what_a_killed_process_left_is_removed_and_never_counted(backups: ScheduledBackups, folder: Path) -> None:
    left = [
        ".zoetrope-backup-20260131-115900.db.4242.part",
        ".zoetrope-backup-20260131-115900.db.4242.part-journal",
    ]
    for name in left:
        (folder / name).write_bytes(b"half of it")
    assert run(backups) == "zoetrope-backup-20260131-120000.db"
    assert names(folder) == ["zoetrope-backup-20260131-120000.db"]


KILLED = """
import os, signal, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from bot.store.maintenance.scheduled_backups import ScheduledBackups

def die():
    os.kill(os.getpid(), signal.SIGKILL)

backups = ScheduledBackups(Path(sys.argv[1]), Path(sys.argv[2]), every=timedelta(days=1), keep=3)
backups.run(datetime(2026, 1, 31, 11, tzinfo=UTC), die)
"""


def test_a_process_killed_during_a_backup_leaves_none_and_the_next_one_makes_it(
    backups: ScheduledBackups, file: Path, folder: Path
) -> None:
    command = [sys.executable, "-c", KILLED, str(file), str(folder)]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL  # noqa: S603
    assert [name.rpartition(".")[2] for name in names(folder) if "journal" not in name] == ["part"]
    assert run(backups) is not None
    assert names(folder) == ["zoetrope-backup-20260131-120000.db"]


def test_two_processes_never_back_up_at_the_same_time(backups: ScheduledBackups, folder: Path) -> None:
    descriptor = os.open(folder / ".zoetrope-backup.lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    left = folder / ".zoetrope-backup-20260131-115900.db.4242.part"
    left.write_bytes(b"being written")
    assert run(backups) is None
    assert left.exists()
    os.close(descriptor)
    assert run(backups) is not None


async def test_a_backup_in_progress_can_be_stopped_and_leaves_nothing(
    backups: ScheduledBackups, folder: Path
) -> None:
    with pytest.raises(StoreError):
        run(backups, stopping=lambda: True)
    assert names(folder) == []


@pytest.mark.full
async def test_writes_during_a_backup_are_neither_in_it_nor_do_they_restart_it(
    file: Path, folder: Path, database: Database, store: JobStore
) -> None:
    asked = 0
    async with database.write() as connection:  # more than is copied in one step
        rows = [{"at": n, "data": b"x" * 4000} for n in range(9000)]
        await connection.exec_driver_sql("CREATE TABLE padding (at INTEGER, data BLOB)")
        for row in rows:
            await connection.exec_driver_sql("INSERT INTO padding VALUES (?, ?)", (row["at"], row["data"]))
    await add(store)

    def write() -> bool:
        nonlocal asked
        asked += 1
        with sqlite3.connect(file, timeout=0) as other:  # raises if the backup blocks writers
            other.execute("UPDATE jobs SET prompt = 'later'")
            other.execute("UPDATE padding SET data = zeroblob(4000) WHERE at % 10 = ?", (asked % 10,))
        other.close()
        return False

    copy_of(file, folder / "copy.db", stopping=write)
    assert 4 < asked < 60
    with sqlite3.connect(folder / "copy.db") as copy:
        assert copy.execute("SELECT prompt FROM jobs").fetchall() == [("a fox runs through snow",)]
        assert copy.execute("SELECT count(*) FROM padding WHERE data = zeroblob(4000)").fetchone() == (0,)
    copy.close()


def test_a_missing_folder_is_reported_and_not_created(file: Path, tmp_path: Path) -> None:
    backups = ScheduledBackups(file, tmp_path / "not mounted", every=DAY, keep=3)
    with pytest.raises(StoreError, match=r"BACKUP_DIR .*not mounted can't be written: No such file"):
        run(backups)
    assert not (tmp_path / "not mounted").exists()
    assert folder_problem(tmp_path / "not mounted") == "No such file or directory"


def test_a_folder_that_cannot_be_written_is_reported(file: Path) -> None:
    with pytest.raises(StoreError, match="BACKUP_DIR /proc can't be written"):  # not even by root
        run(ScheduledBackups(file, Path("/proc"), every=DAY, keep=3))
    assert folder_problem(Path("/proc"))


def test_a_full_disk_deletes_and_leaves_nothing(backups: ScheduledBackups, folder: Path) -> None:
    for day in range(3):
        run(backups, NOW + day * DAY)
    before = names(folder)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(StoreError, match=r"disk|can't be written"):
            run(backups, NOW + 3 * DAY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names(folder) == before


def test_the_folder_of_another_database_of_the_same_name_is_refused(
    backups: ScheduledBackups, file: Path, folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other" / file.name
    other.parent.mkdir()
    shutil.copy(file, other)
    others = ScheduledBackups(other, folder, every=DAY, keep=3)
    run(backups)
    assert folder_owner(folder, file) is None
    assert folder_owner(folder, other) == file
    with pytest.raises(StoreError, match=f"has the backups of {file}"):
        run(others, NOW + DAY)
    assert run(backups, NOW + DAY) is not None
    file.rename(tmp_path / "moved.db")
    assert run(others, NOW + 2 * DAY) is not None


def test_a_folder_that_can_be_written_has_no_problem(folder: Path) -> None:
    assert folder_problem(folder) is None
    assert names(folder) == []
