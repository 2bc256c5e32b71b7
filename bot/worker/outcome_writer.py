"""Writes the outcomes of steps into the store, whatever the store's state.

An outcome may be the only trace of something paid for, so it is kept and tried until it is written. "Not yet"
outcomes of one moment share a write. Nothing is decided here, and nothing is lost by dying: the lease runs out.
"""

import asyncio
import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from bot.domain.errors import StoreError
from bot.domain.jobs import Fail, Job, JobState, MoveTo, Outcome, PauseSubmissions, Reschedule
from bot.domain.schedule import Backoff

log = logging.getLogger(__name__)


FAULT_TRIES = 3
"""How often a write is tried again that failed through no fault of the store's own."""


class OutcomeStore(Protocol):
    """What the outbox needs of the store."""

    async def apply(self, job: Job, outcome: Outcome, now: datetime) -> bool:
        """Writes an outcome under the job's lease; False where the lease was lost."""
        ...

    async def apply_later(self, batch: list[tuple[Job, Reschedule]], now: datetime) -> int:
        """Writes many "not yet" in one transaction; how many were still under their lease."""
        ...

    async def open_gate(self, now: datetime) -> None:
        """The upstream took a job: forget failures, unless the gate was closed anew meanwhile."""
        ...


class OutcomeWriter:
    """The way of all outcomes into the store. `linger`: how long a "not yet" waits for company."""

    def __init__(
        self,
        tray: OutcomeStore,
        clock: Callable[[], datetime],
        chance: Callable[[], float],
        *,
        linger: timedelta,
        backoff: Backoff,
    ) -> None:
        self._tray = tray
        self._clock = clock
        self._chance = chance
        self._linger = linger
        self._backoff = backoff
        self._not_yet: list[tuple[Job, Reschedule]] = []
        self._failing = 0

    @property
    def stuck(self) -> bool:
        """Whether something known could not be written yet; to claim more would take its lease."""
        return self._failing > 0

    async def write(self, job: Job, outcome: Outcome) -> bool:
        """Writes the outcome, however long the store takes to come back; whether the lease still held.

        Any other error than the store's is a fault of ours: tried a few times more, then the lease runs out.
        """
        if isinstance(outcome, Reschedule):
            self._not_yet.append((job, outcome))
            await asyncio.sleep(self._linger.total_seconds())
        failures = 0
        try:
            while True:
                try:
                    if isinstance(outcome, Reschedule):
                        return await self._write_not_yet()
                    return await self._write_once(job, outcome)
                except Exception as error:
                    log.exception("job %s: its outcome can't be written yet: %r", job.id, outcome)
                    if not isinstance(error, StoreError) and failures >= FAULT_TRIES:
                        raise
                    self._failing += failures == 0
                    await asyncio.sleep(self._backoff.pause_s(failures, chance=self._chance()))
                    failures += 1
        finally:
            self._failing -= failures > 0

    async def _write_not_yet(self) -> bool:
        """Writes all that has gathered; often nothing, because another job's turn wrote it along."""
        batch, self._not_yet = self._not_yet, []
        if not batch:
            return True
        try:
            written = await self._tray.apply_later(batch, self._clock())
        except (StoreError, asyncio.CancelledError):
            self._not_yet = batch + self._not_yet
            raise
        except Exception:
            log.exception("a batch of %d can't be written together", len(batch))
            written = await self._write_each(batch)
        if written != len(batch):
            log.warning("%d of %d looks had lost their lease", len(batch) - written, len(batch))
        return True

    async def _write_each(self, batch: list[tuple[Job, Reschedule]]) -> int:
        """One at a time, so that the one that can't be written takes no other along; how many were written."""
        written = 0
        for job, later in batch:
            try:
                written += await self._tray.apply_later([(job, later)], self._clock())
            except Exception:
                log.exception("job %s: its outcome can't be written; its lease runs out", job.id)
        return written

    async def _write_once(self, job: Job, outcome: MoveTo | Fail | PauseSubmissions) -> bool:
        if not await self._tray.apply(job, outcome, self._clock()):
            log.error("job %s: its lease was lost, the outcome is dropped: %r", job.id, outcome)
            return False
        log.info("job %s: %s → %s", job.id, job.state, _described(outcome))
        if job.state is JobState.SUBMITTING and isinstance(outcome, MoveTo):
            try:
                await self._tray.open_gate(self._clock())
            except StoreError as error:
                log.warning("the gate keeps its failures until the next submission: %s", error)
        return True


def _described(outcome: MoveTo | Fail | PauseSubmissions) -> str:
    match outcome:
        case MoveTo(to=to):
            return to
        case Fail(reason=reason, detail=detail):
            return f"{JobState.FAILED} ({reason}: {detail.to_text()})"
        case PauseSubmissions(reason=reason):
            return f"{JobState.QUEUED} again ({reason})"
