import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, event, inspect, make_url, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.doctor import CheckStatus, check_database
from bot.domain.errors import StoreError
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance import schema_version
from bot.store.maintenance.migrate import migrate, schema_status
from bot.store.maintenance.schema_version import SchemaStatus
from bot.store.money_tables import metadata
from tests.store.factories import add

pytestmark = pytest.mark.both_databases

PROCESS = """
import asyncio, sys
from bot.store.engine import Database
from bot.store.maintenance import schema_version
from bot.store.maintenance.migrate import migrate, schema_status

async def main():
    async with Database.open(sys.argv[1]) as database:
        print("ready", flush=True)
        sys.stdin.readline()
        await migrate(database)
        print(await schema_status(database))

asyncio.run(main())
"""


def differences(connection: Connection) -> list[Any]:
    return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), metadata))


def condition(index: Any) -> list[str]:
    return [str(option) for option in index.get("dialect_options", {}).values()]


def checks_and_indexes(connection: Connection) -> dict[str, Any]:
    """What `differences` doesn't compare: conditions of checks and partial indexes, and constraints' names."""
    found = inspect(connection)
    return {
        table.name: (
            sorted((check["name"], check["sqltext"]) for check in found.get_check_constraints(table.name)),
            sorted((str(index["name"]), condition(index)) for index in found.get_indexes(table.name)),
            found.get_foreign_keys(table.name),
            found.get_pk_constraint(table.name),
            found.get_unique_constraints(table.name),
        )
        for table in metadata.sorted_tables
    }


def file_of(url: str) -> Path:
    return Path(url.removeprefix("sqlite:///"))


async def set_revision(database: Database, revision: str) -> None:
    async with database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})


def contents(connection: Connection) -> dict[str, Any]:
    """The rows of every table."""
    tables = inspect(connection).get_table_names()
    return {
        name: connection.execute(select(text("*")).select_from(text(name))).mappings().all() for name in tables
    }


def columns(connection: Connection) -> dict[str, Any]:
    """Every column, by name: the order in which migrations added them doesn't matter."""
    found = inspect(connection)
    return {
        name: {column.pop("name"): column | {"type": repr(column["type"])} for column in map(dict, listed)}
        for (_, name), listed in found.get_multi_columns().items()
    }


@asynccontextmanager
async def migrated_step_by_step(url: str) -> AsyncIterator[AsyncConnection]:
    """A transaction on a database that went through all versions."""
    async with Database.open(url) as database, database.change_schema() as connection:
        await connection.run_sync(schema_version.run_migrations)
        yield connection


async def test_the_migrations_create_exactly_the_tables_of_the_metadata(empty_url: str) -> None:
    async with migrated_step_by_step(empty_url) as connection:
        assert await connection.run_sync(differences) == []


async def test_a_new_database_is_created_as_all_migrations_leave_one(empty_url: str) -> None:
    def everything(connection: Connection) -> list[dict[str, Any]]:
        return [look(connection) for look in (columns, checks_and_indexes, contents)]

    async with migrated_step_by_step(empty_url) as connection:
        migrated = await connection.run_sync(everything)
        await connection.run_sync(metadata.drop_all)
        await connection.execute(text("DROP TABLE alembic_version"))
    async with Database.open(empty_url) as database:
        await migrate(database)
        async with database.read() as connection:
            assert await connection.run_sync(everything) == migrated


def test_the_files_of_the_migrations_are_named_after_their_revisions() -> None:
    steps = ScriptDirectory(str(Path(schema_version.__file__).parents[1] / "migrations")).walk_revisions()
    assert tuple(step.revision for step in steps)[::-1] == schema_version.revisions()


async def test_an_empty_database_becomes_current(empty_url: str) -> None:
    async with Database.open(empty_url) as database:
        assert await schema_status(database) is SchemaStatus.EMPTY
        await migrate(database)
        assert await schema_status(database) is SchemaStatus.CURRENT


async def test_migrating_again_changes_nothing(database: Database, store: JobStore) -> None:
    job = await add(store)
    await migrate(database)
    assert await store.get(job.id) == job
    assert await store.frame(job.id) is not None


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_foreign_keys_are_not_enforced_while_a_migration_rebuilds_tables(database: Database) -> None:
    enforced: list[object] = []

    def record_pragma(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        if "alembic_version" in statement:
            enforced.append(connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one())

    event.listen(database._engine.sync_engine, "before_cursor_execute", record_pragma)
    await migrate(database)
    event.remove(database._engine.sync_engine, "before_cursor_execute", record_pragma)
    assert enforced
    assert set(enforced) == {0}
    async with database.read() as connection:
        assert (await connection.execute(text("PRAGMA foreign_keys"))).scalar_one() == 1


@pytest.mark.full
async def test_processes_that_start_simultaneously_can_all_migrate(empty_url: str) -> None:
    processes = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", PROCESS, empty_url),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdout is not None
        assert await process.stdout.readline() == b"ready\n"
    answers = await asyncio.gather(*(process.communicate(b"\n") for process in processes))
    assert [out for out, _ in answers] == [b"current\n"] * 3


async def test_a_database_of_a_newer_version_is_refused_unchanged(database: Database) -> None:
    async with database.read() as connection:
        current = await connection.scalar(text("SELECT version_num FROM alembic_version"))
    await set_revision(database, "9999")
    try:
        assert await schema_status(database) is SchemaStatus.NEWER
        with pytest.raises(StoreError, match=r"newer version.*restore the backup"):
            await migrate(database)
        assert await schema_status(database) is SchemaStatus.NEWER
    finally:
        await set_revision(database, current)


@pytest.mark.parametrize(
    "statements",
    [
        ["CREATE TABLE jobs (id INTEGER)"],
        ["CREATE TABLE task_prices (id INTEGER)"],
        ["CREATE VIEW members AS SELECT 1 AS id"],
        [
            "CREATE TABLE alembic_version (version_num TEXT)",
            "INSERT INTO alembic_version (version_num) VALUES ('1975ea83b712')",
        ],
    ],
    ids=["jobs", "prices", "a view", "another program's revision"],
)
async def test_a_database_of_another_program_that_is_in_the_way_is_refused(
    empty_url: str, statements: list[str]
) -> None:
    async with Database.open(empty_url) as database:
        async with database.write() as connection:
            for statement in statements:
                await connection.execute(text(statement))
        with pytest.raises(StoreError, match="only for Zoetrope"):
            await migrate(database)
        with pytest.raises(StoreError, match="only for Zoetrope"):
            await schema_status(database)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_a_user_who_may_not_create_tables_is_told_so_before_the_first_start_and_by_it(
    empty_url: str,
) -> None:
    user = f"u{uuid4().hex}"
    async with Database.open(empty_url) as database, database.write() as connection:
        await connection.execute(text(f"CREATE USER {user}"))
    url = make_url(empty_url).set(username=user).render_as_string(hide_password=False)
    try:
        assert "OWNER TO" in (await check_database(url)).text
        async with Database.open(url) as database:
            with pytest.raises(StoreError, match=r"permission denied for schema public.*OWNER TO"):
                await migrate(database)
        async with Database.open(empty_url) as database:
            await migrate(database)
        assert (await check_database(url)).status is CheckStatus.FAILED  # it may not even read
    finally:
        async with Database.open(empty_url) as database, database.write() as connection:
            await connection.execute(text(f"DROP USER {user}"))


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_another_programs_tables_with_other_names_are_ignored(empty_url: str) -> None:
    async with Database.open(empty_url) as database:
        async with database.write() as connection:
            await connection.execute(text("CREATE TABLE invoices (id INTEGER)"))
        await migrate(database)


@pytest.mark.parametrize("content", [b"not a database" * 100, b"\x00" * 4096, b"GIF89a"])
async def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "holiday.jpg"
    path.write_bytes(content)
    async with Database.open(f"sqlite:///{path}") as database:
        with pytest.raises(StoreError, match=r"holiday\.jpg is not a SQLite database.*DATABASE_URL"):
            await migrate(database)
    assert path.read_bytes() == content


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
@pytest.mark.parametrize("keep", [0.3, 0.6, 0.95])
async def test_a_truncated_file_is_refused(database_url: str, keep: float) -> None:
    content = file_of(database_url).read_bytes()
    file_of(database_url).write_bytes(content[: int(len(content) * keep)])
    async with Database.open(database_url) as database:
        with pytest.raises(StoreError, match=r"is damaged.*backup"):
            await migrate(database)


@pytest.mark.parametrize("kind", ["sqlite"], indirect=True)
async def test_a_file_with_a_damaged_page_is_refused(database_url: str) -> None:
    content = bytearray(file_of(database_url).read_bytes())
    content[4096 * 3 : 4096 * 4] = b"\xaa" * 4096
    file_of(database_url).write_bytes(content)
    async with Database.open(database_url) as database:
        with pytest.raises(StoreError, match=r"is damaged.*backup"):
            await migrate(database)
