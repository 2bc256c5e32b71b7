"""An invented bot with a past and a present, written through the bot's own store: for tests and for pictures.

What is random is seeded. All names, ids, prompts and answers are made up.
"""

import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from sqlalchemy import update

from bot.domain.guilds import Budget, LimitOverrides, OperatorDefaults
from bot.domain.jobs import (
    FailureCause,
    FailureDetail,
    FailureReason,
    Frame,
    Job,
    JobState,
    NewJob,
    Order,
    ProviderName,
    RejectedPart,
    Resolution,
    new_job_id,
)
from bot.domain.models import Catalog
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Outcome, Reschedule
from bot.domain.policy import Requester
from bot.domain.provider_limits import ProviderLimits
from bot.domain.schedule import PollSchedule
from bot.domain.task_durations import TaskDuration
from bot.store.engine import Database
from bot.store.guilds.membership import Description, MembershipStore
from bot.store.jobs import submission_gate
from bot.store.jobs.due import DueFor
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.rows import RELEASED
from bot.store.schema import jobs
from bot.web.operator_page.setup import page_routes
from bot.web.server import serving
from tests.providers_asked import DASHSCOPE, P480, P720, VTRIX

TOKEN = "correct-horse-battery-staple"
NAMES = {
    11: "Lighthouse Keepers",
    12: "Les Amis de l'Écran",
    13: "<b>Bold & Co</b>",
    14: "東京アニメ部",
}
PROMPTS = (
    "the beam sweeps over the waves",
    "steam rises from the cup",
    "a fox runs through snow",
    "the boat drifts off to the left",
)
HOSTILE_PROMPT = "</pre><script>alert('x')</script> \u202egnp.exe <img src=x onerror=alert(1)>"
FRAME = Frame(b"\xff\xd8\xff" + bytes(84_000), "image/jpeg")
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
LEASES = dict.fromkeys(JobState, MINUTE)
KINDS = tuple(kind._replace(provider=provider) for provider in (VTRIX, DASHSCOPE) for kind in (P480, P720))
RULES = OperatorDefaults(
    catalog=Catalog(
        providers=(VTRIX, DASHSCOPE),
        prices={
            kind: Decimal("0.07") if kind.resolution is Resolution.P480 else Decimal("0.14") for kind in KINDS
        },
    ),
    limits=LimitOverrides(videos_per_window=100_000, max_active=100_000, cooldown_s=0),
    budget=Budget(Decimal(3), Decimal(60)),
    max_queued=200,
    provider_budgets={DASHSCOPE: Budget(Decimal("0.80"), None)},
)
LIMITS = (
    ProviderLimits(VTRIX, 8),
    ProviderLimits(DASHSCOPE, 4, budget=RULES.provider_budgets[DASHSCOPE]),
)
"""What the page is told of; the past is written without."""


def schedule() -> PollSchedule:
    """What a bot has learned from tasks that took half a minute to a minute and a half."""
    learned = PollSchedule(3, 15)
    chance = random.Random(5)  # noqa: S311 - chance, no secret
    for kind in KINDS:
        took = [chance.uniform(35, 80) for _ in range(60)]
        learned.learn(kind, [TaskDuration(seconds - 2, seconds) for seconds in took])
    return learned


@dataclass
class Invented:
    """Writes jobs the way the worker would have; none runs. now: the present."""

    database: Database
    now: datetime
    chance: random.Random = field(default_factory=lambda: random.Random(11))  # noqa: S311 - as above

    def __post_init__(self) -> None:
        self.store = JobStore(self.database, replace(RULES, budget=Budget(), provider_budgets={}))

    async def order(self, at: datetime, *, guild_id: int = 11, prompt: str | None = None) -> Job:
        """An order that waits for its status card."""
        resolution = self.chance.choice((Resolution.P480, Resolution.P720, Resolution.P720))
        order = Order(prompt or self.chance.choice(PROMPTS), resolution=resolution)
        user_id = 400_000_000_000_000_000 + self.chance.randrange(40)
        new = NewJob(new_job_id(), guild_id, guild_id * 10, user_id, order)
        return await self.store.add(new, FRAME, Requester(guild_id, guild_id * 10, user_id), at)

    async def queued(self, at: datetime, **order: object) -> Job:
        """One that waits for a slot."""
        job = await self.order(at, **order)  # type: ignore[arg-type]  # passed on
        await self.step(job.id, Reschedule(None), at)
        return job

    async def running(self, at: datetime, provider: ProviderName = VTRIX, **order: object) -> Job:
        """One whose task runs since then. No other may wait for a slot."""
        job = await self.queued(at, **order)
        unlimited = (ProviderLimits(provider, 1000, timedelta(0)),)
        submitting = await self.store.claim_queued(at, unlimited, MINUTE)
        assert submitting is not None
        assert submitting.id == job.id
        task = JobUpdate(upstream_id=f"task-{job.id}", submitted_at=at)
        assert await self.store.apply(submitting, MoveTo(JobState.RUNNING, task), at)
        return job

    async def failed(self, at: datetime, reason: FailureReason, detail: FailureDetail, **order: object) -> Job:
        """One whose task failed."""
        job = await self.running(at - MINUTE, **order)  # type: ignore[arg-type]  # passed on
        response = {"task_id": f"task-{job.id}", "status": "FAILED", "message": detail.quote or "no reason"}
        await self.step(job.id, Reschedule(at, JobUpdate(seen_running_at=at, upstream_response=response)), at)
        await self.step(job.id, Fail(reason, detail), at)
        return job

    async def delivered(self, at: datetime, provider: ProviderName = VTRIX, **order: object) -> Job:
        """One that is posted."""
        job = await self.running(at, provider, **order)
        done = at + timedelta(seconds=self.chance.uniform(35, 80))
        cost = Decimal("0.06") if job.order.resolution is Resolution.P480 else Decimal("0.15")
        response = {"task_id": f"task-{job.id}", "status": "SUCCEEDED", "usage": {"video_count": 1, "duration": 5}}
        update = JobUpdate(cost_usd=cost, result_url="https://videos.example/v.mp4", upstream_response=response)
        await self.step(job.id, MoveTo(JobState.DELIVERING, update), done)
        posted = JobUpdate(result_message_id=1_300_000_000_000_000_000 + self.chance.randrange(10**6))
        await self.step(job.id, MoveTo(JobState.DELIVERED, posted), done + 5 * SECOND)
        return job

    async def step(self, job_id: str, outcome: Outcome, at: datetime) -> None:
        """What a stage of the job came to."""
        claimed = await self.store.claim_due(at, 1000, LEASES)
        others = [job.id for job in claimed if job.id != job_id]
        async with self.database.write() as connection:  # as they were: a release counts as an attempt
            await connection.execute(update(jobs).where(jobs.c.id.in_(others)).values(RELEASED))
        [job] = [job for job in claimed if job.id == job_id]
        assert await self.store.apply(job, outcome, at)

    async def past(self, days: int) -> None:
        """Days of one bot, busier at weekends and towards the end, and its failures."""
        for age in range(days, 0, -1):
            day = self.now - timedelta(days=age)
            count = round((4 + 6 * (days - age) / days) * self.chance.uniform(0.5, 1.3))
            for hours in sorted(self.chance.uniform(0, 23) for _ in range(count)):
                provider = self.chance.choice((VTRIX, VTRIX, DASHSCOPE))
                await self.delivered(
                    day + timedelta(hours=hours), provider, guild_id=self.chance.choice([11, 12, 14])
                )
        for minutes, (reason, detail) in enumerate(FAILURES):
            at = self.now - timedelta(minutes=7 + 31 * (len(FAILURES) - minutes))
            await self.failed(at, reason, detail, guild_id=[11, 12, 13, 14][minutes % 4], prompt=HOSTILE_PROMPT)

    async def present(self) -> None:
        """What is in progress: running tasks, some of them late, a queue, and a closed gate."""
        for seconds, provider in (
            (400, VTRIX),
            (260, DASHSCOPE),
            (70, VTRIX),
            (31, VTRIX),
            (24, DASHSCOPE),
            (9, VTRIX),
        ):
            at = self.now - timedelta(seconds=seconds)
            job = await self.running(at, provider, guild_id=self.chance.choice([11, 12, 13, 14]))
            await self.step(
                job.id, Reschedule(self.now, JobUpdate(progress=0.4, seen_running_at=self.now)), self.now
            )
        for seconds in (22, 20, 14, 11, 8, 5, 3):
            at = self.now - timedelta(seconds=seconds)
            await self.queued(at, guild_id=self.chance.choice([11, 12, 13, 14]))
        await self.order(self.now - SECOND, guild_id=14)
        async with self.database.write() as connection:
            reason = "HTTP 429: <too many> requests, try later"
            await submission_gate.close(connection, DASHSCOPE, self.now + 4 * MINUTE, reason, self.now)
        await self.store.claim_due(self.now, 3, LEASES, kinds=[DueFor.POLL])


FAILURES = (
    (FailureReason.TIMED_OUT, FailureDetail(FailureCause.NOT_FINISHED, minutes=30)),
    (FailureReason.UPSTREAM_FAILED, FailureDetail(FailureCause.TASK_FAILED, quote="InternalError: <worker> lost")),
    (
        FailureReason.REJECTED,
        FailureDetail(FailureCause.CONTENT_REFUSED, quote="DataInspectionFailed", part=RejectedPart.PROMPT),
    ),
    (FailureReason.UNDELIVERABLE, FailureDetail(FailureCause.CHANNEL_CLOSED, quote="Unknown Channel")),
    (FailureReason.OUTCOME_UNKNOWN, FailureDetail(FailureCause.ANSWER_LOST)),
)


@asynccontextmanager
async def served(
    database: Database,
    now: datetime,
    *,
    host: str = "127.0.0.1",
    names: Mapping[int, str] = NAMES,
    rules: OperatorDefaults = RULES,
) -> AsyncIterator[int]:
    """The page over HTTP; yields the port."""
    await MembershipStore(database).describe({id_: Description(name, None) for id_, name in names.items()})
    routes = page_routes(
        database,
        rules,
        LIMITS,
        schedule().remaining,
        lambda: now,
        token=TOKEN,
    )
    async with serving(routes, host=host, port=0) as port:
        yield port
