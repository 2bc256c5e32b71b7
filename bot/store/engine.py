"""Opens the database and hands out transactions, on SQLite and PostgreSQL alike.

SQLite gets what it needs for concurrent tasks and processes: WAL, write transactions that lock at once, and a fair
queue for this process's writers. A failing database becomes a `StoreError` that says what to do; its text never
contains passwords or parameters.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext, suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from sqlalchemy import AsyncAdaptedQueuePool, event, func, select, text
from sqlalchemy import Connection as SyncConnection
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from bot.domain.database_url import PostgresUrl, parse_database_url
from bot.domain.errors import CommitUnknown, DatabaseFileLost, StoreError
from bot.store import postgres_driver, sqlite_driver
from bot.store.sqlite_files import explanation, identity_of, make_folders, refuse_unusable_path

Connection = AsyncConnection
"""A connection inside a transaction."""

SQLITE_MIN = (3, 35, 0)
"""The oldest SQLite that can return the rows that a statement changed (its release notes of March 2021)."""

BUSY_TIMEOUT_S = 15
"""How long a writer waits for another process; our own writes take less than a tenth of a second."""

READERS_MAX = 8
"""How many connections a burst of reads may open to a SQLite file, which keeps the descriptors of closed ones."""

_CLOSE_TIMEOUT_S = 5.0
"""How long `close` waits for open transactions; a connection left behind would leak."""

_MIGRATION_LOCK = 0x7A6F6574726F7065
"""PostgreSQL advisory lock that serialises migrations ("zoetrope" in ASCII)."""

_OUR_BUGS: tuple[type[Exception], ...] = (DataError, IntegrityError, ProgrammingError)
"""What a wrong statement raises: a bug here, not something that an operator can fix."""

_DENIED = "42501"
"""PostgreSQL's code for a statement that its user may not run, which drivers report as a wrong one."""

_MAKE_OWNER = "Make the user in DATABASE_URL the owner of the database: ALTER DATABASE ... OWNER TO ..."

_NAME_PRIMARY = "After a failover, this ends by itself; else name the primary server in DATABASE_URL."

_EXAMPLES = "sqlite:///data/zoetrope.db or postgresql://user:password@host/database"


class Database:
    """An open database; opens connections as needed and closes them in `close`.

    file: the SQLite file; None for a server.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        name: str,
        failures: tuple[type[Exception], ...],
        *,
        file: Path | None = None,
        busy_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        """name: of the database, for errors. failures: what its driver raises besides SQLAlchemy's errors."""
        self._engine = engine
        self.file = file
        self._identity = None if file is None else identity_of(file)
        self._busy_s = busy_s
        self._name = name
        self._failures: tuple[type[Exception], ...] = (DBAPIError, PoolTimeout, OSError, *failures)
        # Queues this process's writers fairly: SQLite polls for its own lock, in no order. Readers wait here too:
        # in the pool, waiting can't be cancelled.
        self._write_turn = nullcontext() if file is None else asyncio.Lock()
        self._read_turn = nullcontext() if file is None else asyncio.Semaphore(READERS_MAX)
        self._closed = False
        self._open_connections = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        busy_s: float = BUSY_TIMEOUT_S,
        idle_timeout_s: float = postgres_driver.IDLE_TIMEOUT_S,
        command_timeout_s: float = postgres_driver.COMMAND_TIMEOUT_S,
    ) -> Self:
        """Opens the database at `url`, `sqlite:///…` or `postgresql://…`.

        Creates a SQLite file and its folders, private to this user. busy_s: how long SQLite waits for another
        process. On a server, idle_timeout_s: how long a transaction may stand still, 0 for no limit;
        command_timeout_s: how long a statement may take. Raises StoreError.
        """
        try:
            parsed = parse_database_url(url)
        except ValueError as error:
            raise StoreError(f"DATABASE_URL is invalid: {error}. It looks like {_EXAMPLES}.") from None
        if isinstance(parsed, PostgresUrl):
            return cls._open_postgresql(parsed, idle_timeout_s, command_timeout_s)
        return cls._open_sqlite(parsed.absolute(), busy_s)

    @classmethod
    def _open_sqlite(cls, path: Path, busy_s: float) -> Self:
        _refuse_old_sqlite()
        refuse_unusable_path(path)
        try:
            make_folders(path)
            # Private; an existing file keeps its permissions. SQLite gives its -wal and -shm files the same ones.
            path.touch(mode=0o600, exist_ok=True)
        except OSError as error:
            raise StoreError(
                f"The database file {path} can't be created: {error.strerror}. "
                "Choose another path in DATABASE_URL, or give this user write access to it."
            ) from error
        # Never creates the file: a deleted one would come back empty.
        uri = f"file:{quote(bytes(path))}?mode=rw"
        engine = create_async_engine(
            "sqlite+aiosqlite://",
            async_creator=partial(sqlite_driver.connect, uri, busy_s=busy_s),
            poolclass=AsyncAdaptedQueuePool,
            max_overflow=-1,  # `Database.read` and `write` limit them
            hide_parameters=True,
        )
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        event.listen(engine.sync_engine, "invalidate", _roll_back_sqlite)
        return cls(engine, f"The database file {path}", (), file=path, busy_s=busy_s)

    @classmethod
    def _open_postgresql(cls, url: PostgresUrl, idle_timeout_s: float, command_timeout_s: float) -> Self:
        asyncpg = postgres_driver.load()
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=postgres_driver.connector(
                asyncpg, url, idle_timeout_s=idle_timeout_s, command_timeout_s=command_timeout_s
            ),
            pool_pre_ping=True,
            hide_parameters=True,
        )
        event.listen(engine.sync_engine, "handle_error", postgres_driver.give_up_if_read_only)
        return cls(engine, f"The database {url.place()}", postgres_driver.failures(asyncpg))

    async def close(self) -> None:
        """Refuses new transactions, waits a moment for open ones, and closes all connections."""
        self._closed = True
        await self._wait_until_idle()
        await self._engine.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A read-only transaction, in which no other may be opened. Raises StoreError where the database fails."""
        async with (
            self._explaining(),
            self._read_turn,
            self._connected(self._engine) as connection,
            connection.begin(),
        ):
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes: committed at the end, rolled back on any error.

        On SQLite it holds the write lock from the start, so what it reads stays true until it ends.
        Raises StoreError if nothing was written, CommitUnknown if a server may have committed.
        """
        engine = self._engine.execution_options(sqlite_begin="IMMEDIATE")
        committing = False
        try:
            async with (
                self._explaining(),
                self._write_turn,
                self._connected(engine) as connection,
                connection.begin(),
            ):
                yield connection
                committing = True
        except StoreError as error:
            # A server may have committed and only its reply was lost; SQLite rolls a failed commit back.
            if committing and self.file is None:
                raise CommitUnknown(str(error)) from error
            raise

    @asynccontextmanager
    async def change_schema(self) -> AsyncIterator[AsyncConnection]:
        """A transaction for migrations: no other process writes meanwhile, and foreign keys are not enforced.

        SQLite rebuilds a table by dropping the old one, which must not delete the rows that refer to it.
        Raises StoreError.
        """
        options = {"sqlite_begin": "IMMEDIATE", "sqlite_foreign_keys": "OFF"}
        async with self._explaining(), self._write_turn, self._connected(self._engine) as plain:
            connection = await plain.execution_options(**options)
            async with connection.begin():
                if self.file is None:
                    lock = text("SELECT pg_advisory_xact_lock(:key)")
                    await connection.execute(lock, {"key": _MIGRATION_LOCK})
                yield connection
            await connection.invalidate()

    async def check_writable(self) -> None:
        """Raises StoreError if this user can't write the SQLite file or next to it. Changes nothing.

        On a server: if it can't create tables, which only a start that changes the schema has to.
        """
        if self.file is None:
            async with self.read() as connection:
                if not await connection.scalar(select(func.has_schema_privilege(func.current_schema(), "CREATE"))):
                    raise StoreError(f"{self._name} can't be used: its user can't create tables. {_MAKE_OWNER}")
            return
        async with self.write() as connection:
            # SQLite begins a transaction even on a read-only file, and only refuses what would change it.
            await connection.exec_driver_sql("PRAGMA user_version = 0")
            await connection.rollback()

    def check_file(self) -> None:
        """Checks that a SQLite file is still the one that was opened. Raises: DatabaseFileLost."""
        if self.file is not None and identity_of(self.file) != self._identity:
            raise DatabaseFileLost(
                f"{self._name} was deleted, moved or replaced while the bot runs. Nothing is accepted or written "
                "until the same file is back; for another one, restart the bot."
            )

    async def save_copy(self, target: Path) -> None:
        """Copies a lost SQLite file, as this process still has it open, to `target`: missing or empty.

        Raises StoreError.
        """
        await self._wait_until_idle()
        pool: Any = self._engine.pool
        # A new connection would open whatever has the name now.
        if not pool.checkedin():
            raise StoreError(f"{self._name} is not open any more.")
        async with self._explaining(), self._opened(self._engine) as connection:
            raw: Any = (await connection.get_raw_connection()).driver_connection
            cursor = await raw.execute("VACUUM INTO ?", (str(target),))
            await cursor.close()

    async def _wait_until_idle(self) -> None:
        """Waits a moment for open transactions."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await self._idle.wait()

    async def server_time(self) -> datetime | None:
        """The current time by the database server's clock; None for a file. Raises StoreError."""
        if self.file is not None:
            return None
        async with self.read() as connection:
            return await _server_time(connection)

    async def lease_time(self, connection: AsyncConnection, now: datetime) -> datetime:
        """The time by which leases begin and end: the server's where processes share one, `now` for a file.

        now: the current time of this process, which may differ from that of the others.
        """
        return now if self.file is not None else await _server_time(connection)

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        if self._closed:
            raise StoreError(f"{self._name} is closed: the bot is stopping.")
        self.check_file()
        self._open_connections += 1
        self._idle.clear()
        try:
            async with self._opened(engine) as connection:
                yield connection
        finally:
            self._open_connections -= 1
            if not self._open_connections:
                self._idle.set()

    @asynccontextmanager
    async def _opened(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            if self.file is None:
                yield await stack.enter_async_context(engine.connect())
                return
            # aiosqlite leaks a connection that is cancelled while it opens. So opening always finishes, which is
            # quick for a file; a server may take long, but its driver cleans up.
            opening = asyncio.create_task(engine.connect().start())
            cancelled: asyncio.CancelledError | None = None
            while not opening.done():
                try:
                    await asyncio.wait({opening})
                except asyncio.CancelledError as error:
                    cancelled = error
            if opening.exception() is None:
                stack.push_async_exit(opening.result())
            if cancelled is not None:
                raise cancelled
            yield opening.result()

    @asynccontextmanager
    async def _explaining(self) -> AsyncIterator[None]:
        try:
            yield
        except _OUR_BUGS as error:
            if not _is_denied(error) and getattr(error, "statement", None) is not None:
                raise  # without a statement, the server refused what DATABASE_URL asks for
            raise StoreError(self._explanation(error)) from error
        except self._failures as error:
            raise StoreError(self._explanation(error)) from error

    def _explanation(self, error: Exception) -> str:
        said = str(error.orig if isinstance(error, DBAPIError) else error) or type(error).__name__
        if self._engine.dialect.name == "postgresql":
            if _is_denied(error):
                return f"{self._name} can't be used: {said}. {_MAKE_OWNER}"
            if _sqlstate(error) == postgres_driver.READ_ONLY:
                return f"{self._name} takes no writes: {said}. {_NAME_PRIMARY}"
            return f"{self._name} can't be used: {said}. Check DATABASE_URL, and that the server is running."
        return explanation(self._name, said, busy_s=self._busy_s)


def _is_denied(error: Exception) -> bool:
    return _sqlstate(error) == _DENIED


def _sqlstate(error: Exception) -> str | None:
    """PostgreSQL's code for what failed, if it was a statement."""
    return getattr(error.orig, "sqlstate", None) if isinstance(error, DBAPIError) else None


async def _server_time(connection: AsyncConnection) -> datetime:
    time: datetime = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
    return time


def _refuse_old_sqlite() -> None:
    if sqlite3.sqlite_version_info < SQLITE_MIN:
        needed = ".".join(map(str, SQLITE_MIN))
        raise StoreError(
            f"This Python comes with SQLite {sqlite3.sqlite_version}, and Zoetrope needs {needed} or newer. Use "
            "PostgreSQL, or the Python of a newer system, such as Debian 12 or Ubuntu 22.04."
        )


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # `_begin_sqlite` begins transactions, not Python's driver at the first write.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    # Writes zeros over what is deleted or replaced: erased prompts and pictures must not stay in the file.
    cursor.execute("PRAGMA secure_delete = ON")
    try:
        cursor.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        # A file's first switch to WAL does not wait for a lock. Whoever holds it switches, or the next connection
        # does; until then everything is as safe, but readers and writers block each other.
        if "locked" not in str(error):
            raise
    cursor.close()


def _begin_sqlite(connection: SyncConnection) -> None:
    options = connection.get_execution_options()
    if "sqlite_foreign_keys" in options:
        # Ignored inside a transaction.
        connection.exec_driver_sql(f"PRAGMA foreign_keys = {options['sqlite_foreign_keys']}")
    connection.exec_driver_sql(f"BEGIN {options.get('sqlite_begin', 'DEFERRED')}")


def _roll_back_sqlite(connection: Any, _record: object, _error: object) -> None:
    # A closed SQLite connection keeps its locks while a cursor with unread rows is alive, and the traceback of a
    # cancellation may keep one alive. So a cancelled statement's connection is rolled back before it is closed.
    with suppress(asyncio.CancelledError, sqlite3.Error):  # the first error is being raised already
        connection.rollback()
