from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from bot.domain.guilds import Budget
from bot.domain.jobs import Fail, FailureReason, Job, JobState, JobUpdate, MoveTo
from bot.domain.usage_stats import BudgetUse, JobLine, Span, UsageStats, VideoCounts
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.money import ledger, usage_stats
from tests.store.factories import DETAIL, MINUTE, NOW, add_waiting, claim, next_job

TODAY = NOW.date()
ALL = Span(None, TODAY)
NO_BUDGET = BudgetUse(Budget(), Budget(), Decimal(0), Decimal(0))
HERE, ELSEWHERE = 10, 20
DAY = timedelta(days=1)


async def figures(database: Database, span: Span = ALL, guild_id: int = HERE) -> UsageStats:
    async with database.read() as connection:
        return await usage_stats.gather(connection, guild_id, span, NO_BUDGET)


async def lines(database: Database, span: Span = ALL, guild_id: int = HERE, limit: int = 1000) -> list[JobLine]:
    async with (
        database.read() as connection,
        aclosing(usage_stats.lines(connection, guild_id, span, limit)) as chunks,
    ):
        return [line async for chunk in chunks for line in chunk]


async def running(
    store: JobStore, at: datetime = NOW, *, user_id: int = 1, guild_id: int = HERE, queued_s: float = 0
) -> Job:
    """A job asked for at that moment, and handed in after so many seconds."""
    job = await add_waiting(store, at, user_id=user_id, guild_id=guild_id)
    start = at + timedelta(seconds=queued_s)
    submitting = await next_job(store, start)
    assert submitting is not None
    assert submitting.id == job.id
    facts = JobUpdate(upstream_id=f"task-{job.id}", submitted_at=start)
    assert await store.apply(submitting, MoveTo(JobState.RUNNING, facts), start)
    return await claim(store, job.id, start)


async def delivered(
    store: JobStore,
    at: datetime = NOW,
    *,
    user_id: int = 1,
    guild_id: int = HERE,
    queued_s: float = 0,
    total_s: float = 60,
    cost: str | None = "0.15",
) -> Job:
    job = await running(store, at, user_id=user_id, guild_id=guild_id, queued_s=queued_s)
    end = at + timedelta(seconds=total_s)
    facts = JobUpdate(cost_usd=None if cost is None else Decimal(cost))
    assert await store.apply(job, MoveTo(JobState.DELIVERING, facts), end)
    assert await store.apply(await claim(store, job.id, end), MoveTo(JobState.DELIVERED), end)
    return job


async def failed(
    store: JobStore, at: datetime = NOW, reason: FailureReason = FailureReason.TIMED_OUT, **more: int
) -> Job:
    job = await running(store, at, **more)
    assert await store.apply(job, Fail(reason, DETAIL), at)
    return job


async def test_a_server_without_jobs_has_empty_figures(database: Database) -> None:
    found = await figures(database)

    assert found.is_empty
    assert found.videos == VideoCounts()
    assert found.in_queue is None
    assert found.to_video is None
    assert found.success is None
    assert [day.day for day in found.days] == [TODAY]


async def test_videos_are_counted_by_how_they_ended(store: JobStore, database: Database) -> None:
    await delivered(store)
    await delivered(store)
    await failed(store)
    await store.cancel((await add_waiting(store)).id, NOW, even_if_paid=False)
    await running(store)
    await add_waiting(store)

    found = await figures(database)

    assert found.videos == VideoCounts(delivered=2, failed=1, cancelled=1, in_progress=2)
    assert found.videos.ordered == 6
    assert found.success == pytest.approx(2 / 3)


async def test_failures_are_counted_by_reason(store: JobStore, database: Database) -> None:
    for reason in (FailureReason.TIMED_OUT, FailureReason.TIMED_OUT, FailureReason.UNDELIVERABLE):
        await failed(store, reason=reason)

    found = await figures(database)

    assert found.failures == {FailureReason.TIMED_OUT: 2, FailureReason.UNDELIVERABLE: 1}


@pytest.mark.parametrize("reason", [FailureReason.DECLINED, FailureReason.EXPIRED])
async def test_what_no_moderator_let_through_says_nothing_of_success(
    store: JobStore, database: Database, reason: FailureReason
) -> None:
    await delivered(store)
    await failed(store, reason=reason)

    assert (await figures(database)).success == 1


async def test_a_video_belongs_to_the_day_of_utc_it_was_asked_for(store: JobStore, database: Database) -> None:
    midnight = datetime(2026, 1, 31, tzinfo=UTC)
    await delivered(store, midnight - timedelta(microseconds=1), total_s=600, cost="0.10")
    await delivered(store, midnight, cost="0.25")

    found = await figures(database)

    assert [(day.day, day.videos.delivered, day.usd) for day in found.days] == [
        (date(2026, 1, 30), 1, Decimal("0.10")),
        (date(2026, 1, 31), 1, Decimal("0.25")),
    ]


async def test_a_span_holds_its_first_and_its_last_day_and_nothing_beside(
    store: JobStore, database: Database
) -> None:
    for days in (3, 2, 1, 0):
        await delivered(store, NOW - days * DAY, cost="0.10")
    span = Span(TODAY - 2 * DAY, TODAY - DAY)

    found = await figures(database, span)

    assert [day.day for day in found.days] == [TODAY - 2 * DAY, TODAY - DAY]
    assert found.videos.ordered == 2
    assert found.usd == Decimal("0.20")
    assert len(await lines(database, span)) == 2


async def test_days_without_a_video_are_there_too(store: JobStore, database: Database) -> None:
    await delivered(store, NOW - 3 * DAY)
    await delivered(store)

    found = await figures(database)

    assert [day.videos.ordered for day in found.days] == [1, 0, 0, 1]


async def test_what_is_paid_and_what_is_only_reserved_are_told_apart(store: JobStore, database: Database) -> None:
    await delivered(store, cost="0.15")
    open_job = await running(store)
    await failed(store)

    found = await figures(database)

    assert open_job.estimated_cost_usd is not None
    assert found.reserved_usd == open_job.estimated_cost_usd
    assert found.usd == Decimal("0.15") + open_job.estimated_cost_usd


async def test_a_cost_that_is_known_is_reserved_no_more_though_the_job_goes_on(
    store: JobStore, database: Database
) -> None:
    job = await running(store)
    assert await store.apply(job, MoveTo(JobState.DELIVERING, JobUpdate(cost_usd=Decimal("0.15"))), NOW)

    found = await figures(database)

    assert (found.usd, found.reserved_usd) == (Decimal("0.15"), Decimal(0))


async def test_nothing_is_reserved_for_what_is_over(store: JobStore, database: Database) -> None:
    job = await delivered(store, cost=None)

    found = await figures(database)

    assert (found.usd, found.reserved_usd) == (job.estimated_cost_usd, Decimal(0))


async def test_the_days_come_to_what_the_budgets_see(store: JobStore, database: Database) -> None:
    await delivered(store, NOW - DAY, cost=None)
    await delivered(store, cost="0.123456789")
    await running(store)

    found = await figures(database)

    async with database.read() as connection:
        spent = await ledger.spent(connection, HERE, NOW)
    assert found.days[-1].usd == spent.usd_today
    assert found.usd == spent.usd_month


async def test_members_are_counted_once_and_the_busiest_come_first(store: JobStore, database: Database) -> None:
    for user_id, count in ((7, 1), (8, 3), (9, 2)):
        for _ in range(count):
            await delivered(store, user_id=user_id, cost="0.10")
    await failed(store, user_id=7)
    await failed(store, user_id=7)
    await failed(store, user_id=7)

    found = await figures(database)

    assert found.members == 3
    assert [(use.user_id, use.ordered, use.delivered, use.usd) for use in found.top] == [
        (7, 4, 1, Decimal("0.1")),
        (8, 3, 3, Decimal("0.3")),
        (9, 2, 2, Decimal("0.2")),
    ]


async def test_no_more_than_five_members_are_named(store: JobStore, database: Database) -> None:
    for user_id in range(1, 8):
        await add_waiting(store, user_id=user_id)

    found = await figures(database)

    assert found.members == 7
    assert len(found.top) == 5


async def test_waits_are_the_median_and_the_95th_percentile(store: JobStore, database: Database) -> None:
    for seconds in range(20, 0, -1):
        at = NOW - MINUTE * seconds
        await delivered(store, at, queued_s=seconds, total_s=60 * seconds)

    found = await figures(database)

    assert found.in_queue is not None
    assert (found.in_queue.median_s, found.in_queue.p95_s) == pytest.approx((10, 19), abs=0.01)
    assert found.to_video is not None
    assert (found.to_video.median_s, found.to_video.p95_s) == pytest.approx((600, 1140), abs=0.01)


async def test_a_failed_video_has_no_time_to_its_video(store: JobStore, database: Database) -> None:
    await failed(store)

    found = await figures(database)

    assert found.in_queue is not None
    assert found.to_video is None


async def test_another_servers_jobs_members_and_money_are_not_seen(store: JobStore, database: Database) -> None:
    await delivered(store, guild_id=HERE, user_id=1, cost="0.10", total_s=30)
    await delivered(store, guild_id=ELSEWHERE, user_id=1, cost="5", total_s=3000)
    await failed(store, guild_id=ELSEWHERE, user_id=2)
    await running(store, guild_id=ELSEWHERE, user_id=3)

    found = await figures(database, guild_id=HERE)

    assert found.videos == VideoCounts(delivered=1)
    assert found.failures == {}
    assert found.members == 1
    assert [(use.user_id, use.usd) for use in found.top] == [(1, Decimal("0.1"))]
    assert found.usd == Decimal("0.1")
    assert found.reserved_usd == 0
    assert found.to_video is not None
    assert found.to_video.p95_s == pytest.approx(30, abs=0.01)
    assert len(await lines(database, guild_id=HERE)) == 1


async def test_an_erased_members_videos_count_but_are_nobodys(store: JobStore, database: Database) -> None:
    await delivered(store, user_id=0)
    await delivered(store, user_id=1)

    found = await figures(database)

    assert found.videos.ordered == 2
    assert found.members == 1
    assert [use.user_id for use in found.top] == [1]


async def test_a_line_says_all_of_a_job(store: JobStore, database: Database) -> None:
    job = await delivered(store, user_id=5, queued_s=2.5, total_s=61.5, cost="0.1234")

    (line,) = await lines(database)

    assert (line.id, line.user_id, line.state, line.failure) == (job.id, 5, JobState.DELIVERED, None)
    assert line.created_at == NOW
    assert line.in_queue_s == pytest.approx(2.5, abs=0.01)
    assert line.to_video_s == pytest.approx(61.5, abs=0.01)
    assert line.reserved_usd == job.estimated_cost_usd
    assert line.usd == Decimal("0.1234")


async def test_a_line_of_a_job_that_failed_free_comes_to_nothing(store: JobStore, database: Database) -> None:
    await failed(store)

    (line,) = await lines(database)

    assert (line.state, line.failure, line.usd) == (JobState.FAILED, FailureReason.TIMED_OUT, Decimal(0))
    assert line.to_video_s is None


async def test_lines_come_newest_first_and_no_more_than_asked_for(store: JobStore, database: Database) -> None:
    jobs = [await add_waiting(store, NOW - number * DAY) for number in range(4)]

    found = await lines(database, limit=3)

    assert [line.id for line in found] == [job.id for job in jobs[:3]]
