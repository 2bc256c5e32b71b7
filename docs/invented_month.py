"""Thirty invented days of one server, written through the bot's own store, for pictures of its figures.

Part of `docs/tour.py`. What is random is seeded, so two runs on one day differ only in the times that they show.
"""

# ruff: noqa: INP001, S311 - a script, not a part of a package; chance makes pictures here, no secrets

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from bot.app import App
from bot.domain.jobs import (
    FailureCause,
    FailureDetail,
    FailureReason,
    Frame,
    Job,
    JobState,
    NewJob,
    Order,
    Resolution,
    new_job_id,
)
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Outcome, Reschedule
from bot.domain.policy import Requester
from bot.domain.provider_limits import ProviderLimits
from bot.operations.clock import utc_now

PROMPT = "steam rises from the cup"
DAYS = 30
FRAME = Frame(b"\xff\xd8\xff", "image/jpeg")
UNLIMITED = ProviderLimits(max_running=1000, submit_interval=timedelta(0))
MINUTE = timedelta(minutes=1)
LEASES = dict.fromkeys(JobState, MINUTE)


@dataclass(frozen=True, slots=True)
class Past:
    """Writes what was made earlier, the way the worker would have; none runs."""

    app: App
    guild_id: int
    channel_id: int

    async def video(self, user_id: int, at: datetime, chance: random.Random) -> None:
        """One video that was asked for at that moment."""
        resolution = chance.choices((Resolution.P720, Resolution.P480), (3, 1))[0]
        order = Order(PROMPT, resolution=resolution)
        job = NewJob(new_job_id(), self.guild_id, self.channel_id, user_id, order)
        await self.app.store.add(job, FRAME, Requester(self.guild_id, self.channel_id, user_id), at)
        await self._step(await self._claimed(job.id, at), Reschedule(None), at)
        ends = chance.choices(("delivered", "failed", "cancelled"), (30, 3, 2))[0]
        if ends == "cancelled":
            await self.app.store.cancel(job.id, at, even_if_paid=False)
            return
        at += timedelta(seconds=chance.expovariate(1 / 12))
        submitting = await self.app.store.claim_queued(at, (UNLIMITED,), MINUTE)
        if submitting is None:
            raise SystemExit("the store lets no video through")
        facts = JobUpdate(upstream_id=f"task-{job.id}", submitted_at=at)
        await self._step(submitting, MoveTo(JobState.RUNNING, facts), at)
        at += timedelta(seconds=chance.uniform(45, 170))
        running = await self._claimed(job.id, at)
        if ends == "failed":
            reason = chance.choice((FailureReason.UPSTREAM_FAILED, FailureReason.TIMED_OUT))
            await self._step(running, Fail(reason, FailureDetail(FailureCause.TASK_FAILED)), at)
            return
        cost = Decimal("0.10") if resolution is Resolution.P480 else Decimal("0.20")
        await self._step(running, MoveTo(JobState.DELIVERING, JobUpdate(cost_usd=cost)), at)
        await self._step(await self._claimed(job.id, at), MoveTo(JobState.DELIVERED), at)

    async def _claimed(self, job_id: str, at: datetime) -> Job:
        claimed = await self.app.store.claim_due(at, 1000, LEASES)
        await self.app.store.release([job for job in claimed if job.id != job_id])
        [job] = [job for job in claimed if job.id == job_id]
        return job

    async def _step(self, job: Job, outcome: Outcome, at: datetime) -> None:
        if not await self.app.store.apply(job, outcome, at):
            raise SystemExit(f"the store did not take {outcome}")


async def live_a_month(past: Past, members: Sequence[int], viewer_id: int) -> None:
    """Thirty days of one server, more at weekends and towards the end; three of the viewer's own in the last."""
    chance, now = random.Random(7), utc_now()
    for age in range(DAYS - 1, 0, -1):
        day = now - timedelta(days=age, hours=6)
        busy = (2 + 3 * (DAYS - age) / DAYS) * (1.8 if day.weekday() >= 5 else 1)  # noqa: PLR2004 - Saturday
        asked = sorted(chance.uniform(0, 6) for _ in range(round(chance.uniform(0.4, 1.4) * busy)))
        for hours in asked:  # in order: the store submits nothing before what it submitted last
            user_id = chance.choices(members, range(len(members), 0, -1))[0]
            await past.video(user_id, day + timedelta(hours=hours), chance)
    for hours in (19, 7, 2):
        await past.video(viewer_id, now - timedelta(hours=hours), random.Random(1))
