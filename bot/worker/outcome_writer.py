"""Writes the outcomes of stages to the store, through outages of the store.

An outcome may be the only record of something paid for, so writing it is retried until it succeeds. Reschedules
at about the same time share a transaction. If the process dies, the job's lease expires and nothing is lost.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from functools import partial

from bot.domain.errors import CommitUnknown, StoreError
from bot.domain.jobs import Job, JobState
from bot.domain.outcomes import Fail, MoveTo, Outcome, PauseSubmissions, Reschedule
from bot.domain.schedule import Backoff
from bot.operations.log_context import about_job
from bot.store.jobs.job_store import JobStore

log = logging.getLogger(__name__)

MAX_BUG_RETRIES = 3
"""How often a write that failed with anything but a StoreError is retried."""

POLLS_AT_ONCE = 4
"""How many polls that found their task ended are written at the same time.

Hundreds may end together. Whoever else has something to write, such as an order or a delivery, would wait for all.
"""


class OutcomeWriter:
    """Writes all outcomes. batch_delay: how long a reschedule waits for others to share its transaction."""

    def __init__(
        self,
        store: JobStore,
        clock: Callable[[], datetime],
        jitter: Callable[[], float],
        *,
        batch_delay: timedelta,
        backoff: Backoff,
    ) -> None:
        self._store = store
        self._clock = clock
        self._jitter = jitter
        self._batch_delay = batch_delay
        self._backoff = backoff
        self._pending: list[tuple[Job, Reschedule]] = []
        self._pending_write: asyncio.Task[bool] | None = None
        self._writing_batch = asyncio.Lock()
        self._poll_turns = asyncio.Semaphore(POLLS_AT_ONCE)
        self._failing_writes = 0
        self._perhaps_written: set[str] = set()  # by an attempt whose answer was lost, which ends the lease

    @property
    def is_failing(self) -> bool:
        """Whether an outcome could not be written yet. Claiming more jobs now could take its lease."""
        return self._failing_writes > 0

    def write(self, job: Job, outcome: Outcome) -> asyncio.Task[bool]:
        """Writes the outcome, however long the store is down; the task returns whether the lease was still held.

        Reschedules at about the same time have one task, which returns True. Any error but the store's is a bug of
        ours: retried a few times, then raised, and the lease expires.
        """
        if not isinstance(outcome, Reschedule):
            write = self._until_written(
                partial(self._apply, job, outcome), f"job {job.id}: its outcome {outcome!r}"
            )
            return asyncio.create_task(write)
        self._pending.append((job, outcome))
        if self._pending_write is None:
            with about_job(None):  # but about all that share it
                self._pending_write = asyncio.create_task(self._write_pending())
        return self._pending_write

    async def _write_pending(self) -> bool:
        """Writes the reschedules that are pending by the time that the one before is written."""
        await asyncio.sleep(self._batch_delay.total_seconds())
        async with self._writing_batch:
            batch, self._pending, self._pending_write = self._pending, [], None
            return await self._until_written(partial(self._write_batch, batch), f"{len(batch)} reschedules")

    async def _until_written(self, attempt: Callable[[], Awaitable[bool]], what: str) -> bool:
        failures = 0
        try:
            while True:
                try:
                    return await attempt()
                except Exception as error:
                    log.exception("%s can't be written yet", what)
                    if not isinstance(error, StoreError) and failures >= MAX_BUG_RETRIES:
                        raise
                    self._failing_writes += failures == 0
                    await asyncio.sleep(self._backoff.pause_s(failures, jitter=self._jitter()))
                    failures += 1
        finally:
            self._failing_writes -= failures > 0

    async def _write_batch(self, batch: list[tuple[Job, Reschedule]]) -> bool:
        size = len(batch)
        try:
            written = await self._store.reschedule(batch, self._clock())
        except StoreError:
            raise
        except Exception:
            log.exception("a batch of %d reschedules can't be written together", size)
            written = await self._write_one_by_one(batch)
        if written != size:
            log.warning("%d of %d reschedules had lost their lease", size - written, size)
        return True

    async def _write_one_by_one(self, batch: list[tuple[Job, Reschedule]]) -> int:
        """Keeps one that can't be written from blocking the others; returns how many were written.

        If the store goes down meanwhile, the rest stays in the batch, for the next attempt.
        """
        written = 0
        while batch:
            job, reschedule = batch[0]
            try:
                written += await self._store.reschedule([(job, reschedule)], self._clock())
            except StoreError:
                raise
            except Exception:
                log.exception("job %s: its outcome can't be written; its lease will expire", job.id)
            del batch[0]
        return written

    async def _apply(self, job: Job, outcome: MoveTo | Fail | PauseSubmissions) -> bool:
        async with self._poll_turns if job.state is JobState.RUNNING else contextlib.nullcontext():
            try:
                written = await self._store.apply(job, outcome, self._clock())
            except CommitUnknown:
                self._perhaps_written.add(job.id)
                raise
        perhaps_written = job.id in self._perhaps_written
        self._perhaps_written.discard(job.id)
        if not written and not perhaps_written:
            log.error("job %s: its lease was lost; its outcome is dropped: %r", job.id, outcome)
            return False
        log.info("job %s: %s → %s", job.id, job.state, _describe(outcome))
        is_submitted = isinstance(outcome, MoveTo) and outcome.to is not JobState.QUEUED
        if job.state is JobState.SUBMITTING and is_submitted and job.provider is not None:
            try:
                await self._store.open_gate(job.provider, self._clock())
            except StoreError as error:
                log.warning("the submission gate keeps its failure count until the next submission: %s", error)
        return True


def _describe(outcome: MoveTo | Fail | PauseSubmissions) -> str:
    match outcome:
        case MoveTo(to=to):
            return to
        case Fail(reason=reason, detail=detail):
            return f"{JobState.FAILED} ({reason}: {detail.to_text()})"
        case PauseSubmissions(reason=reason):
            return f"{JobState.QUEUED} again ({reason})"
