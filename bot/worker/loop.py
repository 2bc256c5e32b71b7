"""The loop: claims what is due, runs the step of its state, writes the outcome.

Nothing about a job lives here only: whatever the loop holds is under a lease in the store, renewed for as long
as this process lives, and what it never finishes is due again when the lease runs out. The worker knows no Discord
and no HTTP; those are the steps'.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Protocol

from bot.domain.errors import DeliveryError
from bot.domain.jobs import (
    ENDED,
    Fail,
    FailureCause,
    FailureDetail,
    FailureReason,
    Job,
    JobState,
    MoveTo,
    Outcome,
    Reschedule,
)
from bot.domain.schedule import Backoff
from bot.worker.outcome_writer import OutcomeStore, OutcomeWriter
from bot.worker.stages import STEPS, Desk, StageContext, give_up

log = logging.getLogger(__name__)

LEASE = timedelta(seconds=45)
"""How long a dead process keeps others from its jobs. A live one renews it three times in that time."""

LEASES: Mapping[JobState, timedelta] = dict.fromkeys(JobState, LEASE) | {
    # Taken from a holder that lives, its answer would be dropped and a paid video lost: worth a longer wait.
    JobState.SUBMITTING: timedelta(seconds=120),
}
STEP_LIMITS: Mapping[JobState, timedelta] = dict.fromkeys(JobState, timedelta(seconds=48)) | {
    JobState.SUBMITTING: timedelta(seconds=96),
    JobState.DELIVERING: timedelta(seconds=240),
}
"""How long a step may take, from its claim to its outcome."""

MAX_CLAIMS = 5
"""A job claimed this often without an outcome takes its workers down; it is not tried again."""


class JobQueue(Desk, OutcomeStore, Protocol):
    """What the worker needs of the store. All methods may be called side by side."""

    async def claim_due(
        self,
        now: datetime,
        limit: int,
        leases: Mapping[JobState, timedelta],
        held: Collection[Job],
        *,
        expired: bool,
    ) -> list[Job]:
        """Due jobs, now under a fresh lease; never one of those that are `held` here, whatever the clock says.

        expired: also such whose lease ran out under another worker.
        """
        ...

    async def renew(
        self, jobs: Sequence[Job], now: datetime, leases: Mapping[JobState, timedelta]
    ) -> frozenset[str]:
        """Lets the leases of these jobs begin anew; the ids of those that were still held."""
        ...

    async def claim_queued(
        self, now: datetime, max_running: int, pause: timedelta, lease: timedelta
    ) -> Job | None:
        """The next job to submit, already marked as submitting; None while there is none or it must wait."""
        ...

    async def release(self, jobs: list[Job]) -> None:
        """Gives leases back unused."""
        ...

    async def next_due_at(self, now: datetime, max_running: int) -> datetime | None:
        """When there is something to claim next."""
        ...


class BackgroundService(Protocol):
    """A loop of its own that lives and is woken with the worker."""

    async def run(self) -> None:
        """Runs until `stop` is called."""
        ...

    def wake(self) -> None:
        """There may be something to do now."""
        ...

    def stop(self) -> None:
        """Ends `run` soon; what takes longer is cut off, and must bear that."""
        ...


_HELD_S = 1.0


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How much the worker does at once.

    max_running: tasks upstream. submit_pause: between two submissions. max_steps: steps under way side by side.
    idle: the longest sleep, for jobs that another process added. linger: how long a "not yet" waits for others
    to be written with. last_write: how long a step that was cancelled may still write what it knows. leases: how
    long a claim holds that is not renewed. limits: how long a step may take. renew_every: the pause between two
    renewals. patience: how long after an outage of the store others get to renew theirs.
    """

    max_running: int
    submit_pause: timedelta
    max_steps: int = 32
    idle: timedelta = timedelta(seconds=2)
    linger: timedelta = timedelta(milliseconds=250)
    last_write: timedelta = timedelta(seconds=5)
    leases: Mapping[JobState, timedelta] = field(default_factory=lambda: LEASES)
    limits: Mapping[JobState, timedelta] = field(default_factory=lambda: STEP_LIMITS)
    renew_every: timedelta = LEASE / 3
    patience: timedelta = LEASE
    write_backoff: Backoff = Backoff(first_s=0.5, cap_s=15)


class Worker:
    """Looks after all jobs until it is stopped. One task runs `run`; anyone may `wake` it."""

    def __init__(
        self,
        board: JobQueue,
        tools: StageContext,
        pace: WorkerConfig,
        background_services: Sequence[BackgroundService] = (),
    ) -> None:
        """companions: run as long as the worker does."""
        self._companions = background_services
        self._background_tasks: list[asyncio.Task[None]] = []
        self._board = board
        self._tools = tools
        self._pace = pace
        self._wake = asyncio.Event()
        self._stopping = False
        self._claiming = asyncio.Lock()
        self._under_way: dict[asyncio.Task[None], Job] = {}
        self._limits: dict[asyncio.Task[Any], asyncio.Timeout] = {}
        self._over = asyncio.Event()
        self._patient_until_s = -math.inf
        self._outbox = OutcomeWriter(
            board, tools.clock, tools.chance, linger=pace.linger, backoff=pace.write_backoff
        )

    def wake(self) -> None:
        """Something may be due now: look at once."""
        self._wake.set()
        for companion in self._companions:
            companion.wake()

    async def run(self) -> None:
        """Runs until `stop` is called, through outages of everything it works with."""
        async with asyncio.TaskGroup() as group:
            self._background_tasks = [group.create_task(companion.run()) for companion in self._companions]
            group.create_task(self._run())
            group.create_task(self._keep_leases())

    async def _run(self) -> None:
        failures = 0
        while not self._stopping:
            self._wake.clear()
            try:
                claimed = await self._claim()
                # What is due and can't be claimed is held, here or by somebody else; its end wakes us, mostly.
                sleep_s = 0.0 if claimed else await self._sleep_s() or _HELD_S
                failures = 0
            except Exception:  # whatever the store has; the jobs are safe in it
                log.exception("the store does not answer; trying again")
                self._be_patient()
                sleep_s = self._pace.write_backoff.pause_s(failures, chance=self._tools.chance())
                failures += 1
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(sleep_s):
                    await self._wake.wait()

    async def _keep_leases(self) -> None:
        """Renews what is held, through the grace of a stop too. What was lost is worked on no more."""
        failures, pause_s = 0, self._pace.renew_every.total_seconds()
        while not self._over.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._over.wait()
            try:
                await self._renew()
                failures, pause_s = 0, self._pace.renew_every.total_seconds()
            except Exception:  # whatever the store has; a lease that ran out is still ours until it is taken
                log.exception("the leases of %d jobs can't be renewed yet", len(self._under_way))
                self._be_patient()
                pause_s = self._pace.write_backoff.pause_s(failures, chance=self._tools.chance())
                failures += 1

    async def _renew(self) -> None:
        under_way = dict(self._under_way)
        if not under_way:
            return
        held = await self._board.renew(list(under_way.values()), self._tools.clock(), self._pace.leases)
        for task, job in under_way.items():
            limit = self._limits.get(task)
            # A create on its way is not cut off: its answer is worth having, if only in the log.
            if job.id in held or job.state is JobState.SUBMITTING or limit is None or limit.expired():
                continue
            log.warning("job %s: its lease was lost, its step for %s ends", job.id, job.state)
            limit.reschedule(asyncio.get_running_loop().time())

    def _be_patient(self) -> None:
        """The store was away, and with it every renewal: who lost a lease by that is not dead."""
        self._patient_until_s = asyncio.get_running_loop().time() + self._pace.patience.total_seconds()

    async def turn(self) -> int:
        """One round from claim to written outcome, for tests; how many jobs it touched."""
        claimed = await self._claim()
        while self._under_way:
            await asyncio.wait(self._under_way)
        return claimed

    async def stop(self, grace_s: float) -> None:
        """Claims nothing more; waits up to `grace_s` for steps under way; gives back what is left."""
        self._stopping = True
        self.wake()
        for companion in self._companions:
            companion.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await self._quiet()
        left = dict(self._under_way)
        for task in left:
            task.cancel()
        if left:
            log.info("stopped with %d steps under way; they go on at the next start", len(left))
            await asyncio.wait(left)
            with contextlib.suppress(Exception):  # best effort: the leases run out by themselves
                await self._board.release(list(left.values()))
        self._over.set()
        if self._background_tasks:
            _, late = await asyncio.wait(self._background_tasks, timeout=self._pace.last_write.total_seconds())
            for task in late:
                task.cancel()

    async def _quiet(self) -> None:
        """Waits until no claim and no step is under way."""
        async with self._claiming:
            pass
        if self._under_way:
            await asyncio.wait(self._under_way)

    async def _claim(self) -> int:
        """Takes what is due and starts its steps; how many."""
        async with self._claiming:
            # What is known but not yet written (the store is ill) goes first: claiming could take its lease.
            if self._stopping or self._outbox.stuck:
                return 0
            now, pace = self._tools.clock(), self._pace
            free = pace.max_steps - len(self._under_way)
            if free <= 0:
                return 0
            expired = asyncio.get_running_loop().time() >= self._patient_until_s
            held = self._under_way.values()
            due = await self._board.claim_due(now, free, pace.leases, held, expired=expired)
            # Started before the store is asked again: should that fail, nobody else knows of these.
            for job in due:
                self._start(job)
            if len(due) == free or self._stopping:
                return len(due)
            lease = pace.leases[JobState.SUBMITTING]
            queued = await self._board.claim_queued(now, pace.max_running, pace.submit_pause, lease)
            if queued is None:
                return len(due)
            self._start(queued)
            return len(due) + 1

    def _start(self, job: Job) -> None:
        task = asyncio.create_task(self._look_after(job), name=f"job {job.id}")
        self._under_way[task] = job
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        job = self._under_way.pop(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("job %s: what follows its step broke off", job.id, exc_info=error)
        self.wake()

    async def _sleep_s(self) -> float:
        idle_s = self._pace.idle.total_seconds()
        if self._outbox.stuck or len(self._under_way) >= self._pace.max_steps:
            return idle_s  # a finished step wakes the loop
        now = self._tools.clock()
        due_at = await self._board.next_due_at(now, self._pace.max_running)
        return idle_s if due_at is None else min(idle_s, max(0.0, (due_at - now).total_seconds()))

    async def _look_after(self, job: Job) -> None:
        outcome = await self._outcome(job)
        # The outcome may be the only trace of something paid for: a cancelled task still writes it.
        write = asyncio.ensure_future(self._outbox.write(job, outcome))
        try:
            kept = await asyncio.shield(write)
        except asyncio.CancelledError:
            await asyncio.wait([write], timeout=self._pace.last_write.total_seconds())
            write.cancel()
            raise
        if kept and isinstance(outcome, MoveTo) and outcome.to is JobState.RUNNING:
            await self._show_running(replace(job, state=outcome.to, submitted_at=outcome.facts.submitted_at))

    async def _outcome(self, job: Job) -> Outcome:
        """Runs the step of the job's state within its time; every way it can go wrong has an outcome."""
        step = STEPS[job.state]
        if job.claims > MAX_CLAIMS and job.state is not JobState.SUBMITTING:  # that step has its own answer
            log.error("job %s was claimed %d times without an outcome", job.id, job.claims)
            step = give_up
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a coroutine runs in one
        try:
            async with asyncio.timeout(self._limit_s(job.state)) as self._limits[task]:
                return await step(job, self._tools)
        except Exception as error:  # a fault of ours or of the store; decided by what may have happened outside
            slow = isinstance(error, TimeoutError) and job.state is not JobState.SUBMITTING
            level = logging.WARNING if slow else logging.ERROR
            log.log(level, "job %s: the step for %s broke off", job.id, job.state, exc_info=error)
        finally:
            self._limits.pop(task, None)
        if job.state is JobState.SUBMITTING:
            return Fail(FailureReason.OUTCOME_UNKNOWN, FailureDetail(FailureCause.BROKEN_OFF))
        if self._tools.clock() - job.state_since > self._tools.policy.task_lifetime:
            return _give_up(job)
        return self._tools.later(self._tools.policy.upstream_backoff, job.attempts)

    def _limit_s(self, state: JobState) -> float:
        return self._pace.limits[state].total_seconds()

    async def _show_running(self, job: Job) -> None:
        """The status message follows the state; a lost edit is made good when the job ends."""
        if job.status_message_id is None:
            return
        try:
            async with asyncio.timeout(self._limit_s(job.state)):
                await self._tools.messenger.update_status(job)
        except (DeliveryError, TimeoutError) as error:
            log.info("job %s: its status message is behind: %s", job.id, error)


def _give_up(job: Job) -> Outcome:
    if job.state in ENDED:
        return Reschedule(None)
    return Fail(FailureReason.ABANDONED, FailureDetail(FailureCause.FAILED_REPEATEDLY))
