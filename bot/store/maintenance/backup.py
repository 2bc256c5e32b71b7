"""Backs up a SQLite database while it is in use, and describes a database file.

Uses SQLite's online backup in one step: a consistent snapshot, including the `-wal` file. The copy has a temporary
name until it has been checked in full. Source: https://www.sqlite.org/backup.html.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import DBAPIError

from bot.domain.errors import StoreError
from bot.store import sqlite_files
from bot.store.maintenance import schema_version
from bot.store.maintenance.schema_version import SchemaStatus
from bot.store.sqlite_files import explanation

BUSY_S = 15.0
_PAGES_AT_ONCE = 2000
_INSTRUCTIONS_AT_ONCE = 100_000
"""How much of a copy, and of a check, is done until it is asked whether to stop: hundredths of a second."""

COUNTED = {"jobs": "jobs", "ledger": "ledger entries", "guilds": "servers"}
"""The tables whose row counts help an operator recognise a file, and what to call the rows."""


@dataclass(frozen=True, slots=True)
class Copy:
    """A checked copy of a database. rows: row counts of the tables in `COUNTED`."""

    path: Path
    size_bytes: int
    rows: Mapping[str, int]
    status: SchemaStatus

    def __str__(self) -> str:
        rows = ", ".join(f"{COUNTED[table]}: {count:,}" for table, count in self.rows.items())
        return f"{self.path} ({self.size_bytes:,} bytes; {rows}; no damage found)"


def _never() -> bool:
    return False


def copy_of(source: Path, target: Path, *, stopping: Callable[[], bool] = _never) -> Copy:
    """Copies the database to a new file, private to this user. Blocks.

    stopping: is asked now and then; once it is true, the copy fails.
    Raises StoreError, and leaves nothing behind, if `target` exists, the disk is full or the database is damaged.
    """
    target = target.absolute()
    for path in (source, target):
        sqlite_files.refuse_unreachable(path)
    if not source.is_file():
        raise StoreError(f"There is no database file {source}.")
    if target.exists():
        raise StoreError(f"{target} already exists, and a backup never overwrites a file. Choose another name.")
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        sqlite_files.remove(part)
        sqlite_files.make_private(part)
    except OSError as error:
        raise StoreError(f"{target} can't be created: {error.strerror}. Choose another path.") from error
    try:
        _copy(source, part, stopping)
        found = inspect_file(part, name=source, stopping=stopping)
        sqlite_files.rename_to_new(part, target)
    except FileExistsError as error:
        raise StoreError(f"{target} already exists, and a backup never overwrites a file.") from error
    except OSError as error:
        raise StoreError(f"{target} can't be written: {error.strerror}. Choose another path.") from error
    finally:
        sqlite_files.remove(part)
    return replace(found, path=target)


def inspect_file(file: Path, *, name: Path | None = None, stopping: Callable[[], bool] = _never) -> Copy:
    """Checks and describes a file. Raises StoreError if it is damaged or not a database of Zoetrope's.

    name: the file to name in errors, if this one is its temporary copy. stopping: as in `copy_of`.
    """
    sqlite_files.refuse_unreachable(file)
    if not file.is_file():
        raise StoreError(f"{file} is a folder, not a file." if file.is_dir() else f"There is no file {file}.")
    size, name = file.stat().st_size, name or file
    engine = create_engine("sqlite://", creator=lambda: _open(file, "ro"), poolclass=NullPool)
    with _explaining(name), closing(_open(file, "ro")) as plain, engine.connect() as connection:
        plain.set_progress_handler(stopping, _INSTRUCTIONS_AT_ONCE)
        found = plain.execute("PRAGMA integrity_check(1)").fetchone()[0]
        if found != "ok":
            raise StoreError(f"{name} is damaged and can't be a backup ({' '.join(found.split())}).")
        try:
            status = schema_version.status(connection)
        except StoreError:  # another program's; its text is about DATABASE_URL
            status = SchemaStatus.EMPTY
        if status is SchemaStatus.EMPTY:
            raise StoreError(f"{name} is not a Zoetrope database.")
        tables = {row[0] for row in plain.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        count = "SELECT count(*) FROM "
        rows = {table: plain.execute(count + table).fetchone()[0] for table in COUNTED if table in tables}
    return Copy(file, size, rows, status)


def make_single(file: Path) -> None:
    """Merges the `-wal` file into the database file, which needs no other file from then on."""
    with _explaining(file), closing(_open(file, "rw")) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")


def _copy(source: Path, part: Path, stopping: Callable[[], bool]) -> None:
    def check(*_: int) -> None:
        if stopping():
            raise StoreError("The backup was interrupted.")

    with _explaining(part), closing(_open(part, "rw")) as copy:
        with _explaining(source), closing(_open(source, "rw")) as database:
            # One transaction for all steps, or each write in between would restart the copy.
            database.execute("BEGIN")
            database.execute("SELECT count(*) FROM sqlite_master").fetchone()
            database.backup(copy, pages=_PAGES_AT_ONCE, progress=check)
        # A single file can be moved, and read on read-only media.
        copy.execute("PRAGMA journal_mode = DELETE")


def _open(file: Path, mode: str) -> sqlite3.Connection:
    # Not read-only for a live database: even a reader needs its -shm file.
    return sqlite3.connect(
        f"file:{quote(bytes(file.absolute()))}?mode={mode}", uri=True, timeout=BUSY_S, isolation_level=None
    )


@contextmanager
def _explaining(file: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, DBAPIError) as error:
        message = str(error.orig if isinstance(error, DBAPIError) else error)
        raise StoreError(explanation(f"The file {file}", message, busy_s=BUSY_S)) from error
