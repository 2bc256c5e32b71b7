"""A machine of which only the outside is made up, and the ways in which tests let it run."""

import asyncio
from collections.abc import AsyncIterator, Sequence
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
from bot.store.jobs.approvals import ApprovalStore
from bot.store.jobs.job_store import JobStore
from bot.worker.loop import LEASES, BackgroundService, Worker, WorkerConfig
from bot.worker.stages import Policy, StageContext
from tests.approval_fakes import FakeModerators
from tests.fakes import FRAME, FakeClock, FakeMessenger, FakeProvider, Faulty, WatchedBoard

ROOMY = OperatorDefaults(tier=LimitOverrides(videos=1000, running=1000, pause_s=0))
DOWN = StoreError("the disk is full")
LOOK_S = 5
PACE = WorkerConfig(
    max_running=5,
    submit_pause=timedelta(0),
    idle=timedelta(hours=1),
    linger=timedelta(0),
    last_write=timedelta(seconds=10),
    write_backoff=Backoff(first_s=0.001, cap_s=0.001),
)
SHORT_LIMITS = dict.fromkeys(JobState, timedelta(milliseconds=300))
"""So that a step that hangs is ended soon, and none that does not."""


@dataclass
class OperatorState:
    """A machine of which only the outside is made up: the store is real."""

    store: JobStore
    folder: Path
    provider: FakeProvider = field(default_factory=FakeProvider)
    messenger: FakeMessenger = field(default_factory=FakeMessenger)
    moderators: FakeModerators = field(default_factory=FakeModerators)
    clock: FakeClock = field(default_factory=FakeClock)

    def __post_init__(self) -> None:
        self.board = WatchedBoard(self.store)

    def worker(
        self,
        *,
        board: WatchedBoard | None = None,
        background_services: Sequence[BackgroundService] = (),
        since: datetime | None = None,
        **pace: Any,
    ) -> Worker:
        board = board or self.board
        policy = Policy(timedelta(minutes=30), timedelta(hours=24), PollSchedule(min_s=LOOK_S, max_s=30))
        tools = StageContext(
            self.provider,
            self.messenger,
            board,
            policy,
            self.clock,
            self.folder,
            chance=lambda: 0.0,
            since=since,
            moderators=self.moderators,
            reviews=ApprovalStore(self.store._db),
        )
        return Worker(board, tools, replace(PACE, **pace), background_services)

    async def order(self, *, user_id: int = 1) -> Job:
        prompt = f"member {user_id}"
        new = NewJob(new_job_id(), 10, 100, user_id, Order(prompt))
        self.clock.move(microseconds=1)
        return await self.store.add(new, FRAME, Requester(10, 100, user_id), self.clock())

    async def now(self, job: Job) -> Job:
        found = await self.store.get(job.id)
        assert found is not None
        return found

    async def state(self, job: Job) -> JobState:
        return (await self.now(job)).state

    async def counted(self, user_id: int = 1) -> int:
        return len((await self.store.allowance(Requester(10, 100, user_id), self.clock())).usage.counted_at)

    async def until(self, job: Job, *states: JobState) -> Job:
        """Waits for a running worker to bring the job there."""
        while (found := await self.now(job)).state not in states:
            await asyncio.sleep(0)
        return found

    async def running(self, worker: Worker, *, user_id: int = 1) -> Job:
        """A new job, brought to running by the worker."""
        job = await self.order(user_id=user_id)
        await settle(worker)
        assert await self.state(job) is JobState.RUNNING
        return job

    async def waiting(self, worker: Worker) -> Job:
        """A new job, greeted by the worker: it waits to be handed in."""
        job = await self.order()
        await worker.turn()
        return job

    async def finished(self, worker: Worker) -> Job:
        """A running job whose task is over; now it is due to be looked at."""
        job = await self.running(worker)
        self.provider.end_all()
        self.pass_time(seconds=LOOK_S)
        return job

    async def lose_workers(self, times: int) -> None:
        """Each of so many workers claims the job that is due, and dies."""
        for _ in range(times):
            assert await self.store.claim_due(self.clock(), 1, LEASES)
            self.pass_time(minutes=1)

    def pass_time(self, **by: float) -> None:
        self.clock.move(**by)


async def settle(worker: Worker) -> None:
    """Lets the worker do all that is to be done at this moment of the injected clock."""
    for _ in range(100):
        if not await worker.turn():
            return
    raise AssertionError("the worker never comes to rest")


async def hanging(worker: Worker, place: Faulty, method: str) -> tuple[asyncio.Event, asyncio.Task[int]]:
    """A turn of the worker that hangs in that call, and the event that lets it go on."""
    event = place.hang(method)
    turn = asyncio.create_task(worker.turn())
    await place.called(method)
    return event, turn


@asynccontextmanager
async def loop_of(worker: Worker) -> AsyncIterator[None]:
    """The worker's loop, running beside the test."""
    task = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        await worker.stop(grace_s=10)
        await task


async def pass_rounds(house: OperatorState) -> None:
    """Gives the loop time for some rounds: writers wait in a fair line, so it had its turn among these."""
    for _ in range(10):
        await house.store.release([])


async def come_to_rest(house: OperatorState) -> None:
    """Returns once the loop asks the store for nothing any more."""
    for _ in range(50):
        before = len(house.board.calls)
        await pass_rounds(house)
        if len(house.board.calls) == before:
            return
    raise AssertionError("the loop never rests")
