from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import FailureReason, Job, JobState
from bot.domain.models import TaskKind
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Reschedule
from bot.domain.policy import Requester
from bot.domain.quotas import Spent
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.money import ledger
from bot.store.money.ledger import PRICE_FROM, PRICE_OVER
from tests.providers_asked import CATALOG, DASHSCOPE, P480, P720
from tests.store.factories import DETAIL, MINUTE, NOW, SECOND, add, bring_to, claim, entries, grant, next_job, read

SOON = NOW + 10 * SECOND
PAID = JobUpdate(cost_usd=Decimal("0.15"))


async def entry_amounts(store: JobStore, job: Job) -> list[tuple[str, int, int, str]]:
    return [(row.kind, row.videos, row.credits, str(row.usd)) for row in await entries(store, job)]


async def spent_usd(store: JobStore, guild_id: int = 10) -> Decimal:
    async with store._db.read() as connection:
        return (await ledger.spent(connection, guild_id, NOW)).usd_today


async def test_the_actual_cost_is_settled_once(store: JobStore) -> None:
    job = await bring_to(store, JobState.RUNNING)
    await store.apply(job, MoveTo(JobState.DELIVERING, PAID), SOON)
    await store.apply(await claim(store, job.id, SOON), MoveTo(JobState.DELIVERED, PAID), SOON)
    assert await entry_amounts(store, job) == [("reserve", 1, 0, "0.2"), ("settle", 0, 0, "-0.05")]
    assert await spent_usd(store) == await spent_usd(store, 0) == Decimal("0.15")


async def test_a_corrected_cost_is_settled_again(store: JobStore) -> None:
    job = await bring_to(store, JobState.RUNNING)
    await store.apply(job, MoveTo(JobState.DELIVERING, PAID), SOON)
    higher = JobUpdate(cost_usd=Decimal("0.35"))
    await store.apply(await claim(store, job.id, SOON), MoveTo(JobState.DELIVERED, higher), SOON)
    assert (await entry_amounts(store, job))[2:] == [("settle", 0, 0, "0.2")]
    assert await spent_usd(store) == Decimal("0.35")


async def test_a_cost_is_settled_even_if_the_job_does_not_change_state(store: JobStore) -> None:
    """As after a failure: the task's cost becomes known while the failure is still being announced."""
    job = await bring_to(store, JobState.RUNNING)
    await store.apply(job, Fail(FailureReason.TIMED_OUT, DETAIL), SOON)
    assert await spent_usd(store) == Decimal("0.2")
    await store.apply(await claim(store, job.id, SOON), Reschedule(None, PAID), SOON)
    assert await entry_amounts(store, job) == [
        ("reserve", 1, 0, "0.2"),
        ("return", -1, 0, "0"),
        ("settle", 0, 0, "-0.05"),
    ]


async def test_an_undeliverable_video_does_not_count_for_the_member_but_its_cost_stays(store: JobStore) -> None:
    job = await bring_to(store, JobState.RUNNING)
    await store.apply(job, MoveTo(JobState.DELIVERING, PAID), SOON)
    held = await claim(store, job.id, SOON)
    await store.apply(held, Fail(FailureReason.UNDELIVERABLE, DETAIL), SOON)
    assert (await entry_amounts(store, job))[2:] == [("return", -1, 0, "0")]
    assert await spent_usd(store) == Decimal("0.15")
    assert (await store.allowance(Requester(10, 100, 1), SOON)).usage.charged_at == ()


@pytest.mark.parametrize("reason", [FailureReason.REFUSED, FailureReason.UPSTREAM_FAILED])
async def test_a_failure_that_costs_nothing_returns_the_whole_reservation(
    store: JobStore, reason: FailureReason
) -> None:
    failure = Fail(reason, DETAIL)
    job = await bring_to(store, JobState.SUBMITTING)
    await store.apply(job, failure, SOON)
    [_, back] = await entries(store, job)
    assert (back.kind, back.videos, back.usd, back.created_at, back.effective_at) == (
        "return",
        -1,
        Decimal("-0.2"),
        SOON,
        NOW,
    )
    assert back.reason == f"failed: {failure.reason}"
    assert await spent_usd(store) == await spent_usd(store, 0) == 0


async def test_a_cost_counts_on_the_day_of_acceptance(store: JobStore) -> None:
    job = await bring_to(store, JobState.RUNNING)
    tomorrow = NOW + timedelta(days=1)
    await store.apply(job, MoveTo(JobState.DELIVERING, PAID), tomorrow)
    assert await spent_usd(store) == Decimal("0.15")
    async with store._db.read() as connection:
        after = await ledger.spent(connection, 10, tomorrow)
    assert after == Spent()


async def test_spending_of_a_later_month_does_not_count_after_the_clock_was_set_back(store: JobStore) -> None:
    next_month = NOW.replace(month=2, day=1)
    await add(store, next_month)
    async with store._db.read() as connection:
        assert await ledger.spent(connection, 10, NOW) == Spent()
        assert (await ledger.spent(connection, 10, next_month)).usd_month == Decimal("0.2")


@pytest.mark.parametrize("cost", ["-1", "1E+20", "1000000"])
async def test_an_implausible_cost_is_ignored_and_the_estimate_stays(store: JobStore, cost: str) -> None:
    job = await bring_to(store, JobState.RUNNING)
    assert await store.apply(job, MoveTo(JobState.DELIVERING, JobUpdate(cost_usd=Decimal(cost))), SOON)
    assert (await read(store, job)).cost_usd is None
    assert await entry_amounts(store, job) == [("reserve", 1, 0, "0.2")]


async def test_a_cost_of_many_digits_is_rounded_up_in_the_ledger_and_kept_in_the_job(store: JobStore) -> None:
    job = await bring_to(store, JobState.RUNNING)
    cost = Decimal("0.1000000000001")
    await store.apply(job, MoveTo(JobState.DELIVERING, JobUpdate(cost_usd=cost)), SOON)
    assert (await read(store, job)).cost_usd == cost
    assert await spent_usd(store) == Decimal("0.100000001")


async def test_existing_ledger_entries_are_never_changed(store: JobStore) -> None:
    job = await add(store)
    before = await entries(store)
    await store.cancel(job.id, SOON, even_if_paid=True)
    assert (await entries(store))[:-1] == before


async def test_a_credit_returned_to_an_expired_grant_is_not_usable(database: Database) -> None:
    store = JobStore(
        database,
        OperatorDefaults(catalog=CATALOG, limits=LimitOverrides(videos_per_window=0, max_active=9, cooldown_s=0)),
    )
    await grant(store, 1, expires_at=NOW + MINUTE)
    job = await add(store)
    await store.cancel(job.id, NOW + 2 * MINUTE, even_if_paid=True)
    assert (await entry_amounts(store, job))[1:] == [("return", -1, 1, "-0.2")]
    allowance = await store.allowance(Requester(10, 100, 1), NOW + 2 * MINUTE)
    assert allowance.usage.credits == ()


async def finish_task(store: JobStore, cost: str, now_s: int) -> None:
    now = NOW + now_s * SECOND
    job = await add(store, now)
    await store.apply(await claim(store, job.id, now), Reschedule(None), now)
    submitting = await next_job(store, now)
    assert submitting is not None
    await store.apply(submitting, MoveTo(JobState.DELIVERING, JobUpdate(cost_usd=Decimal(cost))), now)


async def price_estimate(store: JobStore, of: TaskKind = P720) -> Decimal:
    async with store._db.read() as connection:
        return await ledger.expected_price(connection, of, Decimal("0.2"))


@pytest.mark.full
async def test_the_learned_price_is_used_after_a_few_tasks_and_follows_the_latest_costs(store: JobStore) -> None:
    for number in range(PRICE_FROM):
        assert await price_estimate(store) == Decimal("0.2")
        await finish_task(store, "0.5", number)
    assert await price_estimate(store) == Decimal("0.5")
    assert await price_estimate(store, P480) == Decimal("0.2")
    assert (await add(store, NOW + MINUTE)).estimated_cost_usd == Decimal("0.5")
    await finish_task(store, "0.9", 99)
    assert await price_estimate(store) == Decimal("0.6")
    for number in range(3 * PRICE_OVER):
        await finish_task(store, "0.1", 100 + number)
    assert Decimal("0.1") <= await price_estimate(store) < Decimal("0.12")


@pytest.mark.parametrize(("costs", "price"), [(["0.2", "0.2", "40"], "1"), (["0", "0", "0"], "0.04")])
async def test_the_learned_price_stays_within_five_times_of_the_configured_price(
    store: JobStore, costs: list[str], price: str
) -> None:
    """Otherwise one wrong cost could block all orders for good, or free tasks could defeat the budgets."""
    for number, cost in enumerate(costs):
        await finish_task(store, cost, number)
    assert await price_estimate(store) == Decimal(price)


async def test_a_configured_price_of_zero_does_not_bound_the_learned_price(store: JobStore) -> None:
    for number in range(PRICE_FROM):
        await finish_task(store, "0.3", number)
    async with store._db.read() as connection:
        assert await ledger.expected_price(connection, P720, Decimal(0)) == Decimal("0.3")


async def test_the_estimate_stays_for_an_undeliverable_video_without_a_known_cost(store: JobStore) -> None:
    job = await bring_to(store, JobState.RUNNING)
    made = JobUpdate(result_url="https://cdn.example/x.mp4")
    await store.apply(job, MoveTo(JobState.DELIVERING, made), SOON)
    held = await claim(store, job.id, SOON)
    await store.apply(held, Fail(FailureReason.UNDELIVERABLE, DETAIL), SOON)
    assert (await entry_amounts(store, job))[1:] == [("return", -1, 0, "0")]
    assert await spent_usd(store) == Decimal("0.2")


async def last_accepted_at(store: JobStore) -> datetime | None:
    return (await store.allowance(Requester(10, 100, 1), SOON)).usage.last_accepted_at


async def test_a_failed_request_does_not_count_for_the_cooldown(store: JobStore) -> None:
    await add(store, NOW - MINUTE)
    job = await add(store, NOW)
    assert await last_accepted_at(store) == NOW
    refused = Fail(FailureReason.UPSTREAM_FAILED, DETAIL)
    await store.apply(await claim(store, job.id), refused, SOON)
    assert await last_accepted_at(store) == NOW - MINUTE


async def test_a_cancelled_request_counts_for_the_cooldown(store: JobStore) -> None:
    job = await add(store, NOW)
    await store.cancel(job.id, SOON, even_if_paid=True)
    assert await last_accepted_at(store) == NOW


async def test_costs_that_the_bot_computes_itself_leave_the_estimate_at_what_is_set(store: JobStore) -> None:
    """Or a changed price, or exchange rate, would take dozens of videos to reach the budgets."""
    of_dashscope = P720._replace(provider=DASHSCOPE)
    async with store._db.write() as connection:
        for _ in range(PRICE_FROM):
            await ledger.learn_price(connection, of_dashscope, Decimal("0.5"))
    assert await price_estimate(store, of_dashscope) == Decimal("0.2")


async def test_a_failed_task_does_not_update_the_learned_price(store: JobStore) -> None:
    for number in range(PRICE_FROM):
        job = await bring_to(store, JobState.RUNNING, NOW + number * SECOND)
        free = JobUpdate(cost_usd=Decimal(0))
        await store.apply(job, Fail(FailureReason.UPSTREAM_FAILED, DETAIL, free), NOW + number * SECOND)
    assert await price_estimate(store) == Decimal("0.2")


async def test_a_cost_that_is_reported_twice_updates_the_learned_price_once(store: JobStore) -> None:
    job = await bring_to(store, JobState.RUNNING)
    await store.apply(job, MoveTo(JobState.DELIVERING, PAID), SOON)
    await store.apply(await claim(store, job.id, SOON), MoveTo(JobState.DELIVERED, PAID), SOON)
    await finish_task(store, "0.15", 30)
    assert await price_estimate(store) == Decimal("0.2")
