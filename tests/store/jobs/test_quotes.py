"""What an order is said to take is what its acceptance takes."""

from datetime import timedelta

import pytest

from bot.domain.errors import QuotaRefused, RuleRefused
from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import Job, Order
from bot.domain.policy import Requester
from bot.domain.quotes import Quote
from bot.domain.variations import variations_of
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from tests.store.factories import FRAME, NOW, add, entries, grant, new_job, set_guild

MEMBER = Requester(10, 100, 1)
ADMIN = Requester(10, 100, 1, admin=True)
A_FOX = Order("a fox")


@pytest.fixture
def store(database: Database) -> JobStore:
    """Members have three videos a day, all of them at once."""
    limits = LimitOverrides(videos_per_window=3, max_active=9, cooldown_s=0)
    return JobStore(database, OperatorDefaults(limits=limits))


async def check(store: JobStore, count: int = 1, who: Requester = MEMBER) -> Quote:
    """What an order of so many videos is said to take."""
    quote = await store.check(who, A_FOX, NOW, arriving=0, count=count)
    assert quote is not None
    return quote


async def accept(store: JobStore, count: int = 1, who: Requester = MEMBER) -> list[Job]:
    news = [new_job(order=each) for each in variations_of(A_FOX, count)]
    return await store.add_together(news, FRAME, who, NOW)


@pytest.mark.parametrize(
    ("before", "credits_given", "count"), [(0, 0, 1), (2, 0, 1), (0, 0, 3), (3, 2, 1), (2, 2, 3), (1, 1, 2)]
)
async def test_a_quote_is_what_is_then_charged(
    store: JobStore, before: int, credits_given: int, count: int
) -> None:
    for _ in range(before):
        await add(store)
    if credits_given:
        await grant(store, credits_given)
    quote = await check(store, count)
    had = (await store.allowance(MEMBER, NOW)).usage

    jobs = await accept(store, count)

    has = (await store.allowance(MEMBER, NOW)).usage
    assert quote.videos == len(jobs)
    assert quote.by_credits == sum(job.credit_grant_id is not None for job in jobs)
    assert quote.by_window == len(has.charged_at) - len(had.charged_at)
    assert quote.by_credits == sum(it.left for it in had.credits) - sum(it.left for it in has.credits)
    assert (quote.left, quote.credits_left) == (3 - before, credits_given)
    reserved = [entry.usd for job in jobs for entry in await entries(store, job)]
    assert quote.estimate == sum(reserved) > 0
    assert quote.window == timedelta(hours=24)


async def test_an_exempt_admin_is_told_that_nothing_is_taken_but_what_it_costs(store: JobStore) -> None:
    await set_guild(store, admins_exempt=True)

    quote = await check(store, who=ADMIN)

    assert quote.left is None
    assert quote.estimate == (await accept(store, who=ADMIN))[0].estimated_cost_usd


async def test_where_admins_turned_quotes_off_there_are_none_and_no_reasons_either(store: JobStore) -> None:
    await set_guild(store, quotes_shown=False)
    assert await store.check(MEMBER, A_FOX, NOW, arriving=0) is None
    assert await store.quote(MEMBER, A_FOX, NOW) is None

    await set_guild(store, paused=True)
    assert await store.quote(MEMBER, A_FOX, NOW) is None


async def test_a_quote_without_an_order_is_that_of_an_order_and_raises_why_it_would_be_refused(
    store: JobStore,
) -> None:
    assert await store.quote(MEMBER, A_FOX, NOW) == await check(store)

    await accept(store, 3)
    with pytest.raises(QuotaRefused):
        await store.quote(MEMBER, A_FOX, NOW)
    await set_guild(store, paused=True)
    with pytest.raises(RuleRefused):
        await store.quote(MEMBER, A_FOX, NOW)


async def test_the_estimate_is_that_of_all_videos_together(store: JobStore) -> None:
    estimate = (await check(store)).estimate
    assert estimate > 0
    assert (await check(store, 2)).estimate == 2 * estimate
