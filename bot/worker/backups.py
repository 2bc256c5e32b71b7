"""Makes the scheduled backups of a SQLite database, next to the worker's loop.

Each runs in a thread: jobs go on meanwhile, and so do orders. What fails is logged, told to the operator once a
day, and tried again.
"""

import asyncio
import logging
from datetime import datetime, timedelta
from functools import partial

from bot.domain.errors import StoreError
from bot.domain.ledger import utc_day
from bot.domain.notifications import BackupFailed
from bot.operations.clock import Clock
from bot.store.engine import Database
from bot.store.maintenance.scheduled_backups import ScheduledBackups
from bot.store.outbox.notifications import TO_OPERATOR, post
from bot.worker.background_service import wait_for

log = logging.getLogger(__name__)

_CHECK_INTERVAL = timedelta(minutes=1)
_RETRY_AFTER = timedelta(hours=1)


class BackupWorker:
    """Makes a backup whenever one is due, until it is stopped. One task runs `run`."""

    def __init__(
        self,
        backups: ScheduledBackups,
        database: Database,
        *,
        clock: Clock,
        check_interval: timedelta = _CHECK_INTERVAL,
        retry_after: timedelta = _RETRY_AFTER,
    ) -> None:
        """check_interval: how often the folder is looked at. retry_after: the pause after a failure."""
        self._backups = backups
        self._database = database
        self._clock = clock
        self._check_interval = check_interval
        self._retry_after = retry_after
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Runs until `stop` is called, whatever fails."""
        while not self._stop.is_set():
            pause = self._check_interval if await self.run_once() else self._retry_after
            await wait_for(self._stop, pause.total_seconds())

    def wake(self) -> None:
        """Does nothing: a new job makes no backup due."""

    def stop(self) -> None:
        """Ends the loop, and a backup that is being made."""
        self._stop.set()

    async def run_once(self) -> bool:
        """Makes a backup if one is due; False if that failed."""
        now = self._clock()
        try:
            self._database.check_file()  # of another file that has the name now, no backup is worth an older one
            made = await asyncio.to_thread(partial(self._backups.run, now, self._stop.is_set))
        except (StoreError, OSError) as error:
            if not self._stop.is_set():
                log.error("a scheduled backup failed: %s", error)
                await self._tell(str(error), now)
            return False
        except Exception:  # a bug of ours must not end the other services
            log.exception("a scheduled backup failed")
            await self._tell(None, now)
            return False
        if made is not None:
            log.info("scheduled backup: %s", made)
        return True

    async def _tell(self, reason: str | None, now: datetime) -> None:
        try:
            async with self._database.write() as connection:
                key = f"backup_failed {utc_day(now)}"
                await post(connection, TO_OPERATOR, BackupFailed(reason), now, key=key)
        except StoreError as error:  # the same disk is full, perhaps
            log.warning("the operator can't be told: %s", error)
