"""Whatever two providers answer and whenever workers die, no job ever has two tasks, and every sum is right."""

import asyncio
import contextlib
import shutil
from collections import defaultdict
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from bot.domain.errors import (
    ContentRefused,
    OutcomeUnknown,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamRefused,
    UpstreamUnreached,
)
from bot.domain.jobs import ENDED, Frame, Job, JobState, Order
from bot.providers.base import Task
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.schema import jobs
from tests.fakes import FakeProvider
from tests.harness import ROOMY, WorkerHarness
from tests.providers_asked import DASHSCOPE, TWO_PROVIDERS, VTRIX, takes
from tests.store.conftest import delete_all_rows
from tests.store.factories import DAY, NOW
from tests.store.money.sums import wrong_sums

pytestmark = pytest.mark.full

PROVIDERS = (takes(VTRIX, 2, usd_per_day="2"), takes(DASHSCOPE, 1))
JOBS = 4


class Answer(StrEnum):
    """What a provider does with a create."""

    ACCEPTS = "accepts"
    REFUSES = "refuses"
    REJECTS = "rejects the content"
    CLOSED = "is closed"
    BUSY = "is busy"
    UNREACHED = "is not reached"
    LOST = "makes no task, and its answer is lost"
    LOST_WITH_TASK = "makes a task, and its answer is lost"


ERRORS = {
    Answer.REFUSES: UpstreamRefused("not this", code="400"),
    Answer.REJECTS: ContentRefused("inappropriate", code="DataInspectionFailed"),
    Answer.CLOSED: UpstreamClosed("no balance", status=403),
    Answer.BUSY: UpstreamBusy("slow down", retry_after_s=None),
    Answer.UNREACHED: UpstreamUnreached("connection refused"),
    Answer.LOST: OutcomeUnknown("the connection broke"),
    Answer.LOST_WITH_TASK: OutcomeUnknown("the connection broke"),
}
MAY_CHANGE = {Answer.REFUSES, Answer.CLOSED, Answer.BUSY, Answer.UNREACHED}
"""After these it is certain that there is no task."""


class Died(BaseException):
    """The process ends here: nothing catches this."""


class Death(NamedTuple):
    """At which call a worker dies, before or after what it does."""

    call: str
    after: bool


STORE_CALLS = ("claim_queued", "frame", "gate", "apply", "open_gate")
DEATHS = [Death(call, after) for call in (*STORE_CALLS, "submit") for after in (False, True)]


class Step(NamedTuple):
    """What both providers answer, when the worker dies, and how long nothing happens then."""

    first: Answer
    second: Answer
    death: Death | None
    minutes: int


STEPS = st.lists(
    st.builds(
        Step,
        st.sampled_from(Answer),
        st.sampled_from(Answer),
        st.one_of(st.none(), st.sampled_from(DEATHS)),
        st.sampled_from([0, 3, 20, 1440]),
    ),
    min_size=1,
    max_size=7,
)


class Scripted(FakeProvider):
    """answer: to all creates. creates: the answers to each job's, by its id. made: whose tasks exist."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = Answer.ACCEPTS
        self.creates: defaultdict[str, list[Answer]] = defaultdict(list)
        self.made: list[str] = []

    async def submit(self, order: Order, frame: Frame, *, request_id: str) -> Task:
        answer, task = self.answer, None
        async with self._call("create"):
            self.creates[request_id].append(answer)
            if answer in {Answer.ACCEPTS, Answer.LOST_WITH_TASK}:
                self.made.append(request_id)
                task = await super().submit(order, frame, request_id=request_id)
        if task is None or answer is not Answer.ACCEPTS:
            raise ERRORS[answer]
        return task


class History:
    """Some orders, and all that happens to them."""

    def __init__(self, store: JobStore, workdir: Path) -> None:
        self.first, self.second = Scripted(), Scripted()
        self.harness = WorkerHarness(store, workdir, provider=self.first, second=self.second)

    async def run(self, steps: list[Step]) -> None:
        for number in range(JOBS):
            await self.harness.order(user_id=number % 2)
        for step in steps:
            self.first.answer, self.second.answer = step.first, step.second
            await self.work(step.death)
            if step.minutes:
                await self.wait(minutes=step.minutes)
        for provider in (self.first, self.second):
            provider.answer = Answer.ACCEPTS
        for _ in range(JOBS + 2):  # as many as may wait for a slot, until the last is delivered
            await self.work(None)
            self.first.finish_all()
            self.second.finish_all()
            await self.wait(days=1)
        await self.check(is_over=True)

    async def wait(self, **by: float) -> None:
        """Longer than any lease, which on a server go by its own clock."""
        self.harness.advance_clock(**by)
        held = update(jobs).where(jobs.c.lease_until.is_not(None))
        async with self.harness.store._db.write() as connection:
            await connection.execute(held.values(lease_until=NOW - DAY))

    async def work(self, death: Death | None) -> None:
        """A new process works until nothing is due, or until it dies."""
        worker = self.harness.worker(providers=PROVIDERS)
        faults = []
        if death is not None:
            name = "create" if death.call == "submit" else death.call
            fakes = (self.first, self.second) if death.call == "submit" else (self.harness.worker_store,)
            for fake in fakes:
                fake.fail(name, Died(), response_lost=death.after)  # type: ignore[arg-type]
                faults.append(fake._faults[name])
        claimed = 1
        while claimed and all(faults):
            with contextlib.suppress(Died):
                claimed = await worker.run_once()
            while worker._in_progress:  # of a run that died
                await asyncio.wait(worker._in_progress)
        for queued in faults:
            queued.clear()
        await self.check()

    async def check(self, *, is_over: bool = False) -> None:
        made = [*self.first.made, *self.second.made]
        assert len(set(made)) == len(made), "a job has two tasks"
        for job_id in self.first.creates.keys() | self.second.creates.keys():
            for provider in (self.first, self.second):
                refusals = [it for it in provider.creates[job_id] if it is Answer.REFUSES]
                assert len(refusals) <= 1, "who refused a job was asked again"
            uncertain = [
                answer
                for provider in (self.first, self.second)
                for answer in provider.creates[job_id]
                if answer not in MAY_CHANGE
            ]
            assert len(uncertain) <= 1, "a job that may have a task was submitted again"
        async with self.harness.store._db.read() as connection:
            assert await wrong_sums(connection) == []
        for job in await self.all_jobs():
            if job.upstream_id is not None:
                provider = self.first if job.provider is VTRIX else self.second
                assert job.id in provider.made
            elif job.state is JobState.QUEUED:
                assert job.id not in made
            if is_over:
                assert job.state in ENDED, job

    async def all_jobs(self) -> list[Job]:
        return [job for user_id in range(2) for job in await self.harness.store.recent(10, user_id, limit=JOBS)]


async def run_history(url: str, workdir: Path, steps: list[Step]) -> None:
    async with Database.open(url) as database:
        store = JobStore(database, replace(ROOMY, catalog=TWO_PROVIDERS))
        await History(store, workdir).run(steps)


@settings(max_examples=25)
@given(steps=STEPS)
def test_no_job_ever_has_two_tasks(migrated_file: Path, steps: list[Step]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "zoetrope.db"
        shutil.copy(migrated_file, path)
        asyncio.run(run_history(f"sqlite:///{path}", Path(folder), steps))


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(steps=STEPS)
def test_no_job_ever_has_two_tasks_on_postgresql(postgres_url: str, tmp_path: Path, steps: list[Step]) -> None:
    asyncio.run(delete_all_rows(postgres_url))
    asyncio.run(run_history(postgres_url, tmp_path, steps))
