import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy.exc import StatementError

from bot.domain.errors import QuotaRefused
from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import FailureReason, JobState, Order, Resolution
from bot.domain.outcomes import Fail, MoveTo, Reschedule
from bot.domain.policy import Requester
from bot.domain.quotas import LimitName, VideoLimitReached
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.jobs.job_store import JobStore
from tests.providers_asked import CATALOG
from tests.store.factories import DETAIL, FRAME, NOW, SECOND, add, bring_to, claim, new_job, read, requester_of

HOUR = timedelta(hours=1)
DAY = timedelta(hours=24)


def with_limits(*, videos: int = 10, running: int = 10) -> OperatorDefaults:
    return OperatorDefaults(catalog=CATALOG, limits=LimitOverrides(videos, running, cooldown_s=0))


async def test_an_accepted_job_reads_back_as_it_was_ordered(store: JobStore) -> None:
    order = Order(
        "狐狸 🦊 'runs'; --", "blurry", Resolution.P480, 2_147_483_647, prompt_extend=False, watermark=True
    )
    new = replace(new_job(order=order), guild_id=2**63 - 1, channel_id=2**62, user_id=2**61)
    job = await store.add(new, FRAME, requester_of(new), NOW)
    assert job.order == order
    assert (job.id, job.guild_id, job.channel_id, job.user_id) == (new.id, 2**63 - 1, 2**62, 2**61)
    assert (job.state, job.created_at, job.state_changed_at, job.due_at) == (JobState.QUEUED, NOW, NOW, NOW)
    assert (job.charged, job.cancel_requested, job.attempts, job.claim_count, job.lease_token) == (
        True,
        False,
        0,
        0,
        None,
    )
    assert await store.get(new.id) == job


async def test_the_frame_is_stored_with_its_job(store: JobStore) -> None:
    job = await add(store)
    assert await store.frame(job.id) == FRAME


async def test_an_unknown_job_is_none(store: JobStore) -> None:
    assert await store.get("no such job") is None
    assert await store.get("nul\x00and\ud800surrogate") is None
    assert await store.frame("no such job") is None


async def test_a_naive_time_is_refused(store: JobStore) -> None:
    with pytest.raises(StatementError, match="naive datetime"):
        await add(store, datetime(2026, 1, 31))  # noqa: DTZ001 - that is the point
    assert await store.recent(10, 1, 10) == []


async def test_a_refusal_by_a_full_window_says_when_a_video_is_possible_again(database: Database) -> None:
    store = JobStore(database, with_limits(videos=2))
    await add(store, NOW)
    await add(store, NOW + HOUR)
    with pytest.raises(QuotaRefused) as refused:
        await add(store, NOW + 2 * HOUR)
    assert refused.value.reason == VideoLimitReached(
        LimitName.VIDEOS_PER_WINDOW, NOW + DAY, used=2, maximum=2, window=DAY
    )
    assert len(await store.recent(10, 1, 10)) == 2
    await add(store, NOW + DAY)


async def test_too_many_active_jobs_are_refused(database: Database) -> None:
    store = JobStore(database, with_limits(running=1))
    job = await add(store)
    with pytest.raises(QuotaRefused) as refused:
        await add(store)
    assert refused.value.limit == LimitName.MAX_ACTIVE
    await store.cancel(job.id, NOW, even_if_paid=True)
    await add(store)


async def test_limits_apply_per_member_and_server(database: Database) -> None:
    store = JobStore(database, with_limits(videos=1, running=1))
    for user_id, guild_id in ((1, 10), (2, 10), (1, 11)):
        await add(store, user_id=user_id, guild_id=guild_id)


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_all_acceptances_wait_for_the_lock_on_the_operator_state(
    store: JobStore, database: Database
) -> None:
    async with database.write() as connection:
        await guild_settings.lock_operator_state(connection)
        waiting = [asyncio.create_task(add(store, user_id=user_id)) for user_id in (1, 2)]
        await store.check(Requester(10, 100, 1), Order("a fox"), NOW, arriving=0)
        assert not any(task.done() for task in waiting)
    await asyncio.gather(*waiting)


async def test_usage_counts_the_charged_jobs_in_the_window_and_all_active_jobs(store: JobStore) -> None:
    old = await add(store, NOW - DAY)
    first = await add(store, NOW - HOUR)
    await add(store, NOW, user_id=2)
    cancelled = await add(store, NOW - HOUR)
    await store.cancel(cancelled.id, NOW, even_if_paid=True)
    second = await add(store, NOW - SECOND)
    usage = (await store.allowance(Requester(10, 100, 1), NOW)).usage
    assert usage.charged_at == (first.created_at, second.created_at)
    assert usage.running == len([old, first, second])


async def test_a_failed_job_does_not_count_for_the_quota_and_a_delivered_one_does(store: JobStore) -> None:
    failing = await bring_to(store, JobState.SUBMITTING)
    await store.apply(failing, Fail(FailureReason.REFUSED, DETAIL), NOW)
    delivering = await bring_to(store, JobState.DELIVERING)
    await store.apply(delivering, MoveTo(JobState.DELIVERED), NOW)
    usage = (await store.allowance(Requester(10, 100, 1), NOW)).usage
    assert len(usage.charged_at) == 1
    assert usage.running == 0


async def test_the_latest_jobs_come_newest_first(store: JobStore) -> None:
    jobs = [await add(store, NOW + number * SECOND) for number in range(4)]
    await add(store, NOW + HOUR, user_id=2)
    await add(store, NOW + HOUR, guild_id=11)
    assert [job.id for job in await store.recent(10, 1, 3)] == [job.id for job in reversed(jobs[1:])]


async def test_a_cancelled_write_leaves_no_lock(store: JobStore) -> None:
    tasks = [asyncio.create_task(add(store, user_id=number)) for number in range(20)]
    for turn, task in enumerate(tasks):
        for _ in range(turn):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    job = await add(store)
    assert await store.apply(await claim(store, job.id), Reschedule(None), NOW)
    assert (await read(store, job)).lease_token is None
