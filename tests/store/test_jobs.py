import asyncio
import re
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import StatementError

from bot import quotas
from bot.errors import QuotaRefused
from bot.jobs import Advance, Fail, FailureReason, JobState, Later, Order, Resolution
from bot.quotas import Limits
from bot.store.engine import Database
from bot.store.jobs import JobStore
from bot.store.schema import members
from tests.store.things import FRAME, NOW, ROOMY, SECOND, add, bring_to, claim, new_job, read

HOUR = timedelta(hours=1)


async def test_an_accepted_job_reads_back_as_it_was_ordered(store: JobStore) -> None:
    order = Order(
        "狐狸 🦊 'runs'; --", "blurry", Resolution.P480, 2_147_483_647, prompt_extend=False, watermark=True
    )
    new = replace(new_job(order=order), guild_id=2**63 - 1, channel_id=2**62, user_id=2**61)
    job = await store.add(new, FRAME, ROOMY, NOW)
    assert job.order == order
    assert (job.id, job.guild_id, job.channel_id, job.user_id) == (new.id, 2**63 - 1, 2**62, 2**61)
    assert (job.state, job.created_at, job.state_since, job.due_at) == (JobState.QUEUED, NOW, NOW, NOW)
    assert (job.counted, job.cancel_requested, job.attempts, job.claims, job.lease_token) == (
        True,
        False,
        0,
        0,
        None,
    )
    assert await store.get(new.id) == job


async def test_the_frame_waits_with_its_job(store: JobStore) -> None:
    job = await add(store)
    assert await store.frame(job.id) == FRAME


async def test_an_unknown_job_is_none(store: JobStore) -> None:
    assert await store.get("no such job") is None
    assert await store.get("nul\x00and\ud800surrogate") is None
    assert await store.frame("no such job") is None


async def test_a_naive_time_is_refused(store: JobStore) -> None:
    with pytest.raises(StatementError, match="naive datetime"):
        await store.add(new_job(), FRAME, ROOMY, datetime(2026, 1, 31))  # noqa: DTZ001 - that is the point
    assert await store.recent(10, 1, 10) == []


async def test_a_full_day_refuses_and_says_when_it_frees(store: JobStore) -> None:
    limits = Limits(per_day=2, running=10)
    await store.add(new_job(), FRAME, limits, NOW)
    await store.add(new_job(), FRAME, limits, NOW + HOUR)
    frees_at = int((NOW + quotas.WINDOW).timestamp())
    with pytest.raises(
        QuotaRefused, match=re.escape(f"2 of 2 videos in 24 hours. The next one frees <t:{frees_at}:R>")
    ):
        await store.add(new_job(), FRAME, limits, NOW + 2 * HOUR)
    assert len(await store.recent(10, 1, 10)) == 2
    await store.add(new_job(), FRAME, limits, NOW + quotas.WINDOW)


async def test_too_many_in_the_making_refuses(store: JobStore) -> None:
    limits = Limits(per_day=10, running=1)
    job = await store.add(new_job(), FRAME, limits, NOW)
    with pytest.raises(QuotaRefused, match="1 of 1 videos in the making"):
        await store.add(new_job(), FRAME, limits, NOW)
    await store.cancel(job.id, NOW, paid_too=True)
    await store.add(new_job(), FRAME, limits, NOW)


async def test_a_limit_is_one_members_in_one_server(store: JobStore) -> None:
    limits = Limits(per_day=1, running=1)
    for user_id, guild_id in ((1, 10), (2, 10), (1, 11)):
        await store.add(new_job(user_id=user_id, guild_id=guild_id), FRAME, limits, NOW)


@pytest.mark.parametrize("limits", [Limits(per_day=3, running=99), Limits(per_day=99, running=3)])
async def test_of_fifty_simultaneous_requests_at_limit_minus_one_exactly_one_is_accepted(
    store: JobStore, limits: Limits
) -> None:
    for _ in range(2):
        await add(store)
    results = await asyncio.gather(
        *(store.add(new_job(), FRAME, limits, NOW) for _ in range(50)), return_exceptions=True
    )
    refusals = [result for result in results if isinstance(result, QuotaRefused)]
    assert len(refusals) == 49
    assert len(await store.recent(10, 1, 99)) == 3


async def test_of_fifty_first_requests_of_a_new_member_only_the_limit_is_accepted(store: JobStore) -> None:
    limits = Limits(per_day=1, running=1)
    results = await asyncio.gather(
        *(store.add(new_job(), FRAME, limits, NOW) for _ in range(50)), return_exceptions=True
    )
    assert sum(isinstance(result, QuotaRefused) for result in results) == 49


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_a_members_requests_wait_for_that_members_row_and_for_no_others(
    store: JobStore, database: Database
) -> None:
    await add(store, user_id=1)
    async with database.write() as connection:
        await connection.execute(select(members).where(members.c.user_id == 1).with_for_update())
        same = asyncio.create_task(add(store, user_id=1))
        await add(store, user_id=2)
        assert not same.done()
    await same


async def test_usage_counts_the_window_and_what_has_not_ended(store: JobStore) -> None:
    old = await add(store, NOW - quotas.WINDOW)
    first = await add(store, NOW - HOUR)
    await add(store, NOW, user_id=2)
    given_back = await add(store, NOW - HOUR)
    await store.cancel(given_back.id, NOW, paid_too=True)
    second = await add(store, NOW - SECOND)
    usage = await store.usage(10, 1, NOW)
    assert usage.counted_at == (first.created_at, second.created_at)
    assert usage.running == len([old, first, second])


async def test_a_failed_job_gives_the_quota_back_and_a_delivered_one_does_not(store: JobStore) -> None:
    failing = await bring_to(store, JobState.SUBMITTING)
    await store.apply(failing, Fail(FailureReason.REFUSED, "no"), NOW)
    delivering = await bring_to(store, JobState.DELIVERING)
    await store.apply(delivering, Advance(JobState.DELIVERED), NOW)
    usage = await store.usage(10, 1, NOW)
    assert len(usage.counted_at) == 1
    assert usage.running == 0


async def test_the_latest_jobs_come_newest_first(store: JobStore) -> None:
    jobs = [await add(store, NOW + number * SECOND) for number in range(4)]
    await add(store, NOW + HOUR, user_id=2)
    await add(store, NOW + HOUR, guild_id=11)
    assert [job.id for job in await store.recent(10, 1, 3)] == [job.id for job in reversed(jobs[1:])]


async def test_a_write_that_is_cut_short_leaves_no_lock_behind(store: JobStore) -> None:
    tasks = [asyncio.create_task(add(store, user_id=number)) for number in range(20)]
    for turn, task in enumerate(tasks):
        for _ in range(turn):
            await asyncio.sleep(0)
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    job = await add(store)
    assert await store.apply(await claim(store, job.id), Later(None), NOW)
    assert (await read(store, job)).lease_token is None
