# ruff: noqa: ASYNC240 - small files of the test's own
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bot.domain.errors import StoreError
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance import commands
from bot.store.maintenance.backup import copy_of, inspect_file
from tests.store.conftest import migrate_database
from tests.store.factories import add


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.fixture
def file(database_url: str) -> Path:
    return Path(database_url.removeprefix("sqlite:///"))


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "copies" / "a copy of 100 % #1.db"


@pytest.fixture(autouse=True)
def folder(target: Path) -> None:
    target.parent.mkdir()


async def test_a_backup_contains_everything_committed(store: JobStore, file: Path, target: Path) -> None:
    jobs = [await add(store) for _ in range(3)]
    assert file.with_name("zoetrope.db-wal").stat().st_size  # it still contains the last commits

    copy = copy_of(file, target)

    assert copy.rows["jobs"] == 3
    assert "jobs: 3, ledger entries: 3" in str(copy)
    async with Database.open(f"sqlite:///{target}") as database:
        for job in jobs:
            assert await JobStore(database).get(job.id) == job
            assert await JobStore(database).frame(job.id) is not None


async def test_a_backup_is_one_private_file(store: JobStore, file: Path, target: Path) -> None:
    await add(store)
    copy = copy_of(file, target)
    assert list(target.parent.iterdir()) == [target]
    assert target.stat().st_mode & 0o777 == 0o600
    assert copy.size_bytes == target.stat().st_size
    # Reading it writes no other file beside it. Source: https://www.sqlite.org/fileformat.html, 1.3.3.
    assert target.read_bytes()[18:20] == b"\x01\x01"


async def test_an_uncommitted_write_is_neither_blocked_nor_copied(
    database: Database, store: JobStore, file: Path, target: Path
) -> None:
    await add(store)
    async with database.write() as connection:
        await connection.exec_driver_sql("DELETE FROM ledger")
        assert copy_of(file, target).rows["ledger"] == 1
        await connection.rollback()
    await add(store)
    assert inspect_file(target).rows["jobs"] == 1


def test_an_existing_file_is_not_overwritten(file: Path, target: Path) -> None:
    target.write_text("precious")
    with pytest.raises(StoreError, match="already exists"):
        copy_of(file, target)
    assert target.read_text() == "precious"


def test_a_missing_database_is_reported_and_not_created(tmp_path: Path, target: Path) -> None:
    with pytest.raises(StoreError, match="no database file"):
        copy_of(tmp_path / "none.db", target)
    assert not (tmp_path / "none.db").exists()


def test_a_missing_target_folder_is_reported(file: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"can't be created.*Choose another path"):
        copy_of(file, tmp_path / "not" / "there.db")


@pytest.mark.parametrize("damage", ["page", "cut", "index"])
async def test_a_damaged_database_is_not_backed_up(file: Path, target: Path, damage: str) -> None:
    damage_file(file, damage)
    with pytest.raises(StoreError, match=r"/zoetrope\.db is damaged"):
        copy_of(file, target)
    assert list(target.parent.iterdir()) == []


def test_an_empty_database_is_not_backed_up(tmp_path: Path, target: Path) -> None:
    (tmp_path / "new.db").touch()
    with pytest.raises(StoreError, match="not a Zoetrope database"):
        copy_of(tmp_path / "new.db", target)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:s3cret@h/d", "//me@h/d`"),
        (
            "postgresql://h:5432/d?user=me&password=s3cret&application_name=a@b",
            "//h:5432/d.user=me&application_name",
        ),
        ("postgresql://me:s3cret@one:1,two:2/d", "//me@one:1,two:2/d`"),
    ],
)
async def test_for_postgresql_the_pg_dump_command_is_named_without_the_password(
    target: Path, url: str, shown: str
) -> None:
    with pytest.raises(StoreError, match=f"pg_dump --format=custom --file=.* --dbname=.*{shown}") as caught:
        await commands.back_up(url, target)
    assert "s3cret" not in str(caught.value)


async def test_a_backup_can_itself_be_backed_up(file: Path, target: Path) -> None:
    copy_of(file, target)
    copy_of(target, target.with_name("second.db"))
    await migrate_database(f"sqlite:///{target.with_name('second.db')}")


def damage_file(file: Path, damage: str) -> None:
    """Damages the file in the given way."""
    content = bytearray(file.read_bytes())
    match damage:
        case "header":
            content[:100] = b"\xaa" * 100
        case "page":
            content[4096 * 3 : 4096 * 4] = b"\xaa" * 4096
        case "cut":
            del content[len(content) // 2 :]
        case "garbage":
            content[:] = bytes(range(256)) * 64
        case "index":
            drop_an_index_entry(file)
            return
    file.write_bytes(content)


def drop_an_index_entry(file: Path) -> None:
    """Removes a row's entry from an index: each page stays well-formed, but a job would never be found."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("INSERT INTO blocked_terms VALUES (1, 'a', 0)")
        connection.execute("PRAGMA writable_schema = ON")
        [(root,)] = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'ix_jobs_member'"
        ).fetchall()
        (other,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_blocked_terms_1'"
        ).fetchone()
        swap = "UPDATE sqlite_master SET rootpage = ? WHERE name = ?"
        connection.execute(swap, (other, "ix_jobs_member"))
        connection.execute(swap, (root, "sqlite_autoindex_blocked_terms_1"))
