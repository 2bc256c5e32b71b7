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


class FileWatch:
    """Checks the database file and its lock. tell: informs the operator, until it raises no DeliveryError."""

    def __init__(
        self,
        database: Database,
        lock: ProcessLock,
        tell: Callable[[LostFile], Awaitable[None]],
        *,
        clock: Callable[[], datetime],
    ) -> None:
        assert database.file is not None  # noqa: S101 - only for SQLite
        self._database = database
        self._file = database.file
        self._lock = lock
        self._tell = tell
        self._clock = clock
        self._checking = asyncio.Lock()
        self._lost: LostFile | None = None
        self._is_told = False

    async def run(self, interval_s: float) -> NoReturn:
        """Checks again and again. Cancelling lets a check in progress finish; `check` then waits for it.

        Raises: see `check`.
        """
        while True:
            await asyncio.sleep(interval_s)
            await asyncio.shield(self.check())
            await self.tell_operator()

    async def check(self) -> None:
        """Checks once; when this returns, a copy of a lost file is saved.

        Raises DatabaseInUse if another process took over a lock whose file was deleted.
        """
        async with self._checking:
            taken_over = _renew(self._lock)
            try:
                self._database.check_file()
            except OSError as error:  # a file system that is away for a moment
                log.warning("the database file %s can't be checked: %s", self._file, error)
            except DatabaseFileLost as error:
                if self._lost is None:
                    log.critical("%s", error)
                    copy = await _save_copy(self._database, self._file, self._clock())
                    self._lost, self._is_told = LostFile(self._file, copy), False
            else:
                if self._lost is not None:
                    log.warning("the database file %s is back; the bot continues", self._file)
                self._lost = None
            if taken_over is not None:
                raise taken_over

    async def tell_operator(self) -> None:
        """Tells the operator of a lost file, if they don't know yet and can be told."""
        if self._lost is None or self._is_told:
            return
        try:
            await self._tell(self._lost)
            self._is_told = True
        except DeliveryError as error:
            log.warning("the operator can't be told yet: %s", error)


def _renew(lock: ProcessLock) -> DatabaseInUse | None:
    """Makes a deleted lock file again; returns an error if another process was quicker."""
    try:
        lock.renew()
    except DatabaseInUse as error:
        return error
    except (StoreError, OSError) as error:  # its folder is gone, and so is the database
        log.warning("%s", error)
    return None


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
