"""A worker with a real store and fakes for everything outside, and ways for tests to run it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from bot.domain.errors import StoreError
from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import Job, JobState, NewJob, Order, new_job_id
from bot.domain.policy import Requester
from bot.domain.schedule import Backoff, PollSchedule
from bot.operations.clock import uptime_s
from bot.operations.observer import Observer
from bot.store.jobs.approvals import ApprovalStore
from bot.store.jobs.job_store import JobStore
from bot.worker.background_service import BackgroundService
from bot.worker.config import LEASE_DURATIONS, WorkerConfig
from bot.worker.loop import Worker
from bot.worker.stages.context import StageConfig, StageContext
from tests.fake_messengers import FakeApprovalMessenger, FakeMessenger, status_cards
from tests.fakes import FRAME, FakeClock, FakeProvider, Faulty, FaultyJobStore
from tests.providers_asked import CATALOG, DASHSCOPE, VTRIX, vtrix

ROOMY = OperatorDefaults(
    catalog=CATALOG, limits=LimitOverrides(videos_per_window=1000, max_active=1000, cooldown_s=0)
)
STORE_DOWN = StoreError("the disk is full")
POLL_INTERVAL_S = 5
WORKER_CONFIG = WorkerConfig(
    vtrix(5),
    max_idle=timedelta(hours=1),
    batch_delay=timedelta(0),
    poll_interval=timedelta(0),
    final_write_timeout=timedelta(seconds=10),
    write_backoff=Backoff(first_s=0.001, cap_s=0.001),
)
SHORT_TIMEOUTS = dict.fromkeys(JobState, timedelta(milliseconds=300))
"""End a stage that hangs at once."""


@dataclass
class WorkerHarness:
    """store: for the test. worker_store: the same database as the worker sees it, with recorded calls.

    second: another provider, which is asked only where a test's worker has it in its `providers`.
    """

    store: JobStore
    workdir: Path
    provider: FakeProvider = field(default_factory=FakeProvider)
    second: FakeProvider = field(default_factory=FakeProvider)
    messenger: FakeMessenger = field(default_factory=FakeMessenger)
    approval_messenger: FakeApprovalMessenger = field(default_factory=FakeApprovalMessenger)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.worker_store = FaultyJobStore(self.store)

    def worker(
        self,
        *,
        store: FaultyJobStore | None = None,
        background_services: Sequence[BackgroundService] = (),
        started_at: datetime | None = None,
        observer: Observer | None = None,
        steady_s: Callable[[], float] = uptime_s,
        **config: Any,
    ) -> Worker:
        store = store or self.worker_store
        stage_config = StageConfig(
            timedelta(minutes=30), timedelta(hours=24), PollSchedule(POLL_INTERVAL_S, POLL_INTERVAL_S)
        )
        worker_config = replace(WORKER_CONFIG, **config)
        context = StageContext(
            {VTRIX: self.provider, DASHSCOPE: self.second},
            self.messenger,
            status_cards(self.store, self.messenger, self.clock),
            store,
            stage_config,
            self.clock,
            self.workdir,
            jitter=lambda: 0.0,
            provider_limits=worker_config.providers,
            started_at=started_at,
            approval_messenger=self.approval_messenger,
            approvals=ApprovalStore(self.store._db),
        )
        return Worker(store, context, worker_config, background_services, observer, steady_s)

    async def order(self, *, user_id: int = 1) -> Job:
        prompt = f"member {user_id}"
        new = NewJob(new_job_id(), 10, 100, user_id, Order(prompt))
        self.clock.move(microseconds=1)
        return await self.store.add(new, FRAME, Requester(10, 100, user_id), self.clock())

    async def reload(self, job: Job) -> Job:
        current = await self.store.get(job.id)
        assert current is not None
        return current

    async def state(self, job: Job) -> JobState:
        return (await self.reload(job)).state

    async def charged_count(self, user_id: int = 1) -> int:
        return len((await self.store.allowance(Requester(10, 100, user_id), self.clock())).usage.charged_at)

    async def wait_for_state(self, job: Job, *states: JobState) -> Job:
        """Waits until a running worker has moved the job to one of these states."""
        while (current := await self.reload(job)).state not in states:
            await asyncio.sleep(0)
        return current

    async def running_job(self, worker: Worker, *, user_id: int = 1) -> Job:
        """A new job that the worker has submitted."""
        job = await self.order(user_id=user_id)
        await run_until_idle(worker)
        assert await self.state(job) is JobState.RUNNING
        return job

    async def queued_job(self, worker: Worker) -> Job:
        """A new job with its status card, waiting to be submitted."""
        job = await self.order()
        await worker.run_once()
        return job

    async def finished_job(self, worker: Worker) -> Job:
        """A running job whose task has finished; it is due to be polled."""
        job = await self.running_job(worker)
        self.provider.finish_all()
        self.advance_clock(seconds=POLL_INTERVAL_S)
        return job

    async def claim_and_crash(self, times: int) -> None:
        """Claims the due job that many times, as by workers that die before writing an outcome."""
        for _ in range(times):
            assert await self.store.claim_due(self.clock(), 1, LEASE_DURATIONS)
            self.advance_clock(minutes=1)

    def advance_clock(self, **by: float) -> None:
        self.clock.move(**by)


async def run_until_idle(worker: Worker) -> None:
    """Runs the worker until nothing is due at this moment of the injected clock."""
    for _ in range(100):
        if not await worker.run_once():
            return
    raise AssertionError("the worker never becomes idle")


async def hang_call(worker: Worker, fake: Faulty, method: str) -> tuple[asyncio.Event, asyncio.Task[int]]:
    """Runs the worker once until it hangs in that call; returns the event that ends the hang, and the run."""
    event = fake.hang(method)
    run = asyncio.create_task(worker.run_once())
    await fake.wait_for_call(method)
    return event, run


@asynccontextmanager
async def running_loop(worker: Worker) -> AsyncIterator[None]:
    """Runs the worker's loop in the background."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        await worker.stop(grace_s=10)
        await task


async def let_loop_run(harness: WorkerHarness) -> None:
    """Gives the loop time for some rounds: SQLite writers queue in order, so it gets its turn between these."""
    for _ in range(10):
        await harness.store.release([])


async def wait_until_quiet(harness: WorkerHarness) -> None:
    """Returns once the loop stops calling the store."""
    for _ in range(50):
        before = len(harness.worker_store.calls)
        await let_loop_run(harness)
        if len(harness.worker_store.calls) == before:
            return
    raise AssertionError("the loop never stops calling the store")
