"""Tells the poll schedule how long the latest tasks took, of this worker and of all others on the database."""

import logging

from bot.domain.errors import StoreError
from bot.domain.schedule import PollSchedule
from bot.store.jobs.task_durations import TaskDurationStore
from bot.worker.background_service import PeriodicService

log = logging.getLogger(__name__)

INTERVAL_S = 60.0


class DurationLearner(PeriodicService):
    """Reads the durations at the start and regularly, through outages of the store."""

    def __init__(
        self, store: TaskDurationStore, schedule: PollSchedule, *, interval_s: float = INTERVAL_S
    ) -> None:
        super().__init__(interval_s)
        self._store = store
        self._schedule = schedule
        self._learned_id = 0

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
