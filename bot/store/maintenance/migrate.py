"""Upgrades a database to this program's schema, and keeps a copy of a SQLite file first."""

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from bot.store import sqlite_files
from bot.store.engine import Database
from bot.store.maintenance import schema_version
from bot.store.maintenance.backup import Copy, copy_of
from bot.store.maintenance.schema_version import SchemaStatus

log = logging.getLogger(__name__)


async def migrate(database: Database, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Copy | None:
    """Upgrades the schema to this program's; returns the copy of the old file, if one was made.

    Processes that start together wait for each other. A failure leaves the schema as it was.
    Raises StoreError for a newer version's database, a damaged file, and a file that is no database.
    """
    kept: Copy | None = None
    try:
        async with database.change_schema() as connection:
            await connection.run_sync(schema_version.check_file_quickly)
            if database.file is not None and await connection.run_sync(schema_version.will_change):
                kept = await _keep(database.file.resolve(), clock())
            await connection.run_sync(schema_version.upgrade)
    except BaseException:
        if kept is not None:  # nothing changed, and the next try makes its own copy
            sqlite_files.remove(kept.path)
        raise
    return kept


async def _keep(file: Path, now: datetime) -> Copy:
    """Copies the file as it was before the caller's transaction, whose lock keeps others from writing."""
    kept = await asyncio.to_thread(copy_of, file, sqlite_files.dated(file, now, "before-upgrade"))
    log.warning("upgrading the database's schema; the old database is kept in %s", kept.path)
    return kept


async def schema_status(database: Database) -> SchemaStatus:
    """Checks a SQLite file for damage, and compares the schema with this program's. Raises StoreError."""
    async with database.read() as connection:
        await connection.run_sync(schema_version.check_file)
        return await connection.run_sync(schema_version.status)
