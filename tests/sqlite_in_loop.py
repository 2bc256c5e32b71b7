"""Lets SQLite's statements run in the event loop of a test, instead of in the thread that aiosqlite has for each.

A hop to a thread and back takes longer than most statements do.
Here the loop turns once before each statement, and before and after each commit: tasks meet between
statements as they do with threads, and are cancelled between them, or when a commit is done and its answer is
not there yet. What has to wait for a lock still waits in the thread, so that whoever holds the lock can go
on. Nothing is forced to the disk: no test outlives the machine.

Whole processes (`tests/e2e`, `tests/crash`) and the tests of the engine itself have the real thing.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import aiosqlite
import pytest

NEVER_WAIT = ("SELECT", "WITH", "INSERT", "UPDATE", "DELETE", "BEGIN DEFERRED")
"""How statements begin that find what they need: in WAL mode readers wait for nobody, writers hold the lock."""

_in_thread: Any = aiosqlite.Connection._execute


@contextmanager
def sqlite_in_loop() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aiosqlite.Connection, "_execute", _execute)
        yield


async def _execute(self: Any, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    statement = str(args[0]).lstrip() if args else ""
    if getattr(self, "in_thread", False):
        return await _execute_in_thread(self, call, *args, **kwargs)
    if statement.startswith(NEVER_WAIT):
        await asyncio.sleep(0)
        return call(*args, **kwargs)
    if call.__name__ in {"commit", "rollback"}:
        await asyncio.sleep(0)
        call()
        return await asyncio.sleep(0)
    if isinstance(call.__self__, sqlite3.Cursor) and not args:  # type: ignore[attr-defined]  # reads on, or closes
        return call()
    if statement == "BEGIN IMMEDIATE":
        await asyncio.sleep(0)
        if _began(self._conn):
            return call.__self__  # type: ignore[attr-defined]  # a cursor, as from its `execute`
    if statement == "PRAGMA synchronous = FULL":
        args = ("PRAGMA synchronous = OFF",)
    return await _execute_in_thread(self, call, *args, **kwargs)


def _began(connection: sqlite3.Connection) -> bool:
    """Begins a transaction that writes, if nobody else is in one."""
    ((busy_ms,),) = connection.execute("PRAGMA busy_timeout").fetchall()
    connection.execute("PRAGMA busy_timeout = 0")
    try:
        connection.execute("BEGIN IMMEDIATE")
    except sqlite3.OperationalError:
        return False
    finally:
        connection.execute(f"PRAGMA busy_timeout = {busy_ms}")
    return True


async def _execute_in_thread(self: Any, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Notes that the thread is busy: a task that was cancelled meanwhile must not overtake its own statement."""

    def whole() -> Any:
        try:
            return call(*args, **kwargs)
        finally:
            self.in_thread = False

    self.in_thread = True
    return await _in_thread(self, whole)
