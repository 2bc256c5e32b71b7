# ruff: noqa: ASYNC240 - small files of the test's own
"""What the store does when the database itself is at fault: full, locked, damaged, gone in mid-commit."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import Connection, event, make_url, text

from bot.domain.errors import CommitUnknown, StoreError
from bot.domain.jobs import JobState, JobUpdate, MoveTo
from bot.domain.policy import Requester
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance import schema_version
from bot.store.maintenance.backup import inspect_file
from bot.store.maintenance.migrate import migrate, schema_status
from bot.store.maintenance.schema_version import SchemaStatus
from tests.store.factories import (
    FRAME,
    LEASES,
    MANY,
    MINUTE,
    NO_PAUSE,
    NOW,
    ROOMY,
    add,
    add_waiting,
    new_job,
    requester_of,
)
from tests.store.lossy_proxy import Loss, LossyProxy
from tests.store.maintenance.test_backup import spoil

pytestmark = pytest.mark.both_databases


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


@pytest.fixture
def file(migrated_file: Path, tmp_path: Path) -> Path:
    """A SQLite database of this version."""
    path = tmp_path / "zoetrope.db"
    path.write_bytes(migrated_file.read_bytes())
    return path


async def fill(store: JobStore) -> None:
    """Orders more than the pages have room for that are there."""
    for _ in range(100):
        await add(store)


class TestFull:
    """A disk without room: SQLite's own limit of pages stands for it."""

    @pytest.fixture
    async def database(self, file: Path) -> AsyncIterator[Database]:
        async with Database.open(f"sqlite:///{file}") as database:
            self.pages = 0  # no limit
            event.listen(database._engine.sync_engine, "begin", self.limit)
            yield database

    def limit(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {self.pages or 1_000_000_000}")

    async def test_an_order_is_not_taken_and_what_is_there_stays(self, database: Database) -> None:
        store = JobStore(database, ROOMY)
        first = await add(store)
        self.pages = 1
        with pytest.raises(StoreError, match=r"the disk is full\. Free some space.*continues by itself"):
            await fill(store)
        self.pages = 0
        count = len(await store.recent(10, 1, MANY))
        assert await store.get(first.id) == first
        assert len((await store.allowance(Requester(10, 100, 1), NOW)).usage.charged_at) == count

    async def test_an_outcome_is_written_when_there_is_room_again(self, database: Database) -> None:
        store = JobStore(database, ROOMY)
        job = await add_waiting(store)
        claimed = await store.claim_queued(NOW, MANY, NO_PAUSE, MINUTE)
        assert claimed is not None
        paid = MoveTo(
            JobState.RUNNING,
            JobUpdate(upstream_id="task", submitted_at=NOW, upstream_response={"said": "x" * 100_000}),
        )
        self.pages = 1
        with pytest.raises(StoreError, match="the disk is full"):
            await store.apply(claimed, paid, NOW)
        self.pages = 0
        assert await store.apply(claimed, paid, NOW)
        found = await store.get(job.id)
        assert found is not None
        assert found.upstream_id == "task"


class TestLocked:
    async def test_a_file_that_another_program_holds_too_long_is_told_and_goes_on_after_it(
        self, file: Path
    ) -> None:
        async with Database.open(f"sqlite:///{file}", busy_s=0.05) as database:
            store = JobStore(database, ROOMY)
            with closing(sqlite3.connect(file, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreError, match=r"locked by another program for 0\.05 seconds\. Close that"):
                    await add(store)
                assert await store.recent(10, 1, MANY) == []
            await add(store)
            assert len(await store.recent(10, 1, MANY)) == 1


class TestDamaged:
    @pytest.mark.parametrize("damage", ["header", "page", "cut", "index", "garbage"])
    async def test_it_is_refused_untouched_with_the_command_that_restores(self, file: Path, damage: str) -> None:
        spoil(file, damage)
        content = file.read_bytes()
        async with Database.open(f"sqlite:///{file}") as database:
            with pytest.raises(StoreError, match=r"zoetrope db restore FILE"):
                await migrate(database)
        assert file.read_bytes() == content

    async def test_a_file_of_no_bytes_is_a_new_one(self, tmp_path: Path) -> None:
        (tmp_path / "new.db").touch()
        async with Database.open(f"sqlite:///{tmp_path / 'new.db'}") as database:
            await migrate(database)
            assert await schema_status(database) is SchemaStatus.CURRENT

    @pytest.mark.parametrize("left", ["gone", "empty"])
    async def test_a_log_without_its_database_is_not_thrown_away(self, file: Path, left: str) -> None:
        wal = file.with_name("zoetrope.db-wal")
        async with Database.open(f"sqlite:///{file}") as database:
            await add(JobStore(database, ROOMY))
            content = wal.read_bytes()
        file.unlink()
        if left == "empty":
            file.touch()
        wal.write_bytes(content)
        with pytest.raises(StoreError, match=r"missing or empty.*-wal still holds"):
            Database.open(f"sqlite:///{file}")
        assert wal.read_bytes() == content

    async def test_a_folder_is_told(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="names the folder"):
            Database.open(f"sqlite:///{tmp_path}")

    async def test_damage_found_while_running_is_told_with_the_command_that_restores(self, file: Path) -> None:
        async with Database.open(f"sqlite:///{file}") as database:
            job = await add(JobStore(database, ROOMY))
        async with Database.open(f"sqlite:///{file}") as database:
            with closing(sqlite3.connect(file)) as other:
                [(page,)] = other.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs'").fetchall()
            content = bytearray(file.read_bytes())
            content[4096 * (page - 1) : 4096 * page] = b"\xaa" * 4096
            file.write_bytes(content)
            with pytest.raises(StoreError, match=r"is damaged\. Stop the bot and restore.*db restore FILE"):
                await JobStore(database, ROOMY).get(job.id)


class TestUpgrade:
    @pytest.fixture
    async def old(self, tmp_path: Path) -> AsyncIterator[Database]:
        """A database of the first version."""

        def to_first(connection: Connection) -> None:
            command.upgrade(schema_version._config(connection), "0001")

        async with Database.open(f"sqlite:///{tmp_path / 'old.db'}") as database:
            async with database.write() as connection:
                await connection.run_sync(to_first)
            yield database

    async def test_a_copy_is_kept_before_the_schema_changes(
        self, old: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        kept = await migrate(old, clock=lambda: NOW)
        assert kept is not None
        assert kept.path == tmp_path / "old-20260131-120000-before-upgrade.db"
        assert inspect_file(kept.path).status is SchemaStatus.BEHIND
        assert str(kept.path) in caplog.text
        assert await schema_status(old) is SchemaStatus.CURRENT

    async def test_nothing_is_kept_where_nothing_changes(self, old: Database, tmp_path: Path) -> None:
        await migrate(old, clock=lambda: NOW)
        assert await migrate(old, clock=lambda: NOW) is None
        async with Database.open(f"sqlite:///{tmp_path / 'new.db'}") as new:
            assert await migrate(new) is None
        assert len(list(tmp_path.glob("*before-upgrade*"))) == 1

    async def test_a_migration_that_fails_leaves_the_old_schema_and_no_copies(
        self, old: Database, tmp_path: Path
    ) -> None:
        async with old.write() as connection:  # in the way of the last of what the second version makes
            await connection.execute(text("CREATE TABLE notices (id INTEGER)"))
            before = (await connection.execute(text("SELECT name, sql FROM sqlite_master"))).all()
        for _ in range(2):
            with pytest.raises(StoreError):
                await migrate(old)
        async with old.read() as connection:
            assert (await connection.execute(text("SELECT name, sql FROM sqlite_master"))).all() == before
        assert await schema_status(old) is SchemaStatus.BEHIND
        assert not list(tmp_path.glob("*before-upgrade*"))


class TestLostCommit:
    """PostgreSQL's connection breaks while it commits: done or not, nobody heard."""

    @pytest.fixture
    def kind(self) -> str:
        return "postgresql"

    @pytest.fixture
    async def proxy(self, database_url: str) -> LossyProxy:
        folder = make_url(database_url).query["host"]
        return LossyProxy(Path(str(folder)) / ".s.PGSQL.5432")

    @pytest.fixture
    async def store(self, proxy: LossyProxy) -> AsyncIterator[JobStore]:
        async with proxy.listening() as url, Database.open(url) as database:
            yield JobStore(database, ROOMY)

    async def test_an_order_that_was_committed_is_taken_once(self, proxy: LossyProxy, store: JobStore) -> None:
        proxy.lose = Loss.RESPONSE
        job = await add(store)
        assert proxy.lost == 1
        assert [found.id for found in await store.recent(10, 1, MANY)] == [job.id]
        assert len((await store.allowance(Requester(10, 100, 1), NOW)).usage.charged_at) == 1

    async def test_an_order_that_was_not_committed_is_told_as_not_taken(
        self, proxy: LossyProxy, store: JobStore
    ) -> None:
        proxy.lose = Loss.COMMAND
        with pytest.raises(StoreError) as told:
            await add(store)
        assert not isinstance(told.value, CommitUnknown)
        assert await store.recent(10, 1, MANY) == []

    async def test_whether_it_was_taken_is_asked_until_the_server_answers(
        self, proxy: LossyProxy, store: JobStore
    ) -> None:
        await store.recent(10, 1, MANY)  # connected from here on
        proxy.lose, proxy.connections_to_refuse = Loss.RESPONSE, 2
        new = new_job()
        job = await store.add(new, FRAME, requester_of(new), NOW)
        assert job.id == new.id

    async def test_a_claim_that_was_committed_is_handed_in_and_not_taken_for_a_lost_answer(
        self, proxy: LossyProxy, store: JobStore
    ) -> None:
        job = await add_waiting(store)
        proxy.lose = Loss.RESPONSE
        with pytest.raises(CommitUnknown):
            await store.claim_queued(NOW, MANY, NO_PAUSE, MINUTE)
        later = NOW + 10 * MINUTE
        assert await store.claim_due(later, MANY, LEASES) == []  # nobody is to find it without its holder
        claimed = await store.claim_queued(later, MANY, NO_PAUSE, MINUTE)
        assert claimed is not None
        assert (claimed.id, claimed.state, claimed.claim_count) == (job.id, JobState.SUBMITTING, 1)
        assert await store.apply(
            claimed, MoveTo(JobState.RUNNING, JobUpdate(upstream_id="t", submitted_at=NOW)), later
        )

    async def test_a_claim_that_was_not_committed_is_made_anew(self, proxy: LossyProxy, store: JobStore) -> None:
        job = await add_waiting(store)
        proxy.lose = Loss.COMMAND
        with pytest.raises(CommitUnknown):
            await store.claim_queued(NOW, MANY, NO_PAUSE, MINUTE)
        assert await store.claim_queued(NOW, MANY, NO_PAUSE, MINUTE) is None
        claimed = await store.claim_queued(NOW, MANY, NO_PAUSE, MINUTE)
        assert claimed is not None
        assert claimed.id == job.id

    async def test_an_outcome_that_was_committed_is_not_written_twice(
        self, proxy: LossyProxy, store: JobStore
    ) -> None:
        await add_waiting(store)
        claimed = await store.claim_queued(NOW, MANY, NO_PAUSE, MINUTE)
        assert claimed is not None
        paid = MoveTo(JobState.RUNNING, JobUpdate(upstream_id="task", submitted_at=NOW))
        proxy.lose = Loss.RESPONSE
        with pytest.raises(StoreError):
            await store.apply(claimed, paid, NOW)
        assert not await store.apply(claimed, paid, NOW)
        found = await store.get(claimed.id)
        assert found is not None
        assert (found.state, found.upstream_id, found.lease_token) == (JobState.RUNNING, "task", None)
