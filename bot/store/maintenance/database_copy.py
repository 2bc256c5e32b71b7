"""Copies a whole database to another one, of either kind: SQLite or PostgreSQL.

All tables are written and compared with the source in one transaction of the target, so whatever happens, the
target has either everything or nothing. Nothing may use the source meanwhile: what is written to it then would not
be in the copy.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from bot.domain.database_url import parse_database_url
from bot.domain.errors import StoreError
from bot.store import sqlite_files
from bot.store.engine import Connection, Database
from bot.store.jobs import leasing
from bot.store.maintenance import schema_version
from bot.store.maintenance.other_connections import refuse_other_connections
from bot.store.maintenance.process_lock import process_lock
from bot.store.maintenance.schema_version import SchemaStatus
from bot.store.maintenance.table_copy import Progress, TableCopy, compare, copy_rows, naming_bad_rows
from bot.store.money_tables import metadata

_LOCK_TIMEOUT_MS = 15_000
"""How long tables of the source may be in use by somebody else; its own vacuum gives way after a second."""

_COMMAND_TIMEOUT_S = 3600
"""How long one statement of a copy may take: a large table is counted, or a slow disk is written to."""

_LOCK_NOT_AVAILABLE = "55P03"

_FOREIGN = {
    "sqlite": "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name LIMIT 1",
    # Tables, views and sequences of any schema, but those that an extension brought along.
    "postgresql": (
        "SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') "
        "AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' "
        "AND NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass "
        "AND d.objid = c.oid AND d.deptype = 'e') ORDER BY 1 LIMIT 1"
    ),
}
"""Finds anything in a database that is not its own catalogue."""

_LEASED = "SELECT count(*) FROM jobs WHERE lease_until > clock_timestamp()"
_IDENTITY = (
    "SELECT pg_postmaster_start_time()::text || ' ' || oid FROM pg_database WHERE datname = current_database()"
)


@dataclass(frozen=True, slots=True)
class DatabaseCopy:
    """What was copied. leases_ended: of how many jobs, which a stopped process had left."""

    tables: tuple[TableCopy, ...]
    leases_ended: int


async def copy_database(source_url: str, target_url: str, progress: Progress) -> DatabaseCopy:
    """Copies everything to the target, which must be empty.

    Raises StoreError, with the target left empty and the source untouched.
    """
    source_file, target_file = _file(source_url), _file(target_url)
    for file in (source_file, target_file):
        if file is not None:
            sqlite_files.refuse_unreachable(file)
    if source_file is not None and not source_file.is_file():
        raise StoreError(f"There is no database file {source_file}.")
    _refuse_same(source_url, target_url)
    with process_lock(source_url), process_lock(target_url), _removed_on_failure(target_file):
        async with (
            _opened(source_url) as source,
            _opened(target_url) as target,
            _kept_still(source) as reading,
        ):
            return await _copy(reading, target, progress, ends_leases=source.file is not None)


def _opened(url: str) -> Database:
    """One of the two. Its transaction stands still while the other database works, however long that takes."""
    return Database.open(url, idle_timeout_s=0, command_timeout_s=_COMMAND_TIMEOUT_S)


async def _copy(source: Connection, target: Database, progress: Progress, *, ends_leases: bool) -> DatabaseCopy:
    async with target.change_schema() as writing:
        await _refuse_filled(source, writing)
        await writing.run_sync(schema_version.create_tables)
        for table in metadata.sorted_tables:
            with naming_bad_rows(table):
                await copy_rows(source, writing, table, progress)
        compared = []
        for table in metadata.sorted_tables:
            with naming_bad_rows(table):
                compared.append(await compare(source, writing, table, progress))
        # As a start on a SQLite file does: it is locked, so whoever held them is dead.
        ended = await leasing.end_all(writing) if ends_leases else 0
    return DatabaseCopy(tuple(compared), ended)


@asynccontextmanager
async def _kept_still(source: Database) -> AsyncIterator[Connection]:
    """A transaction during which nobody else writes. Raises StoreError for a database that can't be copied."""
    async with source.read() as connection:
        await connection.run_sync(schema_version.check_file)
        _refuse_version(await connection.run_sync(schema_version.status))
        if source.file is None:
            await _refuse_used(connection)
            await _lock_tables(connection)
        yield connection


def _refuse_version(status: SchemaStatus) -> None:
    match status:
        case SchemaStatus.CURRENT:
            return
        case SchemaStatus.EMPTY:
            raise StoreError("The source is empty: it is not a database of Zoetrope.")
        case SchemaStatus.BEHIND:
            raise StoreError(
                "The source was written by an earlier version of Zoetrope. Run `zoetrope db upgrade` with its URL "
                "as DATABASE_URL first."
            )
        case SchemaStatus.NEWER:
            raise StoreError("The source was written by a newer version of Zoetrope: install that one first.")


async def _refuse_used(connection: Connection) -> None:
    await refuse_other_connections(connection, "The source")
    if leased := await connection.scalar(text(_LEASED)):
        raise StoreError(
            f"The source may be in use: a process that is not connected now holds {leased} jobs. If it was "
            "killed, try again in two minutes; if it runs, stop it."
        )


async def _lock_tables(connection: Connection) -> None:
    """Keeps others from writing until the transaction ends, such as a bot that starts too early."""
    names = ", ".join(table.name for table in metadata.sorted_tables)
    try:
        await connection.execute(text(f"SET LOCAL lock_timeout = {_LOCK_TIMEOUT_MS}"))
        await connection.execute(text(f"LOCK TABLE {names} IN SHARE MODE"))
    except DBAPIError as error:
        if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE:
            raise
        raise StoreError(
            "The source is in use: another program is writing to its tables. Stop it first."
        ) from error


async def _refuse_filled(source: Connection, target: Connection) -> None:
    if source.dialect.name == target.dialect.name == "postgresql":
        identities = [await connection.scalar(text(_IDENTITY)) for connection in (source, target)]
        if identities[0] == identities[1]:
            raise StoreError("Source and target are the same database.")
    if found := await target.scalar(text(_FOREIGN[target.dialect.name])):
        raise StoreError(f"The target is not empty: it has `{found}`. Name a new, empty database.")


def _refuse_same(source_url: str, target_url: str) -> None:
    source, target = parse_database_url(source_url), parse_database_url(target_url)
    is_same = source == target
    if isinstance(source, Path) and isinstance(target, Path):
        is_same = source.resolve() == target.resolve() or (target.exists() and source.samefile(target))
    if is_same:
        raise StoreError("Source and target are the same database.")


def _file(url: str) -> Path | None:
    parsed = parse_database_url(url)
    return parsed.absolute() if isinstance(parsed, Path) else None


@contextmanager
def _removed_on_failure(file: Path | None) -> Iterator[None]:
    """Removes a file that this copy has made, if it fails."""
    is_new = file is not None and not file.exists()
    try:
        yield
    except BaseException:
        if file is not None and is_new:
            sqlite_files.remove(file)
        raise
