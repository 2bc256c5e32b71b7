"""Variations are accepted in one transaction: all of them or none, however many orders arrive together."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from bot.domain.errors import QuotaRefused
from bot.domain.extensions import Extension
from bot.domain.jobs import Job, JobState, NewJob, Order
from bot.domain.outcomes import Reschedule
from bot.domain.quotas import FewerFit, LimitName
from bot.domain.repeats import KeptFrame
from bot.domain.variations import Variation, variations_of
from bot.store.engine import Database
from bot.store.jobs import variations
from bot.store.jobs.job_store import JobStore
from bot.store.money import ledger
from bot.store.schema import EVERYWHERE
from bot.store.schema import jobs as jobs_table
from bot.store.schema import variations as variations_table
from tests.store.factories import (
    FRAME,
    NOW,
    SECOND,
    UNLIMITED,
    add,
    claim,
    entries,
    grant,
    new_job,
    next_job,
    requester_of,
    set_guild,
    set_operator_state,
)
from tests.store.jobs.test_admission import row_counts
from tests.store.limit_boundaries import LIMIT_BOUNDARIES, TWO_VIDEOS

A_FOX = Order("a fox runs through snow", seed=7)


def news(count: int, user_id: int = 1, guild_id: int = 10) -> list[NewJob]:
    return [new_job(user_id=user_id, guild_id=guild_id, order=order) for order in variations_of(A_FOX, count)]


async def order(store: JobStore, count: int, user_id: int = 1, guild_id: int = 10) -> list[Job]:
    new = news(count, user_id, guild_id)
    return await store.add_together(new, FRAME, requester_of(new[0]), NOW)


async def test_each_is_a_job_with_its_seed_its_picture_and_its_reservation(store: JobStore) -> None:
    jobs = await order(store, 3)

    assert [job.order.seed for job in jobs] == [7, 8, 9]
    assert len({job.id for job in jobs}) == 3
    assert [(await store.frame(job.id)) for job in jobs] == [FRAME] * 3
    assert [(entry.job_id, entry.videos) for entry in await entries(store)] == [(job.id, 1) for job in jobs]


async def test_they_know_of_each_other_and_a_job_that_was_ordered_alone_of_none(store: JobStore) -> None:
    alone, (first, second) = await add(store, user_id=2), await order(store, 2)

    async with store._db.read() as connection:
        places = await connection.execute(variations.with_place(select(jobs_table.c.id)))
        by_id = {row.id: variations.place_in(row) for row in places}

    assert by_id == {alone.id: None, first.id: Variation(first.id, 1, 2), second.id: Variation(first.id, 2, 2)}
    assert [await store.ordered_with(job.id) for job in (alone, first, second)] == [[], *[[first, second]] * 2]


async def test_they_take_their_turns_in_order(store: JobStore) -> None:
    jobs = await order(store, 4)
    for job in jobs:
        assert await store.apply(await claim(store, job.id, NOW + SECOND), Reschedule(None), NOW + SECOND)

    taken = [await next_job(store, NOW + SECOND) for _ in jobs]

    assert [job and job.id for job in taken] == [job.id for job in jobs]


@pytest.mark.parametrize(
    ("limit", "guild", "operator"),
    [
        (LimitName.GUILD_VIDEOS_PER_DAY, {"videos_per_day": 2}, {}),
        (LimitName.GUILD_USD_PER_DAY, {"usd_per_day": TWO_VIDEOS}, {}),
        (LimitName.TOTAL_USD_PER_DAY, {}, {"usd_per_day": TWO_VIDEOS}),
        (LimitName.QUEUE, {}, {"max_queued": 2}),
    ],
)
async def test_where_two_fit_three_are_refused_as_a_whole(
    store: JobStore, limit: LimitName, guild: dict[str, Any], operator: dict[str, Any]
) -> None:
    if guild:
        await set_guild(store, **guild)
    if operator:
        await set_operator_state(store, **operator)
    if limit is LimitName.QUEUE:  # of which one server has only a part
        await add(store, user_id=2, guild_id=11)

    with pytest.raises(QuotaRefused) as caught:
        await order(store, 3)

    assert caught.value.limit in {limit, LimitName.GUILD_QUEUE}


async def test_a_refusal_says_how_many_would_fit_and_writes_nothing(database: Database) -> None:
    rules = replace(UNLIMITED, limits=replace(UNLIMITED.limits, videos_per_window=2))
    store = JobStore(database, rules)

    with pytest.raises(QuotaRefused) as caught:
        await order(store, 4)

    assert isinstance(caught.value.reason, FewerFit)
    assert caught.value.reason.fits == 2
    assert await row_counts(store) == {"jobs": 0, "first_frames": 0, "ledger": 0}
    async with database.read() as connection:
        assert (await connection.execute(select(variations_table))).all() == []
    assert len(await order(store, 2)) == 2


@pytest.mark.parametrize("name", [LimitName.VIDEOS_PER_WINDOW, LimitName.MAX_ACTIVE, LimitName.TOTAL_USD_PER_DAY])
async def test_orders_that_arrive_together_never_pass_a_limit(database: Database, name: LimitName) -> None:
    """There is room for one more video where every order is for two, and then for one order of one."""
    boundary = LIMIT_BOUNDARIES[name]
    store = JobStore(database, boundary.rules)
    await boundary.set_up(store)
    before = await row_counts(store)

    results = await asyncio.gather(
        *(order(store, 2 if number % 2 else 1) for number in range(10)), return_exceptions=True
    )

    accepted = [result for result in results if not isinstance(result, BaseException)]
    assert [len(jobs) for jobs in accepted] == [1]
    assert {type(result) for result in results} == {list, QuotaRefused}
    assert await row_counts(store) == {table: number + 1 for table, number in before.items()}


async def test_variations_repeats_and_extensions_at_once_never_pass_a_limit(
    database: Database,
) -> None:
    rules = replace(UNLIMITED, limits=replace(UNLIMITED.limits, videos_per_window=6))
    store = JobStore(database, rules)
    await grant(store, 2)
    source = await add(store)
    by = requester_of(news(1)[0])

    async def once(number: int) -> list[Job]:
        match number % 3:
            case 0:
                return await order(store, 3)
            case 1:
                return await store.add_together(news(2), KeptFrame(source.id), by, NOW)
            case _:
                return await store.add_together(news(1), FRAME, by, NOW, extends=Extension(source.id, 2, 10))

    results = await asyncio.gather(*(once(number) for number in range(24)), return_exceptions=True)

    accepted = [result for result in results if not isinstance(result, BaseException)]
    assert {type(result) for result in results} == {list, QuotaRefused}
    assert {len(jobs) for jobs in accepted} <= {1, 2, 3}
    assert sum(len(jobs) for jobs in accepted) == 7, "five that were left, and two credits"
    usage = (await store.allowance(by, NOW)).usage
    assert (len(usage.charged_at), usage.credits) == (6, ())
    async with database.read() as connection:
        assert (await ledger.spent(connection, EVERYWHERE, NOW)).videos_today == 8


async def test_if_one_can_not_be_written_none_is(store: JobStore) -> None:
    first, second, third = news(3)
    broken = [first, second, replace(third, id=first.id)]

    with pytest.raises(IntegrityError):
        await store.add_together(broken, FRAME, requester_of(first), NOW)

    assert await row_counts(store) == {"jobs": 0, "first_frames": 0, "ledger": 0}
    async with store._db.read() as connection:
        assert (await ledger.spent(connection, EVERYWHERE, NOW)).videos_today == 0


async def test_each_credit_pays_for_one(database: Database) -> None:
    rules = replace(UNLIMITED, limits=replace(UNLIMITED.limits, videos_per_window=1))
    store = JobStore(database, rules)
    first, second = await grant(store, 1, expires_at=NOW.replace(year=2027)), await grant(store, 1)

    jobs = await order(store, 3)

    assert [job.credit_grant_id for job in jobs] == [None, first, second]
    with pytest.raises(QuotaRefused):
        await order(store, 2)


async def test_one_that_is_cancelled_gives_back_its_own_video_only(store: JobStore) -> None:
    jobs = await order(store, 3)

    await store.cancel(jobs[1].id, NOW, even_if_paid=False)

    assert [(await reload(store, job)).state for job in jobs] == [
        JobState.QUEUED,
        JobState.CANCELLED,
        JobState.QUEUED,
    ]
    usage = (await store.allowance(requester_of(news(1)[0]), NOW)).usage
    assert (len(usage.charged_at), usage.running) == (2, 2)


async def reload(store: JobStore, job: Job) -> Job:
    found = await store.get(job.id)
    assert found is not None
    return found
