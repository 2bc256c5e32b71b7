import asyncio
import sqlite3
import stat
import sys
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import IntegrityError

from bot.domain.errors import StoreError
from bot.store.engine import READERS_MAX, Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance.migrate import migrate, schema_status
from bot.store.maintenance.schema_version import SchemaStatus
from tests.store.factories import add

pytestmark = pytest.mark.both_databases


@pytest.fixture
def driver() -> None:
    """Overrides the fixture: the real SQLite driver, with its threads."""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", "not the URL"),
        ("zoetrope.db", "not the URL"),
        ("postgresql://u:s3cret/@host:port/db", "its port must be"),
        ("mysql://u:s3cret@host/db", "not the URL of a SQLite or PostgreSQL database"),
        ("sqlite://", "not the URL"),
        ("sqlite:///:memory:", "just a file"),
        ("sqlite:///data.db?mode=ro", "just a file"),
    ],
)
def test_an_unusable_url_is_refused_with_a_usable_example(url: str, expected: str) -> None:
    with pytest.raises(StoreError, match=expected) as caught:
        Database.open(url)
    assert "sqlite:///data/zoetrope.db" in str(caught.value)
    assert "s3cret" not in repr(caught.value)
    assert caught.value.__cause__ is None


def test_a_missing_driver_is_reported_with_the_extra_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(StoreError, match=r"`make install`, or `pip install '\.\[postgres\]'`"):
        Database.open("postgresql://u:s3cret@127.0.0.1/db")


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
async def test_an_unreachable_server_is_reported_without_the_password(scheme: str) -> None:
    async with Database.open(f"{scheme}://someone:s3cret@127.0.0.1:1/db") as database:
        with pytest.raises(StoreError, match=r"database db on 127\.0\.0\.1 can't be used.*is running") as caught:
            await schema_status(database)
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in repr(error)
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize(
    ("url", "hosts"),
    [
        ("postgresql://127.0.0.1:1/db?application_name=x@elsewhere.example", r"127\.0\.0\.1"),
        ("postgresql://[::1]:1/db?application_name=x@elsewhere.example", r"\[::1\]"),
        ("postgresql://u:s3cret@127.0.0.1:1,[::1]:1/db", r"127\.0\.0\.1, \[::1\]"),
        ("postgresql://u:s3cret@[::1],127.0.0.1/db?port=1,1", r"\[::1\], 127\.0\.0\.1"),
        ("postgresql:///db?host=127.0.0.1:1&host=127.0.0.1:1", r"127\.0\.0\.1, 127\.0\.0\.1"),
        ("postgresql:///db?host=/nowhere/a@b&password=s3cret", "/nowhere/a@b"),
    ],
)
async def test_the_server_that_the_url_names_is_tried(url: str, hosts: str) -> None:
    async with Database.open(url) as database:
        with pytest.raises(StoreError, match=f"database db on {hosts} can't be used") as caught:
            await schema_status(database)
    assert "elsewhere" not in str(caught.value.__cause__)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("postgresql://someone@127.0.0.1:1", r"on 127\.0\.0\.1"),
        ("postgresql://127.0.0.1:1/?dbname=db", r"db on 127\.0\.0\.1"),
        ("postgresql://127.0.0.1:1?database=db", r"db on 127\.0\.0\.1"),
    ],
)
async def test_a_database_that_the_path_does_not_name_is_reported_by_its_place(url: str, place: str) -> None:
    async with Database.open(url) as database:
        with pytest.raises(StoreError, match=f"^The database {place} can't be used: "):
            await schema_status(database)


@pytest.mark.parametrize("field", ["channel_binding=require", "statement_timeout=soon"])
async def test_a_field_of_the_url_that_the_server_refuses_is_reported(postgres_url: str, field: str) -> None:
    async with Database.open(f"{postgres_url}&{field}") as database:
        with pytest.raises(StoreError, match=rf"can't be used: .*{field.partition('=')[0]}.*Check DATABASE_URL"):
            await schema_status(database)


async def test_a_database_missing_on_the_server_is_reported(postgres_url: str) -> None:
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


async def test_a_connection_is_opened_completely_even_if_its_user_is_cancelled(tmp_path: Path) -> None:
    """Otherwise it would stay open with nobody to close it; the last step of opening one is to switch to WAL."""
    path = tmp_path / "zoetrope.db"
    async with Database.open(f"sqlite:///{path}") as database:
        reading = asyncio.create_task(schema_status(database))
        for _ in range(3):
            await asyncio.sleep(0)
            reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    with closing(sqlite3.connect(path)) as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)


async def test_a_burst_of_reads_opens_few_connections_and_a_cancelled_one_leaves_its_place(tmp_path: Path) -> None:
    """SQLite keeps the descriptor of a connection that is closed while others are open, for the next one."""
    in_use: list[int] = []

    def count(*_: object) -> None:
        in_use.append(pool.checkedout())

    async def read(may_end: asyncio.Event) -> None:
        async with database.read() as connection:
            await connection.execute(text("SELECT 1"))
            await may_end.wait()

    async with Database.open(f"sqlite:///{tmp_path / 'burst.db'}") as database:
        pool: Any = database._engine.pool
        event.listen(database._engine.sync_engine, "checkout", count)
        never, at_once = asyncio.Event(), asyncio.Event()
        at_once.set()
        readers = [asyncio.create_task(read(never)) for _ in range(100)]
        while len(in_use) < READERS_MAX:
            await asyncio.sleep(0.01)
        for reader in readers:
            reader.cancel()
        await asyncio.gather(*readers, return_exceptions=True)
        await asyncio.gather(*(read(at_once) for _ in range(100)))
    assert len(in_use) >= 100
    assert max(in_use) == READERS_MAX


async def test_closing_waits_for_open_transactions_and_refuses_new_ones(tmp_path: Path) -> None:
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


async def test_a_relative_path_is_resolved_when_the_database_is_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with Database.open("sqlite:///data/zoetrope.db") as database:
        monkeypatch.chdir("/")
        await migrate(database)
    assert (tmp_path / "data" / "zoetrope.db").stat().st_size > 0


def test_an_unwritable_path_is_reported(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"can't be created: Not a directory.*DATABASE_URL"):
        Database.open(f"sqlite:///{tmp_path / 'file' / 'zoetrope.db'}")


def test_a_sqlite_that_is_too_old_is_refused_before_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 34, 1))
    with pytest.raises(StoreError, match=r"needs 3\.35\.0 or newer"):
        Database.open(f"sqlite:///{tmp_path / 'zoetrope.db'}")
    assert not (tmp_path / "zoetrope.db").exists()


async def test_a_write_is_committed_at_its_end_and_rolled_back_on_an_error(database: Database) -> None:
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


async def test_the_error_of_a_failed_statement_is_raised_without_its_parameters(database: Database) -> None:
    insertion = text("INSERT INTO first_frames (job_id, mime, data) VALUES (:job_id, 'image/png', '')")
    with pytest.raises(IntegrityError) as caught:
        async with database.write() as connection:
            await connection.execute(insertion, {"job_id": "no such job"})
    assert "parameters hidden" in str(caught.value)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
class TestSqlite:
    async def test_reads_are_possible_during_a_write(self, database: Database, store: JobStore) -> None:
        async with database.write():
            assert await store.get("any") is None

    async def test_a_write_holds_its_lock_from_the_start(self, database: Database, database_url: str) -> None:
        async with database.write():
            other = sqlite3.connect(database_url.removeprefix("sqlite:///"), timeout=0, isolation_level=None)
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            other.close()

    async def test_a_write_that_is_cancelled_during_a_statement_releases_its_lock(
        self, database: Database, database_url: str
    ) -> None:
        loop = asyncio.get_running_loop()
        running, released = asyncio.Event(), threading.Event()

        def wait_for_release() -> None:
            loop.call_soon_threadsafe(running.set)
            released.wait()

        async def write() -> BaseException | None:
            try:
                async with database.write() as connection:
                    driver = (await connection.get_raw_connection()).driver_connection
                    assert driver is not None
                    await driver.create_function("wait_for_release", 0, wait_for_release)
                    await connection.execute(text("SELECT wait_for_release() UNION ALL SELECT 1"))
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
        # Referenced until here: its traceback keeps the cursor from being collected.
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

    async def test_every_connection_has_the_pragmas_for_durability(self, database: Database) -> None:
        async with database.read() as first, database.read() as second:
            for connection in (first, second):
                for pragma, value in (("journal_mode", "wal"), ("foreign_keys", 1), ("synchronous", 2)):
                    assert (await connection.execute(text(f"PRAGMA {pragma}"))).scalar_one() == value

    async def test_a_file_not_yet_in_wal_mode_can_be_opened_while_another_program_writes(
        self, database: Database, database_url: str
    ) -> None:
        other = sqlite3.connect(database_url.removeprefix("sqlite:///"), isolation_level=None)
        other.execute("PRAGMA journal_mode = DELETE")
        other.execute("BEGIN IMMEDIATE")
        assert await schema_status(database) is SchemaStatus.CURRENT
        other.execute("COMMIT")
        other.close()
