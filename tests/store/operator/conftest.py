"""A database with the operator's service."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest

from bot.domain.audit_log import AuditEntry
from bot.domain.guilds import Budget, LimitOverrides, OperatorDefaults
from bot.domain.jobs import FailureReason, Job, JobState
from bot.domain.outcomes import Fail, JobUpdate, MoveTo
from bot.services.operator.service import Operator, OperatorService
from bot.store.engine import Database
from bot.store.guilds import audit_log
from bot.store.jobs.job_store import JobStore
from tests.providers_asked import CATALOG
from tests.store.factories import DETAIL, NOW, add_waiting, claim, next_job, notified_texts, read

OPERATOR = Operator(900)
DEFAULTS = OperatorDefaults(
    catalog=CATALOG,
    limits=LimitOverrides(videos_per_window=10_000, max_active=10_000, cooldown_s=0),
    budget=Budget(Decimal(10), Decimal(100)),
    guild_budget=Budget(Decimal(5), None),
)


@dataclass
class OperatorHarness:
    """The operator's service and a store with the same defaults; `woken` counts wake-ups of the worker."""

    database: Database
    now: datetime = NOW
    woken: list[None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = JobStore(self.database, DEFAULTS)
        wake: Callable[[], None] = lambda: self.woken.append(None)  # noqa: E731
        self.service = OperatorService(
            self.database, DEFAULTS, guild_id=1, user_ids=(900,), wake=wake, clock=lambda: self.now
        )

    async def add_lost_job(self, **whose: Any) -> Job:
        """Adds a job whose submission was never answered."""
        await add_waiting(self.store, self.now, **whose)
        job = await next_job(self.store, self.now)
        assert job is not None
        assert await self.store.apply(job, Fail(FailureReason.OUTCOME_UNKNOWN, DETAIL), self.now)
        return await read(self.store, job)

    async def add_running_job(self, *, task: str = "task-1", **whose: Any) -> Job:
        """Adds a job whose task is running."""
        await add_waiting(self.store, self.now, **whose)
        job = await next_job(self.store, self.now)
        assert job is not None
        facts = JobUpdate(upstream_id=task, submitted_at=self.now)
        assert await self.store.apply(job, MoveTo(JobState.RUNNING, facts), self.now)
        return await claim(self.store, job.id, self.now)

    async def finish_task(self, job: Job, usd: str) -> None:
        """Finishes the job's task, at this cost."""
        outcome = MoveTo(JobState.DELIVERING, JobUpdate(cost_usd=Decimal(usd)))
        assert await self.store.apply(job, outcome, self.now)

    async def audit_log(self, guild_id: int) -> list[AuditEntry]:
        async with self.database.read() as connection:
            return await audit_log.latest(connection, guild_id, 10)

    async def notification_texts(self, guild_id: int) -> list[str]:
        return await notified_texts(self.database, guild_id)


@pytest.fixture
def harness(database: Database) -> OperatorHarness:
    return OperatorHarness(database)
