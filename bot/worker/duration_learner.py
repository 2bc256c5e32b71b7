"""Tells the poll schedule how long the latest tasks took, of this worker and of all others on the database."""

import asyncio
import logging

from bot.domain.errors import StoreError
from bot.domain.schedule import PollSchedule
from bot.store.jobs.task_durations import TaskDurationStore
from bot.worker.background_service import wait_for

log = logging.getLogger(__name__)

INTERVAL_S = 60.0


class DurationLearner:
    """Reads the durations at the start, and regularly until it is stopped. One task runs `run`."""

    def __init__(
        self, store: TaskDurationStore, schedule: PollSchedule, *, interval_s: float = INTERVAL_S
    ) -> None:
        self._store = store
        self._schedule = schedule
        self._interval_s = interval_s
        self._learned_id = 0
        self._stop = asyncio.Event()

    async def run(self) -> None:
        """Runs once per interval until `stop` is called, through outages of the store."""
        while not self._stop.is_set():
            await self.run_once()
            await wait_for(self._stop, self._interval_s)

    async def run_once(self) -> None:
        """Reads the durations if there are new ones. Whatever fails, the schedule still works."""
        try:
            await self._learn()
        except StoreError as error:
            log.debug("the durations of earlier tasks can't be read: %s", error)
        except Exception:  # whatever another program wrote into the table
            log.exception("the durations of earlier tasks can't be used")

    async def _learn(self) -> None:
        newest_id = await self._store.newest_id()
        if newest_id == self._learned_id:
            return
        latest = await self._store.latest()
        self._learned_id = newest_id
        for kind, durations in latest.items():
            self._schedule.learn(kind, durations)

    def wake(self) -> None:
        """Does nothing: a new job says nothing about durations."""

    def stop(self) -> None:
        """Ends `run`."""
        self._stop.set()
