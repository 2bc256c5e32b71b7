"""Random histories of many jobs, with workers that die and leases that are lost: the invariants always hold."""

import asyncio
import random
import shutil
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.errors import QuotaRefused
from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import ACTIVE, ENDED, TRANSITIONS, CancelResult, FailureReason, Job, JobState, may_become
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Outcome, PauseSubmissions, Reschedule
from bot.domain.policy import Requester
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from tests.providers_asked import CATALOG, vtrix
from tests.store.factories import DETAIL, FRAME, LEASES, NOW, SECOND, new_job, requester_of

pytestmark = pytest.mark.full

SLOTS = 3
MEMBERS = 3
VIDEOS, RUNNING = 6, 4
RULES = OperatorDefaults(
    catalog=CATALOG,
    keeps_pictures=False,
    limits=LimitOverrides(videos_per_window=VIDEOS, max_active=RUNNING, cooldown_s=0),
)


@dataclass
class History:
    """A random history in one database. held: claimed jobs, some with lost leases. seen: each job as last read."""

    store: JobStore
    rng: random.Random
    now_s: int = 0
    held: list[Job] = field(default_factory=list)
    seen: dict[str, Job] = field(default_factory=dict)

    @property
    def now(self) -> datetime:
        return NOW + self.now_s * SECOND

    async def step(self) -> None:
        now = self.now
        match self.rng.choice(
            ("add", "due", "due", "queued", "queued", "write", "write", "batch", "cancel", "advance clock")
        ):
            case "add":
                await self.add_one()
            case "due":
                self.held += await self.store.claim_due(now, 3, LEASES)
            case "queued":
                job = await self.store.claim_queued(now, vtrix(SLOTS, timedelta(seconds=1)), timedelta(minutes=1))
                self.held += [job] if job else []
            case "write" if self.held:
                job = self.rng.choice(self.held)
                await self.store.apply(job, self.outcome_of(job), now)
            case "batch" if self.held:
                batch = [
                    (job, Reschedule(now + SECOND)) for job in {job.id: job for job in self.held[-3:]}.values()
                ]
                await self.store.reschedule(batch, now)
            case "cancel" if self.seen:
                job_id = self.rng.choice(sorted(self.seen))
                result = await self.store.cancel(job_id, now, even_if_paid=True)
                assert (result is CancelResult.ENDED) == (self.seen[job_id].state in ENDED)
            case "advance clock":
                self.now_s += self.rng.choice((1, 5, 61))
        before = self.seen
        await self.check()
        for job_id, job in before.items():
            state = self.seen[job_id].state
            assert state is job.state or may_become(job.state, state), "one allowed transition at a time"

    async def add_one(self) -> None:
        new = new_job(user_id=self.rng.randrange(MEMBERS))
        try:
            job = await self.store.add(new, FRAME, requester_of(new), self.now)
        except QuotaRefused:
            usage = (await self.store.allowance(requester_of(new), self.now)).usage
            assert usage.running >= RUNNING or len(usage.charged_at) >= VIDEOS
        else:
            self.seen[job.id] = job

    def outcome_of(self, job: Job) -> Outcome:
        now = self.now
        outcomes: list[Outcome] = [
            MoveTo(to, JobUpdate(upstream_id="task-1"))
            for to in sorted(TRANSITIONS[job.state] - {JobState.SUBMITTING, JobState.FAILED})
            if job.state not in ENDED
        ]
        if may_become(job.state, JobState.FAILED):
            outcomes.append(Fail(FailureReason.UPSTREAM_FAILED, DETAIL))
        if job.state is JobState.SUBMITTING:
            outcomes.append(PauseSubmissions(now + SECOND, "rate limit"))
        waiting = job.state in ENDED or (job.state is JobState.QUEUED and not job.cancel_requested)
        outcomes.append(Reschedule(None if waiting else now + SECOND, attempt=True))
        return self.rng.choice(outcomes)

    async def check(self) -> None:
        found: dict[str, Job] = {}
        for user_id in range(MEMBERS):
            for job in await self.store.recent(10, user_id, 1000):
                found[job.id] = job
        assert set(found) == set(self.seen), "nothing accepted is lost"
        for job_id, job in found.items():
            before = self.seen[job_id]
            assert before.state not in ENDED or job.state is before.state, "an ended job keeps its state"
            assert not (job.state is JobState.FAILED and job.charged), "nobody is charged for a failure"
            assert job.charged or job.state in {JobState.FAILED, JobState.CANCELLED}
            assert not (job.state is JobState.QUEUED and job.cancel_requested), "it would wait for ever"
            if job.state is not before.state:
                frame = await self.store.frame(job_id)
                assert (frame is not None) == (job.state in {JobState.QUEUED, JobState.SUBMITTING})
        states = [job.state for job in found.values()]
        assert states.count(JobState.SUBMITTING) + states.count(JobState.RUNNING) <= SLOTS
        user_id = self.rng.randrange(MEMBERS)
        usage = (await self.store.allowance(Requester(10, 100, user_id), self.now)).usage
        theirs = [job for job in found.values() if job.user_id == user_id]
        assert len(usage.charged_at) == sum(job.charged for job in theirs) <= VIDEOS
        assert usage.running == sum(job.state in ACTIVE for job in theirs) <= RUNNING
        self.seen = found

    async def end_all_jobs(self) -> None:
        """Ends all jobs as a worker without failures does, whatever happened before."""
        for _ in range(200):
            self.now_s += 61
            now = self.now
            if await self.store.next_due_at(now, vtrix(SLOTS)) is None:
                break
            for job in await self.store.claim_due(now, 100, LEASES):
                await self.store.apply(job, _successful_outcome(job), now)
            if job_or_none := await self.store.claim_queued(now, vtrix(SLOTS), timedelta(minutes=1)):
                await self.store.apply(job_or_none, _successful_outcome(job_or_none), now)
        await self.check()
        assert all(job.state in ENDED for job in self.seen.values())


def _successful_outcome(job: Job) -> Outcome:
    match job.state:
        case JobState.SUBMITTING:
            return MoveTo(JobState.RUNNING, JobUpdate(upstream_id="task-1"))
        case JobState.RUNNING:
            return MoveTo(JobState.DELIVERING)
        case JobState.DELIVERING:
            return MoveTo(JobState.DELIVERED)
        case _:
            return Reschedule(None)


@settings(max_examples=6, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_the_invariants_hold_in_any_history(migrated_file: Path, seed: int) -> None:
    async def run(path: Path) -> None:
        async with Database.open(f"sqlite:///{path}") as database:
            history = History(JobStore(database, RULES), random.Random(seed))  # noqa: S311 - no secret
            for _ in range(50):
                await history.step()
            await history.end_all_jobs()

    with TemporaryDirectory() as folder:
        path = Path(folder) / "zoetrope.db"
        shutil.copy(migrated_file, path)
        asyncio.run(run(path))
