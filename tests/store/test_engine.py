import asyncio
import sqlite3
import stat
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from bot.domain.errors import StoreError
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance.migrate import migrate, schema_status
from bot.store.maintenance.schema_version import SchemaStatus
from tests.store.factories import add

pytestmark = pytest.mark.both_databases


@pytest.fixture
def driver() -> None:
    """The real one, with its threads."""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "not the address"),
        ("zoetrope.db", "not the address"),
        ("postgresql://u:s3cret/@host:port/db", "not the address"),
        ("mysql://u:s3cret@host/db", "not supported, mysql"),
        ("sqlite://", "just a file"),
        ("sqlite:///:memory:", "just a file"),
        ("sqlite:///data.db?mode=ro", "just a file"),
    ],
)
def test_an_address_that_cannot_be_used_says_what_to_write(url: str, says: str) -> None:
    with pytest.raises(StoreError, match=says) as caught:
        Database.open(url)
    assert "sqlite:///data/zoetrope.db" in str(caught.value)
    assert "s3cret" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_driver_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(StoreError, match="`postgres` extra"):
        Database.open("postgresql://u:s3cret@127.0.0.1/db")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
async def test_a_server_that_is_not_there_is_told_without_the_password(scheme: str) -> None:
    async with Database.open(f"{scheme}://someone:s3cret@127.0.0.1:1/db") as database:
        with pytest.raises(StoreError, match=r"database db on 127\.0\.0\.1 can't be used.*is running") as caught:
            await schema_status(database)
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in repr(error)
        error = error.__cause__ or error.__context__


async def test_a_database_that_the_server_does_not_have_is_told(postgres_url: str) -> None:
    async with Database.open(postgres_url.replace("/postgres?", "/nothing?")) as database:
        with pytest.raises(StoreError, match='"nothing" does not exist'):
            await schema_status(database)


async def test_a_new_file_and_its_new_folders_are_private(tmp_path: Path) -> None:
    path = tmp_path / "some" / "data" / "zoetrope.db"
    async with Database.open(f"sqlite:///{path}") as database:
        await migrate(database)
        await add(JobStore(database))
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["zoetrope.db", "zoetrope.db-shm", "zoetrope.db-wal"]
        assert {mode(file) for file in files} == {0o600}
    assert mode(path.parent) == mode(path.parent.parent) == 0o700


async def test_a_connection_whose_user_is_cancelled_is_opened_to_its_end(tmp_path: Path) -> None:
    """Cut short, it would stay open with nobody to close it; the last step of opening one is to switch to WAL."""
    path = tmp_path / "zoetrope.db"
    async with Database.open(f"sqlite:///{path}") as database:
        look = asyncio.create_task(schema_status(database))
        for _ in range(3):
            await asyncio.sleep(0)
            look.cancel()
        with pytest.raises(asyncio.CancelledError):
            await look
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_a_closing_waits_for_what_is_under_way_and_lets_nothing_new_begin(tmp_path: Path) -> None:
    database = Database.open(f"sqlite:///{tmp_path / 'zoetrope.db'}")
    began, go_on, ended = asyncio.Event(), asyncio.Event(), list[str]()

    async def write() -> None:
        async with database.write() as connection:
            began.set()
            await go_on.wait()
            await connection.execute(text("CREATE TABLE written (id INTEGER)"))
        ended.append("written")

    async def close() -> None:
        await database.close()
        ended.append("closed")

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(write())
        await began.wait()
        tasks.create_task(close())
        for _ in range(20):
            await asyncio.sleep(0)
        with pytest.raises(StoreError, match="the bot is stopping"):
            async with database.read():
                pass
        go_on.set()

    assert ended == ["written", "closed"]
    with closing(sqlite3.connect(tmp_path / "zoetrope.db")) as left:
        assert left.execute("SELECT name FROM sqlite_master").fetchall() == [("written",)]


async def test_a_relative_path_is_meant_from_where_the_program_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with Database.open("sqlite:///data/zoetrope.db") as database:
        monkeypatch.chdir("/")
        await migrate(database)
    assert (tmp_path / "data" / "zoetrope.db").stat().st_size > 0


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"can't be created: Not a directory.*DATABASE_URL"):
        Database.open(f"sqlite:///{tmp_path / 'file' / 'zoetrope.db'}")


async def test_a_write_is_kept_at_its_end_and_undone_by_an_error(database: Database) -> None:
    insertion = text(
        "INSERT INTO members (guild_id, user_id, created_at) VALUES (1, :user_id, '2026-01-31T12:00:00.000000Z')"
    )
    async with database.write() as connection:
        await connection.execute(insertion, {"user_id": 1})
    with suppress(LookupError):
        async with database.write() as connection:
            await connection.execute(insertion, {"user_id": 2})
            raise LookupError
    async with database.read() as connection:
        assert (await connection.execute(text("SELECT user_id FROM members"))).scalars().all() == [1]


async def test_a_wrong_statement_stays_what_it_is_and_keeps_its_parameters_to_itself(database: Database) -> None:
    insertion = text("INSERT INTO first_frames VALUES (:job_id, 'image/png', '')")
    with pytest.raises(IntegrityError) as caught:
        async with database.write() as connection:
            await connection.execute(insertion, {"job_id": "no such job"})
    assert "parameters hidden" in str(caught.value)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
class TestSqlite:
    async def test_reading_goes_on_beside_a_write(self, database: Database, store: JobStore) -> None:
        async with database.write():
            assert await store.get("any") is None

    async def test_a_write_holds_its_lock_from_the_start(self, database: Database, database_url: str) -> None:
        async with database.write():
            other = sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=0, isolation_level=None)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            other.close()

    async def test_a_write_that_is_cancelled_amid_a_statement_lets_its_lock_go(
        self, database: Database, database_url: str
    ) -> None:
        loop = asyncio.get_running_loop()
        running, released = asyncio.Event(), threading.Event()

        def dawdle() -> None:
            loop.call_soon_threadsafe(running.set)
            released.wait()

        async def write() -> BaseException | None:
            try:
                async with database.write() as connection:
                    driver = (await connection.get_raw_connection()).driver_connection
                    assert driver is not None
                    await driver.create_function("dawdle", 0, dawdle)
                    await connection.execute(text("SELECT dawdle() UNION ALL SELECT 1"))
            except asyncio.CancelledError as error:
                return error
            return None

        writing = asyncio.create_task(write())
        await running.wait()
        writing.cancel()
        released.set()
        error = await writing
        with closing(sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=0)) as other:
            other.execute("BEGIN IMMEDIATE")
        # Held until here: with its traceback it keeps the cursor from being collected.
        assert error is not None

    async def test_a_write_waits_for_another_programs_write(self, store: JobStore, database_url: str) -> None:
        other = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        waiting = asyncio.create_task(add(store))
        assert await store.get("any") is None
        assert not waiting.done()
        other.execute("COMMIT")
        other.close()
        await waiting

    async def test_every_connection_is_set_up_for_safety(self, database: Database) -> None:
        async with database.read() as first, database.read() as second:
            for connection in (first, second):
                for pragma, value in (("journal_mode", "wal"), ("foreign_keys", 1), ("synchronous", 2)):
                    assert (await connection.execute(text(f"PRAGMA {pragma}"))).scalar_one() == value

    async def test_a_file_that_another_program_is_writing_can_be_opened_before_it_is_set_up(
        self, database: Database, database_url: str
    ) -> None:
        other = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN IMMEDIATE")
        assert await schema_status(database) is SchemaStatus.CURRENT
        other.execute("COMMIT")
        other.close()
