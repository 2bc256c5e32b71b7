"""Notices when a SQLite file is deleted, moved or replaced under the running bot.

An open file lives on without a name: SQLite would go on writing to it, and everything accepted since would be gone
after a restart. `Database` refuses every transaction from then on; this watch saves a copy of what is still open,
and has the operator told.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import NoReturn

from bot.domain.errors import DatabaseFileLost, DatabaseInUse, DeliveryError, StoreError
from bot.store import sqlite_files
from bot.store.engine import Database
from bot.store.maintenance.process_lock import ProcessLock

log = logging.getLogger(__name__)

CHECK_INTERVAL_S = 15.0


@dataclass(frozen=True, slots=True)
class LostFile:
    """A database file that is gone.

    copy: what could be saved of it; None if nothing could. nonce: the same for each try to tell the operator.
    """

    file: Path
    copy: Path | None
    nonce: str = field(default_factory=lambda: secrets.token_urlsafe(12), compare=False)


async def watch_file(
    database: Database,
    lock: ProcessLock,
    tell: Callable[[LostFile], Awaitable[None]],
    *,
    clock: Callable[[], datetime],
    interval_s: float,
) -> NoReturn:
    """Checks the database file and its lock again and again.

    tell: informs the operator; called until it raises no DeliveryError. interval_s: between two checks.
    Raises DatabaseInUse if another process took over a lock whose file was deleted.
    """
    assert database.file is not None  # noqa: S101 - only for SQLite
    lost: LostFile | None = None
    is_told = False
    while True:
        await asyncio.sleep(interval_s)
        try:
            _renew(lock)
            database.check_file()
        except OSError as error:  # a file system that is away for a moment
            log.warning("the database file %s can't be checked: %s", database.file, error)
        except DatabaseFileLost as error:
            if lost is None:
                log.critical("%s", error)
                lost, is_told = LostFile(database.file, await _save_copy(database, database.file, clock())), False
            if not is_told:
                is_told = await _is_told(tell, lost)
        else:
            if lost is not None:
                log.warning("the database file %s is back; the bot continues", database.file)
            lost = None


def _renew(lock: ProcessLock) -> None:
    try:
        lock.renew()
    except DatabaseInUse:
        raise
    except StoreError as error:  # its folder is gone, and so is the database
        log.warning("%s", error)


async def _save_copy(database: Database, file: Path, now: datetime) -> Path | None:
    """Saves what this process still has open next to the lost file; returns the copy."""
    try:
        copy = sqlite_files.dated(file, now, sqlite_files.SAVED)
        part = copy.with_name(f".{copy.name}.part")
        sqlite_files.make_folders(part)
        sqlite_files.remove(part)
        sqlite_files.make_private(part)
        try:
            await database.save_copy(part)
            sqlite_files.rename_to_new(part, copy)
        finally:
            sqlite_files.remove(part)
    except (StoreError, OSError) as error:
        log.critical("no copy of the lost database file could be saved: %s", error)
        return None
    log.critical("what the lost database file held is saved in %s", copy)
    return copy


async def _is_told(tell: Callable[[LostFile], Awaitable[None]], lost: LostFile) -> bool:
    try:
        await tell(lost)
    except DeliveryError as error:
        log.warning("the operator can't be told yet: %s", error)
        return False
    return True
