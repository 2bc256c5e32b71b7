"""SQLite's driver for SQLAlchemy: aiosqlite, but with one trip to a connection's thread for a whole query.

aiosqlite makes four: to open a cursor, execute, fetch the rows and close the cursor.
"""

import sqlite3
from collections.abc import Iterable
from typing import Any

import aiosqlite

ROWS_AT_ONCE = 1000
"""How many rows come with a query. The rest is read when it is asked for, so that a result can be streamed."""


async def connect(uri: str, *, busy_s: float) -> aiosqlite.Connection:
    """Opens a database file. busy_s: how long a statement waits for another process."""

    def opened() -> sqlite3.Connection:
        # The event loop's thread opens cursors, which takes nothing of SQLite; all else is for the connection's.
        return sqlite3.connect(uri, uri=True, timeout=busy_s, check_same_thread=False)

    connection = _Connection(opened, ROWS_AT_ONCE)
    # A connection that was left open must not keep the process; SQLAlchemy does the same to its own.
    connection._thread.daemon = True  # noqa: SLF001
    return await connection


class _Connection(aiosqlite.Connection):
    def cursor(self) -> "_Cursor":  # type: ignore[override]  # as SQLAlchemy uses it, which only enters it
        return _Cursor(self, self._conn.cursor())


class _Cursor(aiosqlite.Cursor):
    """Has a query's first rows, and the rest is in SQLite's cursor."""

    def __init__(self, connection: aiosqlite.Connection, cursor: sqlite3.Cursor) -> None:
        super().__init__(connection, cursor)
        self._rows: list[Any] = []
        self._has_more = False

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> "_Cursor":
        await self._execute(self._run, sql, parameters or ())  # type: ignore[no-untyped-call]  # aiosqlite's
        return self

    def _run(self, sql: str, parameters: Any = ()) -> None:
        self._has_more = True  # should reading fail
        self._cursor.execute(sql, parameters)
        self._rows = self._cursor.fetchmany(ROWS_AT_ONCE)  # none of a statement that isn't a query
        self._has_more = len(self._rows) == ROWS_AT_ONCE

    async def fetchone(self) -> Any:
        rows = await self.fetchmany(1)
        return rows[0] if rows else None

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        size = size or self.arraysize
        if self._has_more and len(self._rows) < size:
            self._rows += await super().fetchmany(size - len(self._rows))
            self._has_more = len(self._rows) == size
        rows, self._rows = self._rows[:size], self._rows[size:]
        return rows

    async def fetchall(self) -> list[Any]:
        rows, self._rows = self._rows, []
        if self._has_more:
            rows += await super().fetchall()
            self._has_more = False
        return rows

    async def close(self) -> None:
        # One that was read to its end holds nothing any more.
        if self._has_more:
            await super().close()
