"""What the operator's page reads, on both databases."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import update

from bot.domain.job_history import Happened, history
from bot.domain.jobs import FailureReason, JobState
from bot.domain.outcomes import Fail, JobUpdate, MoveTo
from bot.domain.task_durations import Remaining
from bot.operations.process_name import process_name
from bot.services.operator.cost_history import DAYS, CostHistoryService
from bot.services.operator.page import OperatorPageService
from bot.services.operator.service import Operator, OperatorService
from bot.store.engine import Database
from bot.store.jobs.lease_holders import LeaseHolder, holder_of, lease_holders, new_token
from bot.store.operator_reports import JobTotal
from bot.store.schema import jobs
from tests.providers_asked import DASHSCOPE, VTRIX, takes, vtrix
from tests.store.factories import DETAIL, LEASES, MINUTE, NOW, SECOND, add, add_waiting
from tests.store.operator.conftest import DEFAULTS, OperatorHarness


@pytest.fixture
def page(database: Database, harness: OperatorHarness) -> OperatorPageService:
    usual = Remaining(p50_s=60, p90_s=120)
    return OperatorPageService(database, DEFAULTS, vtrix(5), lambda *_: usual, lambda: harness.now)


async def test_the_overview_counts_all_servers_jobs(page: OperatorPageService, harness: OperatorHarness) -> None:
    await harness.add_running_job(guild_id=20)
    for guild_id in (10, 10, 30):
        await add_waiting(harness.store, guild_id=guild_id)
    harness.now += 2 * MINUTE + SECOND

    view = await page.overview()

    assert {state: total.jobs for state, total in view.states.items()} == {JobState.RUNNING: 1, JobState.QUEUED: 3}
    assert view.states[JobState.QUEUED].oldest_at == NOW
    assert [(one.guild_id, one.jobs) for one in view.servers] == [(10, 2), (20, 1), (30, 1)]
    assert (view.late, len(view.next_jobs), view.reserved) == (1, 3, Decimal("0.80"))
    [provider] = view.providers
    assert (provider.provider, provider.taken, provider.slots) == (VTRIX, 1, 5)


async def test_a_provider_that_is_not_asked_any_more_is_shown_while_anything_of_it_remains(
    database: Database, harness: OperatorHarness
) -> None:
    only_dashscope = replace(DEFAULTS, catalog=replace(DEFAULTS.catalog, providers=(DASHSCOPE,)))
    later = OperatorPageService(database, only_dashscope, [takes(DASHSCOPE)], lambda *_: None, lambda: harness.now)
    assert [one.provider for one in (await later.overview()).providers] == [DASHSCOPE]

    await harness.add_running_job()
    await harness.add_lost_job()

    [asked, former] = (await later.overview()).providers
    assert (asked.provider, asked.gate is None) == (DASHSCOPE, False)
    assert (former.provider, former.gate, former.taken, former.slots) == (VTRIX, None, 1, 0)
    assert former.held == JobTotal(1, Decimal("0.20"))
    assert former.spent.usd_month == Decimal("0.40")
    service = OperatorService(
        database, only_dashscope, guild_id=1, user_ids=(900,), wake=lambda: None, clock=lambda: harness.now
    )
    assert (await service.gate()).former == {VTRIX: 1}
    assert (await harness.service.gate()).former == {}
    harness.now += timedelta(days=31)
    [_, former] = (await later.overview()).providers
    assert (former.taken, former.spent.usd_month) == (1, Decimal(0))


async def test_a_task_is_late_after_its_p90(page: OperatorPageService, harness: OperatorHarness) -> None:
    job = await harness.add_running_job()
    harness.now += 2 * MINUTE
    assert (await page.in_progress(JobState.RUNNING, late_only=True)).total == 0

    harness.now += SECOND
    [line] = (await page.in_progress(JobState.RUNNING, late_only=True)).lines

    assert (line.job.id, line.is_late, line.age_s) == (job.id, True, 121)


async def test_a_worker_is_seen_with_what_it_holds(database: Database, harness: OperatorHarness) -> None:
    await harness.add_running_job()
    await add(harness.store)
    await harness.store.claim_due(NOW, 5, LEASES)
    async with database.read() as connection:
        [worker] = [one for one in await lease_holders(connection) if one.name == process_name()]

    assert worker.leases == {JobState.RUNNING: 1, JobState.QUEUED: 1}
    assert worker.lease_until == NOW + MINUTE
    is_sqlite = database.file is not None
    assert (worker.seen_at is None) is (worker.connected_since is None) is is_sqlite


async def test_a_dead_workers_leases_are_seen_without_it(database: Database, harness: OperatorHarness) -> None:
    job = await harness.add_running_job()
    async with database.write() as connection:
        dead = {"lease_token": "gone-host:7~token", "lease_until": NOW - SECOND, "due_at": NOW - MINUTE}
        await connection.execute(update(jobs).where(jobs.c.id == job.id).values(dead))
    async with database.read() as connection:
        found = await lease_holders(connection)
    gone = LeaseHolder("gone-host:7", None, None, {JobState.RUNNING: 1}, NOW - SECOND)
    assert gone in found


def test_a_token_names_its_process_and_differs_each_time() -> None:
    assert holder_of(new_token()) == process_name()
    assert new_token() != new_token()
    assert holder_of("a-token-of-before") is None
    assert holder_of(None) is None


async def test_failures_of_all_servers_come_newest_first(
    page: OperatorPageService, harness: OperatorHarness
) -> None:
    failed = []
    for guild_id in (10, 20, 10):
        job = await harness.add_running_job(guild_id=guild_id)
        harness.now += MINUTE
        assert await harness.store.apply(job, Fail(FailureReason.TIMED_OUT, DETAIL), harness.now)
        failed.append(job.id)

    found = await page.failures()

    assert [line.job.id for line in found.lines] == failed[::-1]
    assert not found.has_next


async def test_a_jobs_record_tells_its_past_in_order(page: OperatorPageService, harness: OperatorHarness) -> None:
    lost = await harness.add_lost_job()
    harness.now += MINUTE
    await harness.service.task_lost(Operator(900), lost.id)

    record = await page.job(lost.id)

    assert record is not None
    events = [event.what for event in history(record)]
    assert events[0] is Happened.ORDERED
    assert Happened.GIVEN in events
    assert [action.change.action.value for action in record.actions] == ["task_lost"]
    assert record.entries[0].reason == "accepted"
    assert [event.at for event in history(record)] == sorted(event.at for event in history(record))
    assert await page.job("unknown") is None


async def test_a_pending_notification_about_a_job_is_part_of_its_record(
    page: OperatorPageService, harness: OperatorHarness
) -> None:
    lost, other = await harness.add_lost_job(), await harness.add_lost_job()
    for job in (lost, other):
        record = await page.job(job.id)
        assert record is not None
        assert [notification.kind for notification in record.notifications] == ["task_unresolved"]


async def test_costs_are_told_by_day_and_provider(database: Database, harness: OperatorHarness) -> None:
    harness.now -= timedelta(days=1)
    job = await harness.add_running_job()
    outcome = MoveTo(JobState.DELIVERING, JobUpdate(cost_usd=Decimal("0.45")))
    assert await harness.store.apply(job, outcome, harness.now)
    harness.now += timedelta(days=1)
    await add(harness.store, harness.now)

    found = await CostHistoryService(database, DEFAULTS, lambda: harness.now).history()

    assert len(found.days) == DAYS
    *_, yesterday, today = found.days
    assert (yesterday.videos, yesterday.usd, yesterday.by_provider) == (
        1,
        Decimal("0.45"),
        {VTRIX: Decimal("0.45")},
    )
    assert (today.day, today.usd, today.by_provider) == (NOW.date(), Decimal("0.20"), {})
    assert found.usd_per_day == Decimal(10)
