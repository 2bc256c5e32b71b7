"""Opens the database and gives out transactions: one way for SQLite, one for PostgreSQL, one face for both.

What SQLite needs to bear several tasks and processes is set here (WAL, write transactions that take their
lock at once, a line for this process's writers), and what goes wrong with the database itself becomes a
`StoreError` that says what to do. Passwords and parameters never get into an error's text.
"""

import asyncio
import importlib
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, nullcontext, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from sqlalchemy import URL, event, make_url, text
from sqlalchemy import Connection as SyncConnection
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from bot.domain.errors import CommitUnknown, StoreError
from bot.store.maintenance import schema_version, sqlite_files
from bot.store.maintenance.backup import Copy, copy_of
from bot.store.maintenance.schema_version import SchemaStatus
from bot.store.maintenance.sqlite_errors import explanation

log = logging.getLogger(__name__)

Connection = AsyncConnection
"""A connection within a transaction, for those who only hand it on."""

BUSY_TIMEOUT_S = 15
"""How long a writer waits for another process's write to end; no write of ours takes a tenth of a second."""

_LAST_WORDS_S = 3.0
"""How long the closing waits for what is under way: left behind, a connection would be closed by nobody."""

_CONNECT_TIMEOUT_S = 10
_COMMAND_TIMEOUT_S = 60
_MIGRATION_LOCK = 0x7A6F6574726F7065
"""What processes that start together line up for on PostgreSQL ("zoetrope" in ASCII)."""

_BUGS: tuple[type[Exception], ...] = (DataError, IntegrityError, ProgrammingError)
"""What a wrong statement raises: ours to mend, nothing an operator can do about."""

_SHAPES = "sqlite:///data/zoetrope.db or postgresql://user:password@host/database"


class Database:
    """An open database. Connections are made as they are needed; `close` gives them all back."""

    def __init__(
        self,
        engine: AsyncEngine,
        place: str,
        failures: tuple[type[Exception], ...],
        *,
        file: Path | None = None,
        busy_s: float = BUSY_TIMEOUT_S,
    ) -> None:
        """place: how errors name the database. failures: what its driver raises besides SQLAlchemy's errors.

        file: SQLite's. busy_s: how long that waits for another process.
        """
        self._engine = engine
        self._file = file
        self._busy_s = busy_s
        self._place = place
        self._failures: tuple[type[Exception], ...] = (DBAPIError, PoolTimeout, OSError, *failures)
        self._write_line = asyncio.Lock() if engine.dialect.name == "sqlite" else None
        self._closed = False
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    @classmethod
    def open(cls, url: str, *, busy_s: float = BUSY_TIMEOUT_S) -> Self:
        """Opens the database at `url`, a `sqlite:///…` or a `postgresql://…` address.

        Makes a SQLite file and its folders, for this user's eyes only. busy_s: how long SQLite waits for another
        process. Raises StoreError.
        """
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError):
            # From nothing: the parser's own error may quote the part with the password.
            raise StoreError(f"DATABASE_URL is not the address of a database; it looks like {_SHAPES}.") from None
        match parsed.drivername.partition("+")[0]:
            case "sqlite":
                return cls._open_sqlite(parsed, busy_s)
            case "postgresql" | "postgres":
                return cls._open_postgresql(parsed)
            case other:
                raise StoreError(f"DATABASE_URL names a database that is not supported, {other}: use {_SHAPES}.")

    @classmethod
    def _open_sqlite(cls, url: URL, busy_s: float) -> Self:
        if not url.database or url.database == ":memory:" or url.query:
            raise StoreError("DATABASE_URL must name just a file for SQLite: sqlite:///data/zoetrope.db.")
        path = Path(url.database).absolute()
        _refuse_what_is_no_file(path)
        try:
            _make_private(path)
        except OSError as error:
            raise StoreError(
                f"The database file {path} can't be made: {error.strerror}. "
                "Choose another place in DATABASE_URL, or give this user the right to write there."
            ) from error
        engine = create_async_engine(
            URL.create("sqlite+aiosqlite", database=str(path)),
            connect_args={"timeout": busy_s},
            max_overflow=-1,  # no line for connections, which could not be left once in it
            hide_parameters=True,
        )
        event.listen(engine.sync_engine, "connect", _set_up_sqlite)
        event.listen(engine.sync_engine, "begin", _begin_sqlite)
        event.listen(engine.sync_engine, "invalidate", _let_go_of_sqlite)
        return cls(engine, f"The database file {path}", (), file=path, busy_s=busy_s)

    @classmethod
    def _open_postgresql(cls, url: URL) -> Self:
        try:
            asyncpg: Any = importlib.import_module("asyncpg")
        except ImportError:
            raise StoreError(
                "DATABASE_URL names a PostgreSQL database, whose driver is not installed: "
                "install Zoetrope with its `postgres` extra (`pip install zoetrope[postgres]`)."
            ) from None
        dsn = url.set(drivername="postgresql").render_as_string(hide_password=False)

        async def connect() -> Any:
            # asyncpg reads the whole address itself: sslmode, several hosts, a socket's folder.
            return await asyncpg.connect(dsn, timeout=_CONNECT_TIMEOUT_S, command_timeout=_COMMAND_TIMEOUT_S)

        engine = create_async_engine(
            "postgresql+asyncpg://", async_creator=connect, pool_pre_ping=True, hide_parameters=True
        )
        place = f"The database {url.database or ''} on {url.host or 'this machine'}"
        return cls(engine, place, (asyncpg.PostgresError, asyncpg.InterfaceError))

    async def close(self) -> None:
        """Lets nothing new begin, gives what is under way a moment to end, and gives all connections back."""
        self._closed = True
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WORDS_S):
                await self._idle.wait()
        await self._engine.dispose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that only reads. Raises StoreError where the database fails."""
        async with self._explaining(), self._connected(self._engine) as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that writes: committed at the end, rolled back on any error.

        On SQLite it holds the one write lock from its start, so that what it reads stays true until it ends.
        Raises StoreError where nothing was written, CommitUnknown where a server may have written it.
        """
        engine = self._engine.execution_options(sqlite_begin="IMMEDIATE")
        committing = False
        try:
            async with (
                self._explaining(),
                self._in_line(),
                self._connected(engine) as connection,
                connection.begin(),
            ):
                yield connection
                committing = True
        except StoreError as error:
            # A server may have done it, and only its answer was lost. SQLite's failed commit is rolled back.
            if committing and self._file is None:
                raise CommitUnknown(str(error)) from error
            raise

    async def migrate(self, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Copy | None:
        """Brings the schema to this program's; processes that do it together wait for each other.

        A SQLite file of an older version is copied first, beside it; the copy, if one was made. What fails
        leaves the schema as it was.
        Raises StoreError for a database of a newer version, a damaged file, and one that is no database.
        """
        kept: Copy | None = None
        try:
            async with self._explaining(), self._in_line(), self._connected(self._engine) as plain:
                # A table that is rebuilt is dropped in between, which must not take rows along that refer to it.
                options = {"sqlite_begin": "IMMEDIATE", "sqlite_foreign_keys": "OFF"}
                connection = await plain.execution_options(**options)
                async with connection.begin():
                    if connection.dialect.name == "postgresql":
                        await connection.execute(
                            text("SELECT pg_advisory_xact_lock(:key)"), {"key": _MIGRATION_LOCK}
                        )
                    elif await connection.run_sync(schema_version.will_change):
                        kept = await self._keep(clock())
                    await connection.run_sync(schema_version.upgrade)
                await connection.invalidate()
        except BaseException:
            if kept is not None:  # nothing was changed, and the next try makes its own
                sqlite_files.remove(kept.path)
            raise
        return kept

    async def _keep(self, now: datetime) -> Copy:
        """Copies the file as it was before this transaction, whose lock keeps all others from writing."""
        assert self._file is not None  # noqa: S101 - asked of SQLite only
        file = self._file.resolve()
        kept = await asyncio.to_thread(copy_of, file, sqlite_files.dated(file, now, "before-upgrade"))
        log.warning("the database's schema is upgraded; the database as it was is kept in %s", kept.path)
        return kept

    async def check(self) -> None:
        """Reads all of a SQLite file for damage. Raises StoreError where there is any."""
        async with self.read() as connection:
            await connection.run_sync(schema_version.check_file)

    async def schema_status(self) -> SchemaStatus:
        """Where the schema stands against this program's. Raises StoreError."""
        async with self.read() as connection:
            return await connection.run_sync(schema_version.status)

    def _in_line(self) -> AbstractAsyncContextManager[None]:
        """Lets this process's writers wait in a fair line; SQLite's own waiting is a poll that knows no order."""
        return nullcontext() if self._write_line is None else self._write_line

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        if self._closed:
            raise StoreError(f"{self._place} is closed: the bot is stopping.")
        self._under_way += 1
        self._idle.clear()
        try:
            async with self._opened(engine) as connection:
                yield connection
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    @asynccontextmanager
    async def _opened(self, engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
        async with AsyncExitStack() as stack:
            if self._write_line is None:
                yield await stack.enter_async_context(engine.connect())
                return
            # aiosqlite drops, unclosed, a connection that is cancelled while it opens. So it opens to the end,
            # which takes a moment for a file; one to a server may take long, and its driver cleans up itself.
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
        except _BUGS:
            raise
        except self._failures as error:
            raise StoreError(self._explanation(error)) from error

    def _explanation(self, error: Exception) -> str:
        said = str(error.orig if isinstance(error, DBAPIError) else error) or type(error).__name__
        if self._engine.dialect.name == "postgresql":
            return f"{self._place} can't be used: {said}. Check DATABASE_URL, and that the server is running."
        return explanation(self._place, said, busy_s=self._busy_s)


def _refuse_what_is_no_file(path: Path) -> None:
    """Refuses what SQLite would take for a new database, or not explain."""
    if path.is_dir():
        raise StoreError(f"DATABASE_URL names the folder {path}; name a file in it: sqlite:///{path}/zoetrope.db.")
    wal = sqlite_files.beside(path, "-wal")
    if wal.exists() and wal.stat().st_size and not (path.exists() and path.stat().st_size):
        raise StoreError(
            f"The database file {path} is gone or empty, but {wal} still holds what was written last. Bring the "
            "file back, or restore a backup with `zoetrope db restore FILE`; to begin anew, move that one away."
        )


def _make_private(path: Path) -> None:
    """Makes the file and its folders with rights for this user alone; what is there keeps its own."""
    sqlite_files.make_folders(path)
    # SQLite gives the files beside it (-wal, -shm) the same rights.
    path.touch(mode=0o600, exist_ok=True)


def _set_up_sqlite(connection: Any, _record: object) -> None:
    # Transactions are begun by `_begin_sqlite`, not by Python's driver at the first write.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("synchronous = FULL", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {pragma}")
    try:
        cursor.execute("PRAGMA journal_mode = WAL")
    except sqlite3.OperationalError as error:
        # The first switch of a file does not wait for others. Whoever is at it now makes this very switch, or
        # the next connection will; until then all is as safe, only readers and writers wait for each other.
        if "locked" not in str(error):
            raise
    cursor.close()


def _begin_sqlite(connection: SyncConnection) -> None:
    options = connection.get_execution_options()
    if "sqlite_foreign_keys" in options:
        # Only heeded outside of a transaction.
        connection.exec_driver_sql(f"PRAGMA foreign_keys = {options['sqlite_foreign_keys']}")
    connection.exec_driver_sql(f"BEGIN {options.get('sqlite_begin', 'DEFERRED')}")


def _let_go_of_sqlite(connection: Any, _record: object, _error: object) -> None:
    # Before the connection of a cancelled statement is closed: SQLite keeps a closed connection's locks for as
    # long as a cursor lives that has rows to give, and the traceback of the cancelling may keep that one long.
    with suppress(asyncio.CancelledError, sqlite3.Error):  # what led here is on its way up already
        connection.rollback()
