"""The job loop: claims the jobs that are due, runs the stage of each one's state, writes the outcome.

The database is the only truth about a job. The jobs in progress are under a lease, renewed for as long as this
process lives; if it dies, they are due again when their leases expire.

Running tasks are polled beside all that: claimed in batches, polled side by side, their "not yet" written in
batches. So thousands of them take no place from a stage, and cost a few transactions a second.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from bot.domain.jobs import ENDED, FailureCause, FailureDetail, FailureReason, Job, JobState
from bot.domain.outcomes import Fail, Outcome, Reschedule
from bot.operations.clock import uptime_s
from bot.operations.held_lease import HeldLease, working_under
from bot.operations.log_context import about_job
from bot.operations.observer import Observer
from bot.store.jobs.due import DueFor
from bot.store.jobs.job_store import JobStore
from bot.worker.background_service import BackgroundService, wait_for
from bot.worker.config import WorkerConfig
from bot.worker.outcome_writer import OutcomeWriter
from bot.worker.stage_times import timed_stage
from bot.worker.stages import STAGES
from bot.worker.stages.context import NotSubmitted, StageContext
from bot.worker.stages.delivery import abandon, abandoned

log = logging.getLogger(__name__)

MAX_CLAIMS = 5
"""A job claimed more often than this without an outcome crashes its workers; it is abandoned."""

_BUSY_S = 1.0
"""The pause while a job is due but can't be claimed, because someone holds it. Its end usually wakes the loop."""


class Worker:
    """Processes all jobs until it is stopped. One task runs `run`; anyone may call `wake`."""

    def __init__(
        self,
        store: JobStore,
        context: StageContext,
        config: WorkerConfig,
        background_services: Sequence[BackgroundService] = (),
        observer: Observer | None = None,
        steady_s: Callable[[], float] = uptime_s,
    ) -> None:
        """background_services: run for as long as the worker does. observer: is told of what the worker does.

        steady_s: the clock by which a lease is over, see `bot.operations.held_lease`.
        """
        self._store = store
        self._context = context
        self._config = config
        self._background_services = background_services
        self._observer = observer or Observer()
        self._background_tasks: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._may_submit = True
        self._wake_for_polls = asyncio.Event()
        self._stop_requested = asyncio.Event()
        self._grace_is_over = asyncio.Event()
        self._stopped = asyncio.Event()
        self._claiming = asyncio.Lock()
        self._in_progress: dict[asyncio.Task[bool], Job] = {}
        self._stage_count = 0
        self._poll_count = 0
        self._timeouts: dict[asyncio.Task[Any], asyncio.Timeout] = {}
        self._leases: dict[asyncio.Task[Any], HeldLease] = {}
        self._steady_s = steady_s
        self._no_takeover_before_s = -math.inf
        self._outcome_writer = OutcomeWriter(
            store, context.clock, context.jitter, batch_delay=config.batch_delay, backoff=config.write_backoff
        )

    def wake(self) -> None:
        """Something may be due now: check at once."""
        self._wake.set()
        self._wake_for_polls.set()
        for service in self._background_services:
            service.wake()

    def hold_submissions(self) -> None:
        """Submits nothing until `allow_submissions`; all else goes on, since it costs nothing."""
        self._may_submit = False

    def allow_submissions(self) -> None:
        """Ends `hold_submissions`."""
        self._may_submit = True
        self.wake()

    async def run(self) -> None:
        """Runs until `stop` is called, through outages of everything it works with."""
        async with asyncio.TaskGroup() as group:
            self._background_tasks = [group.create_task(service.run()) for service in self._background_services]
            group.create_task(self._claim_loop(DueFor.STAGE, self._claim, self._wake, timedelta(0)))
            polls = self._claim_polls, self._wake_for_polls, self._config.poll_interval
            group.create_task(self._claim_loop(DueFor.POLL, *polls))
            group.create_task(self._renew_loop())

    async def run_once(self) -> int:
        """One round from claim to written outcome, for tests; returns the number of jobs claimed."""
        claimed = await self._claim() + await self._claim_polls()
        while self._in_progress:
            await asyncio.wait(self._in_progress)
        return claimed

    async def stop(self, grace_s: float) -> None:
        """Claims nothing more, waits up to `grace_s` for jobs in progress, then cancels and releases the rest.

        A job that was claimed for submission, and whose request was not sent yet, goes back to the queue.
        """
        self._stop_requested.set()
        self.wake()
        for service in self._background_services:
            service.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._wait_until_idle()
        self._grace_is_over.set()
        await asyncio.sleep(0)  # a task that is cancelled before it began can't say that it sent nothing
        unfinished = dict(self._in_progress)
        for task in unfinished:
            task.cancel()
        if unfinished:
            log.info("stopped with %d jobs in progress; they continue at the next start", len(unfinished))
            await asyncio.wait(unfinished)
            with contextlib.suppress(Exception):  # best effort: the leases expire anyway
                await self._store.release(list(unfinished.values()))
        timeout_s = self._config.final_write_timeout.total_seconds()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s), self._claiming:
                pass  # a claim that outlasted the grace has given its jobs back
        self._stopped.set()
        if self._background_tasks:
            _, late = await asyncio.wait(self._background_tasks, timeout=timeout_s)
            for late_task in late:
                late_task.cancel()

    async def _wait_until_idle(self) -> None:
        """Waits until no claim and no job is in progress."""
        async with self._claiming:
            pass
        if self._in_progress:
            await asyncio.wait(self._in_progress)

    async def _claim_loop(
        self, kind: DueFor, claim: Callable[[], Awaitable[int]], wake: asyncio.Event, interval: timedelta
    ) -> None:
        """Claims what is due for this, at most once per interval, and sleeps while nothing is."""
        failures = 0
        while not self._stop_requested.is_set():
            wake.clear()
            try:
                sleep_s = 0.0 if await claim() else await self._idle_s(kind) or _BUSY_S
                self._observer.looked_for_jobs(kind)
                failures = 0
            except Exception:  # whatever the store raises; the jobs are safe in it
                log.exception("the store does not respond; trying again")
                sleep_s = self._pause_after_outage_s(failures)
                failures += 1
            if interval:
                await wait_for(self._stop_requested, interval.total_seconds())
                sleep_s -= interval.total_seconds()
            await wait_for(wake, sleep_s)

    async def _renew_loop(self) -> None:
        """Renews leases, also during the grace period of a stop."""
        failures, pause_s = 0, self._config.renew_interval.total_seconds()
        while not self._stopped.is_set():
            await wait_for(self._stopped, pause_s)
            try:
                await self._renew_leases()
                failures, pause_s = 0, self._config.renew_interval.total_seconds()
            except Exception:  # whatever the store raises; an expired lease is still ours until someone takes it
                log.exception("the leases of %d jobs can't be renewed yet", len(self._in_progress))
                pause_s = self._pause_after_outage_s(failures)
                failures += 1

    async def _renew_leases(self) -> None:
        """Renews the leases of all jobs in progress, and ends the stages of those that were lost."""
        in_progress = dict(self._in_progress)
        if not in_progress:
            return
        leases, since_s = self._config.lease_durations, self._steady_s()
        held = await self._store.renew(list(in_progress.values()), self._context.clock(), leases)
        for task, job in in_progress.items():
            if job.id in held and task in self._leases:
                self._leases[task].renew(since_s)
            timeout = self._timeouts.get(task)
            # A create request in flight is not cancelled: its response is worth having, if only in the log.
            if job.id in held or job.state is JobState.SUBMITTING or timeout is None or timeout.expired():
                continue
            log.warning("job %s: its lease was lost; stopping its stage for %s", job.id, job.state)
            timeout.reschedule(asyncio.get_running_loop().time())

    def _pause_after_outage_s(self, failures: int) -> float:
        """Seconds until the store is tried again.

        A lease that expired during the outage does not mean that its holder died, so takeovers wait for a while.
        """
        delay_s = self._config.takeover_delay.total_seconds()
        self._no_takeover_before_s = asyncio.get_running_loop().time() + delay_s
        return self._config.write_backoff.pause_s(failures, jitter=self._context.jitter())

    @property
    def _may_claim(self) -> bool:
        # An outcome that can't be written yet goes first: a claim could take its job's lease.
        return not self._stop_requested.is_set() and not self._outcome_writer.is_failing

    @property
    def _may_take_over(self) -> bool:
        return asyncio.get_running_loop().time() >= self._no_takeover_before_s

    @property
    def _free_stages(self) -> int:
        """How many more stages may run."""
        return self._config.max_concurrent_jobs - self._stage_count

    @property
    def _free_polls(self) -> int:
        """How many more polls may be under way: none until half of all may, so that a claim gets many."""
        free = self._config.max_concurrent_polls - self._poll_count
        return free if 2 * free >= self._config.max_concurrent_polls else 0

    async def _claim(self) -> int:
        """Claims what is due, besides polls, and starts processing it; returns how many jobs."""
        async with self._claiming:
            now, config, limit = self._context.clock(), self._config, self._free_stages
            since_s = self._steady_s()
            if not self._may_claim or limit <= 0:
                return 0
            held = self._in_progress.values()
            due = await self._store.claim_due(
                now, limit, config.lease_durations, held, expired=self._may_take_over, kinds=(DueFor.STAGE,)
            )
            if not await self._start_all(due, since_s):
                return 0
            if not self._may_submit or len(due) == limit or self._stop_requested.is_set():
                return len(due)
            lease, since_s = config.lease_durations[JobState.SUBMITTING], self._steady_s()
            queued = await self._store.claim_queued(now, config.providers, lease)
            if queued is None:
                return len(due)
            if self._grace_is_over.is_set():
                await self._store.return_unsent(queued, self._context.clock())
                return len(due)
            self._start(queued, since_s)
            return len(due) + 1

    async def _claim_polls(self) -> int:
        """Claims a batch of the running jobs that are due to be polled, and starts that; returns how many."""
        async with self._claiming:
            if not self._may_claim or not self._free_polls:
                return 0
            now, leases, held = self._context.clock(), self._config.lease_durations, self._in_progress.values()
            since_s = self._steady_s()
            due = await self._store.claim_due(
                now, self._free_polls, leases, held, expired=self._may_take_over, kinds=(DueFor.POLL,)
            )
            return len(due) if await self._start_all(due, since_s) else 0

    async def _start_all(self, claimed: Sequence[Job], since_s: float) -> bool:
        """Starts processing them; False if the grace period is over, and they were given back.

        since_s: when their leases began.
        """
        if self._grace_is_over.is_set():
            await self._store.release(claimed)
            return False
        # Before the next request: if that fails, nobody else knows about these jobs.
        for job in claimed:
            self._start(job, since_s)
        return True

    async def _idle_s(self, kind: DueFor) -> float:
        """Seconds until something of this kind is due; 0 if it is due now and could not be claimed."""
        max_idle_s = self._config.max_idle.total_seconds()
        free = self._free_polls if kind is DueFor.POLL else self._free_stages
        if self._outcome_writer.is_failing or free <= 0:
            return max_idle_s  # a job that ends wakes the loop
        now = self._context.clock()
        due_at = await self._store.next_due_at(now, self._config.providers, (kind,))
        return max_idle_s if due_at is None else min(max_idle_s, max(0.0, (due_at - now).total_seconds()))

    def _start(self, job: Job, since_s: float) -> None:
        if job.state is JobState.RUNNING:
            self._poll_count += 1
        else:
            self._stage_count += 1
        lease = HeldLease(since_s, self._config.lease_durations[job.state], self._steady_s)
        with working_under(lease), about_job(job.id):
            task = asyncio.create_task(self._process(job), name=f"job {job.id}")
        self._in_progress[task], self._leases[task] = job, lease
        task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[bool]) -> None:
        job = self._in_progress.pop(task)
        self._leases.pop(task, None)
        moved = True
        if not task.cancelled():
            error = task.exception()
            if error is not None:
                log.error("job %s: writing its outcome failed", job.id, exc_info=error)
            moved = error is not None or task.result()
        if job.state is JobState.RUNNING:
            self._wake_for_polls.set()
        else:
            self._stage_count -= 1
            self._wake.set()
        if moved:
            self.wake()

    def _on_answered(self) -> None:
        """A poll is no longer under way: its outcome is known, and still to be written."""
        was_full = not self._free_polls
        self._poll_count -= 1
        if was_full and self._free_polls:
            self._wake_for_polls.set()

    async def _process(self, job: Job) -> bool:
        """Runs the job's stage and writes its outcome; returns whether the job is in another state now."""
        try:
            with timed_stage(self._observer, job, self._context.clock()) as timer:
                outcome = timer.outcome = await self._run_stage(job)
        except NotSubmitted:
            async with asyncio.timeout(self._config.final_write_timeout.total_seconds()):
                await self._store.return_unsent(job, self._context.clock())
            raise
        finally:
            if job.state is JobState.RUNNING:
                self._on_answered()
        # The outcome may be the only record of something paid for: a cancelled task still writes it.
        write = self._outcome_writer.write(job, outcome)
        try:
            await asyncio.shield(write)
        except asyncio.CancelledError:
            await asyncio.wait([write], timeout=self._config.final_write_timeout.total_seconds())
            write.cancel()
            raise
        return not isinstance(outcome, Reschedule)

    async def _run_stage(self, job: Job) -> Outcome:
        """Runs the stage of the job's state within its timeout. Every error has an outcome."""
        stage = STAGES[job.state]
        # The workers may have died of something else, so an end gets one more try.
        max_claims = MAX_CLAIMS + 1 if job.state in ENDED else MAX_CLAIMS
        if job.claim_count > max_claims and job.state is not JobState.SUBMITTING:  # that stage handles it itself
            log.error("job %s was claimed %d times without an outcome", job.id, job.claim_count)
            stage = abandon
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        try:
            async with asyncio.timeout(self._timeout_s(job.state)) as self._timeouts[task]:
                return await stage(job, self._context)
        except Exception as error:  # a bug of ours, or the store's; what may have happened outside decides
            timed_out = isinstance(error, TimeoutError) and job.state is not JobState.SUBMITTING
            level = logging.WARNING if timed_out else logging.ERROR
            log.log(level, "job %s: the stage for %s failed", job.id, job.state, exc_info=error)
        finally:
            self._timeouts.pop(task, None)
        if job.state is JobState.SUBMITTING:
            return Fail(FailureReason.OUTCOME_UNKNOWN, FailureDetail(FailureCause.BROKEN_OFF))
        if self._context.can_give_up(job.state_changed_at):
            return abandoned(job)
        return self._context.retry(self._context.config.upstream_backoff, job.attempts)

    def _timeout_s(self, state: JobState) -> float:
        return self._config.stage_timeouts[state].total_seconds()
