from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from bot.domain.guilds import Budget
from bot.domain.jobs import FailureReason, Job, JobState
from bot.domain.money import usd_of
from bot.domain.outcomes import Fail, JobUpdate, MoveTo
from bot.domain.usage_stats import BudgetUse, JobLine, Span, UsageStats, UsageTally, VideoCounts
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.money import ledger, usage_stats
from tests.store.factories import DETAIL, MINUTE, NOW, add_waiting, claim, next_job

TODAY = NOW.date()
ALL = Span(None, TODAY)
NO_BUDGET = BudgetUse(Budget(), Budget(), Decimal(0), Decimal(0))
HERE, ELSEWHERE = 10, 20
DAY = timedelta(days=1)


async def gather_stats(database: Database, span: Span = ALL, guild_id: int = HERE) -> UsageStats:
    tally = UsageTally()
    tally.add(await lines(database, span, guild_id))
    async with database.read() as connection:
        return await usage_stats.completed(connection, guild_id, span, tally, NO_BUDGET)


async def lines(database: Database, span: Span = ALL, guild_id: int = HERE) -> list[JobLine]:
    async with (
        database.read() as connection,
        aclosing(usage_stats.lines(connection, guild_id, span)) as chunks,
    ):
        return [line async for chunk in chunks for line in chunk]


async def add_running_job(
    store: JobStore, at: datetime = NOW, *, user_id: int = 1, guild_id: int = HERE, queued_s: float = 0
) -> Job:
    """A running job that was ordered at `at` and submitted `queued_s` seconds later."""
    job = await add_waiting(store, at, user_id=user_id, guild_id=guild_id)
    start = at + timedelta(seconds=queued_s)
    submitting = await next_job(store, start)
    assert submitting is not None
    assert submitting.id == job.id
    facts = JobUpdate(upstream_id=f"task-{job.id}", submitted_at=start)
    assert await store.apply(submitting, MoveTo(JobState.RUNNING, facts), start)
    return await claim(store, job.id, start)


async def add_delivered_job(
    store: JobStore,
    at: datetime = NOW,
    *,
    user_id: int = 1,
    guild_id: int = HERE,
    queued_s: float = 0,
    total_s: float = 60,
    cost: str | None = "0.15",
) -> Job:
    job = await add_running_job(store, at, user_id=user_id, guild_id=guild_id, queued_s=queued_s)
    end = at + timedelta(seconds=total_s)
    facts = JobUpdate(cost_usd=None if cost is None else Decimal(cost))
    assert await store.apply(job, MoveTo(JobState.DELIVERING, facts), end)
    assert await store.apply(await claim(store, job.id, end), MoveTo(JobState.DELIVERED), end)
    return job


async def add_failed_job(
    store: JobStore, at: datetime = NOW, reason: FailureReason = FailureReason.UPSTREAM_FAILED, **more: int
) -> Job:
    job = await add_running_job(store, at, **more)
    assert await store.apply(job, Fail(reason, DETAIL), at)
    return job


async def test_a_server_without_jobs_has_empty_stats(database: Database) -> None:
    found = await gather_stats(database)

    assert found.is_empty
    assert found.videos == VideoCounts()
    assert found.in_queue is None
    assert found.to_video is None
    assert found.success is None
    assert [day.day for day in found.days] == [TODAY]


async def test_videos_are_counted_by_how_they_ended(store: JobStore, database: Database) -> None:
    await add_delivered_job(store)
    await add_delivered_job(store)
    await add_failed_job(store)
    await store.cancel((await add_waiting(store)).id, NOW, even_if_paid=False)
    await add_running_job(store)
    await add_waiting(store)

    found = await gather_stats(database)

    assert found.videos == VideoCounts(delivered=2, failed=1, cancelled=1, in_progress=2)
    assert found.videos.ordered == 6
    assert found.success == pytest.approx(2 / 3)


async def test_failures_are_counted_by_reason(store: JobStore, database: Database) -> None:
    for reason in (FailureReason.TIMED_OUT, FailureReason.TIMED_OUT, FailureReason.UNDELIVERABLE):
        await add_failed_job(store, reason=reason)

    found = await gather_stats(database)

    assert found.failures == {FailureReason.TIMED_OUT: 2, FailureReason.UNDELIVERABLE: 1}


@pytest.mark.parametrize("reason", [FailureReason.DECLINED, FailureReason.EXPIRED])
async def test_declined_and_expired_jobs_do_not_count_in_the_success_rate(
    store: JobStore, database: Database, reason: FailureReason
) -> None:
    await add_delivered_job(store)
    await add_failed_job(store, reason=reason)

    assert (await gather_stats(database)).success == 1


async def test_what_moderation_rejected_is_counted_apart_from_failures(
    store: JobStore, database: Database
) -> None:
    await add_delivered_job(store)
    await add_failed_job(store, reason=FailureReason.REJECTED)

    found = await gather_stats(database)

    assert (found.videos, found.failures, found.success) == (VideoCounts(delivered=1, rejected=1), {}, 1)


async def test_a_video_is_counted_on_the_utc_day_of_its_order(store: JobStore, database: Database) -> None:
    midnight = datetime(2026, 1, 31, tzinfo=UTC)
    await add_delivered_job(store, midnight - timedelta(microseconds=1), total_s=600, cost="0.10")
    await add_delivered_job(store, midnight, cost="0.25")

    found = await gather_stats(database)

    assert [(day.day, day.videos.delivered, day.usd) for day in found.days] == [
        (date(2026, 1, 30), 1, Decimal("0.10")),
        (date(2026, 1, 31), 1, Decimal("0.25")),
    ]


async def test_a_span_includes_its_first_and_last_day_and_no_other_days(
    store: JobStore, database: Database
) -> None:
    for days in (3, 2, 1, 0):
        await add_delivered_job(store, NOW - days * DAY, cost="0.10")
    span = Span(TODAY - 2 * DAY, TODAY - DAY)

    found = await gather_stats(database, span)

    assert [day.day for day in found.days] == [TODAY - 2 * DAY, TODAY - DAY]
    assert found.videos.ordered == 2
    assert found.usd == Decimal("0.20")
    assert len(await lines(database, span)) == 2


async def test_days_without_a_video_are_listed_too(store: JobStore, database: Database) -> None:
    await add_delivered_job(store, NOW - 3 * DAY)
    await add_delivered_job(store)

    found = await gather_stats(database)

    assert [day.videos.ordered for day in found.days] == [1, 0, 0, 1]


async def test_reserved_costs_are_in_the_total_and_reported_separately(
    store: JobStore, database: Database
) -> None:
    await add_delivered_job(store, cost="0.15")
    open_job = await add_running_job(store)
    await add_failed_job(store)

    found = await gather_stats(database)

    assert open_job.estimated_cost_usd is not None
    assert found.reserved_usd == open_job.estimated_cost_usd
    assert found.usd == Decimal("0.15") + open_job.estimated_cost_usd


async def test_a_known_cost_is_no_longer_reserved_even_while_the_job_is_active(
    store: JobStore, database: Database
) -> None:
    job = await add_running_job(store)
    assert await store.apply(job, MoveTo(JobState.DELIVERING, JobUpdate(cost_usd=Decimal("0.15"))), NOW)

    found = await gather_stats(database)

    assert (found.usd, found.reserved_usd) == (Decimal("0.15"), Decimal(0))


async def test_nothing_is_reserved_for_an_ended_job(store: JobStore, database: Database) -> None:
    job = await add_delivered_job(store, cost=None)

    found = await gather_stats(database)

    assert (found.usd, found.reserved_usd) == (job.estimated_cost_usd, Decimal(0))


async def test_the_daily_costs_equal_the_spending_that_budgets_count(store: JobStore, database: Database) -> None:
    await add_delivered_job(store, NOW - DAY, cost=None)
    await add_delivered_job(store, cost="0.123456789")
    await add_running_job(store)

    found = await gather_stats(database)

    async with database.read() as connection:
        spent = await ledger.spent(connection, HERE, NOW)
    assert found.days[-1].usd == spent.usd_today
    assert found.usd == spent.usd_month


async def test_members_are_counted_once_and_the_most_active_come_first(
    store: JobStore, database: Database
) -> None:
    for user_id, count in ((7, 1), (8, 3), (9, 2)):
        for _ in range(count):
            await add_delivered_job(store, user_id=user_id, cost="0.10")
    await add_failed_job(store, user_id=7)
    await add_failed_job(store, user_id=7)
    await add_failed_job(store, user_id=7)

    found = await gather_stats(database)

    assert found.members == 3
    assert [(use.user_id, use.ordered, use.delivered, use.usd) for use in found.top] == [
        (7, 4, 1, Decimal("0.1")),
        (8, 3, 3, Decimal("0.3")),
        (9, 2, 2, Decimal("0.2")),
    ]


async def test_no_more_than_five_members_are_listed(store: JobStore, database: Database) -> None:
    for user_id in range(1, 8):
        await add_waiting(store, user_id=user_id)

    found = await gather_stats(database)

    assert found.members == 7
    assert len(found.top) == 5


async def test_waiting_times_are_reported_as_median_and_95th_percentile(
    store: JobStore, database: Database
) -> None:
    for seconds in range(20, 0, -1):
        at = NOW - MINUTE * seconds
        await add_delivered_job(store, at, queued_s=seconds, total_s=60 * seconds)

    found = await gather_stats(database)

    assert found.in_queue is not None
    assert (found.in_queue.median_s, found.in_queue.p95_s) == pytest.approx((10, 19), abs=0.01)
    assert found.to_video is not None
    assert (found.to_video.median_s, found.to_video.p95_s) == pytest.approx((600, 1140), abs=0.01)


async def test_a_failed_job_counts_for_the_time_in_queue_but_not_for_the_time_to_video(
    store: JobStore, database: Database
) -> None:
    await add_failed_job(store)

    found = await gather_stats(database)

    assert found.in_queue is not None
    assert found.to_video is None


async def test_jobs_members_and_costs_of_another_server_are_not_counted(
    store: JobStore, database: Database
) -> None:
    await add_delivered_job(store, guild_id=HERE, user_id=1, cost="0.10", total_s=30)
    await add_delivered_job(store, guild_id=ELSEWHERE, user_id=1, cost="5", total_s=3000)
    await add_failed_job(store, guild_id=ELSEWHERE, user_id=2)
    await add_running_job(store, guild_id=ELSEWHERE, user_id=3)

    found = await gather_stats(database, guild_id=HERE)

    assert found.videos == VideoCounts(delivered=1)
    assert found.failures == {}
    assert found.members == 1
    assert [(use.user_id, use.usd) for use in found.top] == [(1, Decimal("0.1"))]
    assert found.usd == Decimal("0.1")
    assert found.reserved_usd == 0
    assert found.to_video is not None
    assert found.to_video.p95_s == pytest.approx(30, abs=0.01)
    assert len(await lines(database, guild_id=HERE)) == 1


async def test_videos_of_an_erased_member_count_but_belong_to_no_member(
    store: JobStore, database: Database
) -> None:
    await add_delivered_job(store, user_id=0)
    await add_delivered_job(store, user_id=1)

    found = await gather_stats(database)

    assert found.videos.ordered == 2
    assert found.members == 1
    assert [use.user_id for use in found.top] == [1]


async def test_a_line_contains_the_details_of_a_job(store: JobStore, database: Database) -> None:
    job = await add_delivered_job(store, user_id=5, queued_s=2.5, total_s=61.5, cost="0.1234")

    (line,) = await lines(database)

    assert (line.id, line.user_id, line.state, line.failure) == (job.id, 5, JobState.DELIVERED, None)
    assert line.created_at == NOW.strftime("%Y-%m-%dT%H:%M:%SZ")
    assert line.in_queue_s == pytest.approx(2.5, abs=0.01)
    assert line.to_video_s == pytest.approx(61.5, abs=0.01)
    assert line.reserved_nano_usd is not None
    assert usd_of(line.reserved_nano_usd) == job.estimated_cost_usd
    assert (line.nano_usd, line.is_reserved) == (123_400_000, False)


async def test_the_cost_of_a_failed_job_without_a_known_cost_is_zero(store: JobStore, database: Database) -> None:
    await add_failed_job(store)

    (line,) = await lines(database)

    assert (line.failure, line.nano_usd) == (FailureReason.UPSTREAM_FAILED, 0)
    assert line.to_video_s is None


async def test_lines_come_newest_first(store: JobStore, database: Database) -> None:
    jobs = [await add_waiting(store, NOW - number * DAY) for number in range(4)]

    assert [line.id for line in await lines(database)] == [job.id for job in jobs]
