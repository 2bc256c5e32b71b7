# ruff: noqa: ASYNC240 - small files of the test's own
"""What the store does when the database itself fails: disk full, locked, damaged, disconnected during a commit."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Connection, event, make_url, text

from bot.domain.errors import CommitUnknown, StoreError
from bot.domain.jobs import JobState
from bot.domain.outcomes import JobUpdate, MoveTo
from bot.domain.policy import Requester
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance import schema_version
from bot.store.maintenance.backup import inspect_file
from bot.store.maintenance.migrate import migrate, schema_status
from bot.store.maintenance.schema_version import SchemaStatus
from tests.providers_asked import vtrix
from tests.store.factories import (
    FRAME,
    LEASES,
    MANY,
    MINUTE,
    NOW,
    UNLIMITED,
    add,
    add_waiting,
    new_job,
    requester_of,
)
from tests.store.lossy_proxy import Loss, LossyProxy
from tests.store.maintenance.test_backup import damage_file

pytestmark = pytest.mark.both_databases


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


@pytest.fixture
def file(migrated_file: Path, tmp_path: Path) -> Path:
    """A SQLite database of this version."""
    path = tmp_path / "zoetrope.db"
    path.write_bytes(migrated_file.read_bytes())
    return path


async def fill_disk(store: JobStore) -> None:
    """Adds more orders than fit into the existing pages."""
    for _ in range(100):
        await add(store)


class TestFullDisk:
    """A full disk, simulated by SQLite's own limit of pages."""

    @pytest.fixture
    async def database(self, file: Path) -> AsyncIterator[Database]:
        async with Database.open(f"sqlite:///{file}") as database:
            self.pages = 0  # no limit
            event.listen(database._engine.sync_engine, "begin", self.limit)
            yield database

    def limit(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"PRAGMA max_page_count = {self.pages or 1_000_000_000}")

    async def test_an_order_is_refused_and_existing_jobs_are_kept(self, database: Database) -> None:
        store = JobStore(database, UNLIMITED)
        first = await add(store)
        self.pages = 1
        with pytest.raises(StoreError, match=r"the disk is full\. Free some space.*continues by itself"):
            await fill_disk(store)
        self.pages = 0
        count = len(await store.recent(10, 1, MANY))
        assert await store.get(first.id) == first
        assert len((await store.allowance(Requester(10, 100, 1), NOW)).usage.charged_at) == count

    async def test_an_outcome_is_written_once_there_is_space_again(self, database: Database) -> None:
        store = JobStore(database, UNLIMITED)
        job = await add_waiting(store)
        claimed = await store.claim_queued(NOW, vtrix(MANY), MINUTE)
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


class TestLockedFile:
    async def test_a_file_locked_too_long_by_another_program_is_reported_and_usable_afterwards(
        self, file: Path
    ) -> None:
        async with Database.open(f"sqlite:///{file}", busy_s=0.05) as database:
            store = JobStore(database, UNLIMITED)
            with closing(sqlite3.connect(file, isolation_level=None)) as other:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreError, match=r"locked by another program for 0\.05 seconds\. Close that"):
                    await add(store)
                assert await store.recent(10, 1, MANY) == []
            await add(store)
            assert len(await store.recent(10, 1, MANY)) == 1


def hide_the_queue(file: Path) -> None:
    """Empties the index by which the worker finds what is due; each page stays well-formed."""
    for condition in ("IS NULL", "IS NOT NULL"):
        with closing(sqlite3.connect(file, isolation_level=None)) as connection:
            connection.execute("PRAGMA writable_schema = ON")
            connection.execute(
                "UPDATE sqlite_master SET sql = 'CREATE INDEX ix_jobs_stages ON jobs (due_at, guild_id) WHERE "
                "due_at ' || ? || ' AND state <> ''running''' WHERE name = 'ix_jobs_stages'",
                (condition,),
            )
        if condition == "IS NULL":
            with closing(sqlite3.connect(file, isolation_level=None)) as connection:
                connection.execute("REINDEX ix_jobs_stages")


class TestDamagedFile:
    @pytest.mark.parametrize("damage", ["header", "page", "cut", "queue", "garbage"])
    async def test_it_is_refused_unchanged_with_the_restore_command(self, file: Path, damage: str) -> None:
        if damage == "queue":
            async with Database.open(f"sqlite:///{file}") as database:
                await add(JobStore(database, UNLIMITED))
            hide_the_queue(file)
        else:
            damage_file(file, damage)
        content = file.read_bytes()
        async with Database.open(f"sqlite:///{file}") as database:
            with pytest.raises(StoreError, match=r"zoetrope db restore FILE"):
                await migrate(database)
        assert file.read_bytes() == content

    async def test_a_start_checks_a_file_once_and_not_each_entry_of_each_index(self, file: Path) -> None:
        checks: list[str] = []

        def record(_c: object, _u: object, statement: str, *_: object) -> None:
            checks.extend([statement] if "_check" in statement else [])

        async with Database.open(f"sqlite:///{file}") as database:
            event.listen(database._engine.sync_engine, "before_cursor_execute", record)
            await migrate(database)
        assert checks == ["PRAGMA quick_check(1)"]

    async def test_any_index_that_lacks_an_entry_is_found_by_the_doctor(self, file: Path) -> None:
        damage_file(file, "index")
        async with Database.open(f"sqlite:///{file}") as database:
            with pytest.raises(StoreError, match="is damaged"):
                await schema_status(database)

    async def test_an_empty_file_is_a_new_database(self, tmp_path: Path) -> None:
        (tmp_path / "new.db").touch()
        async with Database.open(f"sqlite:///{tmp_path / 'new.db'}") as database:
            await migrate(database)
            assert await schema_status(database) is SchemaStatus.CURRENT

    @pytest.mark.parametrize("left", ["gone", "empty"])
    async def test_a_wal_without_its_database_is_kept(self, file: Path, left: str) -> None:
        wal = file.with_name("zoetrope.db-wal")
        async with Database.open(f"sqlite:///{file}") as database:
            await add(JobStore(database, UNLIMITED))
            content = wal.read_bytes()
        file.unlink()
        if left == "empty":
            file.touch()
        wal.write_bytes(content)
        with pytest.raises(StoreError, match=r"missing or empty.*-wal still holds"):
            Database.open(f"sqlite:///{file}")
        assert wal.read_bytes() == content

    async def test_a_folder_instead_of_a_file_is_reported(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="names the folder"):
            Database.open(f"sqlite:///{tmp_path}")

    async def test_damage_found_while_running_is_reported_with_the_restore_command(self, file: Path) -> None:
        async with Database.open(f"sqlite:///{file}") as database:
            job = await add(JobStore(database, UNLIMITED))
        async with Database.open(f"sqlite:///{file}") as database:
            with closing(sqlite3.connect(file)) as other:
                [(page,)] = other.execute("SELECT rootpage FROM sqlite_master WHERE name = 'jobs'").fetchall()
            content = bytearray(file.read_bytes())
            content[4096 * (page - 1) : 4096 * page] = b"\xaa" * 4096
            file.write_bytes(content)
            with pytest.raises(StoreError, match=r"is damaged\. Stop the bot and restore.*db restore FILE"):
                await JobStore(database, UNLIMITED).get(job.id)


class TestUpgrade:
    @pytest.fixture
    async def old_database(self, tmp_path: Path) -> AsyncIterator[Database]:
        """A database of the first version."""

        def upgrade_to_first_version(connection: Connection) -> None:
            schema_version.run_migrations(connection, "0001")

        async with Database.open(f"sqlite:///{tmp_path / 'old.db'}") as database:
            async with database.write() as connection:
                await connection.run_sync(upgrade_to_first_version)
            yield database

    async def test_a_copy_is_kept_before_the_schema_changes(
        self, old_database: Database, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        kept = await migrate(old_database, clock=lambda: NOW)
        assert kept is not None
        assert kept.path == tmp_path / "old-20260131-120000-before-upgrade.db"
        assert inspect_file(kept.path).status is SchemaStatus.BEHIND
        assert str(kept.path) in caplog.text
        assert await schema_status(old_database) is SchemaStatus.CURRENT

    async def test_no_copy_is_kept_if_the_schema_does_not_change(
        self, old_database: Database, tmp_path: Path
    ) -> None:
        await migrate(old_database, clock=lambda: NOW)
        assert await migrate(old_database, clock=lambda: NOW) is None
        async with Database.open(f"sqlite:///{tmp_path / 'new.db'}") as new:
            assert await migrate(new) is None
        assert len(list(tmp_path.glob("*before-upgrade*"))) == 1

    async def test_a_migration_that_fails_leaves_the_old_schema_and_no_copies(
        self, old_database: Database, tmp_path: Path
    ) -> None:
        async with old_database.write() as connection:
            # Conflicts with the last table that the second version creates.
            await connection.execute(text("CREATE TABLE notices (id INTEGER)"))
            before = (await connection.execute(text("SELECT name, sql FROM sqlite_master"))).all()
        for _ in range(2):
            with pytest.raises(StoreError):
                await migrate(old_database)
        async with old_database.read() as connection:
            assert (await connection.execute(text("SELECT name, sql FROM sqlite_master"))).all() == before
        assert await schema_status(old_database) is SchemaStatus.BEHIND
        assert not list(tmp_path.glob("*before-upgrade*"))


READS_BEFORE = 1
"""Transactions of an order before the one that accepts it: the look for blocked terms."""


class TestLostCommit:
    """PostgreSQL's connection breaks during a commit: whether it took effect is unknown."""

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
            yield JobStore(database, UNLIMITED)

    async def test_an_order_that_was_committed_is_accepted_once(self, proxy: LossyProxy, store: JobStore) -> None:
        proxy.lose, proxy.commits_to_spare = Loss.RESPONSE, READS_BEFORE
        job = await add(store)
        assert proxy.lost == 1
        assert [found.id for found in await store.recent(10, 1, MANY)] == [job.id]
        assert len((await store.allowance(Requester(10, 100, 1), NOW)).usage.charged_at) == 1

    async def test_an_order_that_was_not_committed_is_reported_as_not_accepted(
        self, proxy: LossyProxy, store: JobStore
    ) -> None:
        proxy.lose, proxy.commits_to_spare = Loss.COMMAND, READS_BEFORE
        with pytest.raises(StoreError) as caught:
            await add(store)
        assert proxy.lost == 1
        assert not isinstance(caught.value, CommitUnknown)
        assert await store.recent(10, 1, MANY) == []

    async def test_whether_an_order_was_committed_is_queried_until_the_server_responds(
        self, proxy: LossyProxy, store: JobStore
    ) -> None:
        await store.recent(10, 1, MANY)  # opens the connection
        proxy.lose, proxy.commits_to_spare, proxy.connections_to_refuse = Loss.RESPONSE, READS_BEFORE, 2
        new = new_job()
        job = await store.add(new, FRAME, requester_of(new), NOW)
        assert proxy.connections_to_refuse == 0
        assert job.id == new.id

    async def test_a_claim_that_was_committed_is_submitted_and_not_mistaken_for_an_unknown_outcome(
        self, proxy: LossyProxy, store: JobStore
    ) -> None:
        job = await add_waiting(store)
        proxy.lose = Loss.RESPONSE
        with pytest.raises(CommitUnknown):
            await store.claim_queued(NOW, vtrix(MANY), MINUTE)
        later = NOW + 10 * MINUTE
        assert await store.claim_due(later, MANY, LEASES) == []  # not claimable without its holder
        claimed = await store.claim_queued(later, vtrix(MANY), MINUTE)
        assert claimed is not None
        assert (claimed.id, claimed.state, claimed.claim_count) == (job.id, JobState.SUBMITTING, 1)
        assert await store.apply(
            claimed, MoveTo(JobState.RUNNING, JobUpdate(upstream_id="t", submitted_at=NOW)), later
        )

    async def test_a_claim_that_was_not_committed_is_made_again(self, proxy: LossyProxy, store: JobStore) -> None:
        job = await add_waiting(store)
        proxy.lose = Loss.COMMAND
        with pytest.raises(CommitUnknown):
            await store.claim_queued(NOW, vtrix(MANY), MINUTE)
        assert await store.claim_queued(NOW, vtrix(MANY), MINUTE) is None
        claimed = await store.claim_queued(NOW, vtrix(MANY), MINUTE)
        assert claimed is not None
        assert claimed.id == job.id

    async def test_an_outcome_that_was_committed_is_not_written_twice(
        self, proxy: LossyProxy, store: JobStore
    ) -> None:
        await add_waiting(store)
        claimed = await store.claim_queued(NOW, vtrix(MANY), MINUTE)
        assert claimed is not None
        paid = MoveTo(JobState.RUNNING, JobUpdate(upstream_id="task", submitted_at=NOW))
        proxy.lose = Loss.RESPONSE
        with pytest.raises(StoreError):
            await store.apply(claimed, paid, NOW)
        assert not await store.apply(claimed, paid, NOW)
        found = await store.get(claimed.id)
        assert found is not None
        assert (found.state, found.upstream_id, found.lease_token) == (JobState.RUNNING, "task", None)
