"""The limit on videos that were made and could not be posted."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from bot.domain.errors import QuotaRefused
from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import FailureReason, Job, JobState
from bot.domain.outcomes import Fail, JobUpdate, MoveTo
from bot.domain.policy import Requester
from bot.domain.quotas import LimitName
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.schema import EVERYWHERE, jobs
from tests.providers_asked import CATALOG
from tests.store.factories import (
    DETAIL,
    MINUTE,
    NOW,
    SECOND,
    add,
    bring_to,
    claim,
    grant,
    read,
    resume_failed_job,
)


async def add_undelivered_job(
    store: JobStore, now: datetime = NOW, reason: FailureReason = FailureReason.UNDELIVERABLE, **facts: Any
) -> Job:
    """Adds a job whose video was made but could not be posted."""
    job = await bring_to(store, JobState.RUNNING, now)
    await store.apply(job, MoveTo(JobState.DELIVERING, JobUpdate(f"task-{job.id}", result_url="x", **facts)), now)
    await store.apply(await claim(store, job.id, now), Fail(reason, DETAIL), now)
    return await read(store, job)


async def test_a_member_with_too_many_undelivered_videos_is_refused_for_some_time(database: Database) -> None:
    """Each was paid for and did not count for the member, so their number is limited."""
    store = JobStore(
        database,
        OperatorDefaults(catalog=CATALOG, limits=LimitOverrides(videos_per_window=2, max_active=9, cooldown_s=0)),
    )
    await grant(store, 5)
    undelivered = [await add_undelivered_job(store, NOW + number * SECOND) for number in range(3)]
    soon = NOW + MINUTE
    with pytest.raises(QuotaRefused) as caught:
        await add(store, soon)
    assert caught.value.limit == LimitName.UNDELIVERED
    assert (await store.allowance(Requester(10, 100, 1), soon)).refusal == caught.value.reason
    await add(store, soon, user_id=2)
    await add(store, soon, guild_id=11)
    assert isinstance(await resume_failed_job(store, undelivered[1].id, soon, actor_id=9), Job)
    await add(store, soon)


async def test_undelivered_videos_count_until_they_leave_the_window_even_after_an_erasure(
    database: Database,
) -> None:
    store = JobStore(
        database,
        OperatorDefaults(catalog=CATALOG, limits=LimitOverrides(videos_per_window=2, max_active=9, cooldown_s=0)),
    )
    for number in range(3):
        await add_undelivered_job(store, NOW + number * SECOND, cost_usd=Decimal("0.1"))
    async with database.write() as connection:
        blank = {"user_id": EVERYWHERE, "upstream_id": None, "result_url": None}
        await connection.execute(jobs.update().values(blank))
    with pytest.raises(QuotaRefused):
        await add(store, NOW + MINUTE)
    await add(store, NOW + timedelta(days=1))


async def test_other_failures_and_videos_never_made_do_not_count_as_undelivered(database: Database) -> None:
    store = JobStore(
        database,
        OperatorDefaults(catalog=CATALOG, limits=LimitOverrides(videos_per_window=2, max_active=9, cooldown_s=0)),
    )
    for _ in range(3):
        await add_undelivered_job(store, reason=FailureReason.RESULT_UNUSABLE)
        job = await add(store)
        await store.apply(await claim(store, job.id), Fail(FailureReason.UNDELIVERABLE, DETAIL), NOW)
    await add(store, NOW)
