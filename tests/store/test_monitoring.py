"""What monitoring reads of the database, on both databases."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from bot.chat.messages.notification_texts import render
from bot.domain.guilds import Budget, OperatorState
from bot.domain.jobs import FailureReason, JobState
from bot.domain.notifications import Announcement
from bot.domain.outcomes import Fail
from bot.domain.quotas import Spent
from bot.store import operator_reports
from bot.store.engine import Database
from bot.store.jobs import submission_gate
from bot.store.jobs.due import DueFor
from bot.store.jobs.job_store import JobStore
from bot.store.monitoring import Figures, JobsInProgress, MonitoringStore
from bot.store.operator_reports import JobTotal
from bot.store.outbox import notifications
from bot.store.outbox.notifications import NotificationStore
from tests.providers_asked import BOTH, DASHSCOPE, TWO_PROVIDERS, VTRIX
from tests.store.factories import DETAIL, MINUTE, NOW, SECOND, UNLIMITED, add, add_waiting, bring_to, next_job

DEFAULTS = replace(
    UNLIMITED,
    catalog=TWO_PROVIDERS,
    budget=Budget(Decimal(10), Decimal(100)),
    provider_budgets={DASHSCOPE: Budget(Decimal(5), None)},
)


async def figures(database: Database, after: timedelta = timedelta(0)) -> Figures:
    limits = [replace(each, budget=DEFAULTS.provider_budgets.get(each.provider, Budget())) for each in BOTH]
    return await MonitoringStore(database, DEFAULTS, limits, lambda: NOW + after).figures()


async def test_a_new_database_has_nothing_to_report(database: Database) -> None:
    found = await figures(database)
    assert found.in_progress == []
    assert found.overdue == {DueFor.POLL: timedelta(0), DueFor.STAGE: timedelta(0)}
    assert list(found.providers) == [VTRIX, DASHSCOPE]
    assert (found.unknown_costs, found.notifications) == (JobTotal(0, Decimal(0)), 0)
    assert found.oldest_notification == timedelta(0)
    assert (found.spent, found.budget) == (Spent(), DEFAULTS.budget)
    assert (found.queue_limit, found.is_draining) == (DEFAULTS.max_queued, False)


async def test_jobs_are_counted_by_state_and_provider_with_the_age_of_the_oldest(
    database: Database, store: JobStore
) -> None:
    await bring_to(store, JobState.DELIVERED, NOW)
    for later in (0, 1):
        await bring_to(store, JobState.RUNNING, NOW + later * MINUTE)
    for later in (1, 2):
        await add_waiting(store, NOW + later * MINUTE)
    found = await figures(database, 3 * MINUTE)
    by_state = {each.state: each for each in found.in_progress}
    assert set(by_state) == {JobState.QUEUED, JobState.RUNNING}
    assert by_state[JobState.QUEUED] == JobsInProgress(JobState.QUEUED, None, 2, 0, 2 * MINUTE)
    running = by_state[JobState.RUNNING]
    assert (running.provider, running.jobs, running.oldest) == (VTRIX, 2, 3 * MINUTE)
    assert (found.providers[VTRIX].slots_used, found.providers[DASHSCOPE].slots_used) == (2, 0)
    assert found.providers[VTRIX].slots == BOTH[0].max_running


async def test_jobs_under_a_lease_are_counted_until_it_ends(database: Database, store: JobStore) -> None:
    await add_waiting(store, NOW)
    assert await next_job(store, NOW)
    [submitting] = (await figures(database, MINUTE - SECOND)).in_progress
    assert (submitting.state, submitting.jobs, submitting.leased) == (JobState.SUBMITTING, 1, 1)
    [submitting] = (await figures(database, MINUTE + SECOND)).in_progress
    assert submitting.leased == 0


async def test_a_job_that_no_worker_takes_is_overdue(database: Database, store: JobStore) -> None:
    await add(store, NOW)
    assert (await figures(database, 5 * MINUTE)).overdue == {DueFor.STAGE: 5 * MINUTE, DueFor.POLL: timedelta(0)}


async def test_a_closed_gate_is_reported_until_it_opens(database: Database) -> None:
    async with database.write() as connection:
        await submission_gate.close(connection, VTRIX, NOW + MINUTE, "no balance", NOW)
    closed = (await figures(database)).providers[VTRIX]
    assert (closed.is_closed, closed.gate.opens_at, closed.gate.failures) == (True, NOW + MINUTE, 1)
    assert not (await figures(database, 2 * MINUTE)).providers[VTRIX].is_closed


async def test_budgets_are_those_that_commands_set_and_spending_counts_reservations(
    database: Database, store: JobStore
) -> None:
    await bring_to(store, JobState.RUNNING, NOW)
    async with database.write() as connection:
        changed = OperatorState(draining=True, budget=Budget(Decimal(3), None), max_queued=7)
        await operator_reports.write_operator_state(connection, changed)
    found = await figures(database)
    assert found.budget == Budget(Decimal(3), Decimal(100))
    assert (found.queue_limit, found.is_draining) == (7, True)
    assert found.spent.usd_today == found.spent.usd_month == found.providers[VTRIX].spent.usd_today > 0
    assert found.providers[DASHSCOPE].budget == Budget(Decimal(5), None)
    limits = MonitoringStore(database, DEFAULTS, BOTH, lambda: NOW)
    assert await limits.budget() == found.budget


async def test_unknown_costs_and_due_notifications_are_counted(database: Database, store: JobStore) -> None:
    await add_waiting(store, NOW)
    job = await next_job(store, NOW)
    assert job is not None
    assert await store.apply(job, Fail(FailureReason.OUTCOME_UNKNOWN, DETAIL), NOW)
    async with database.write() as connection:
        await notifications.post(connection, 10, Announcement("hello"), NOW)
    found = await figures(database, MINUTE)
    assert found.unknown_costs.jobs == 1
    assert found.unknown_costs.usd > 0
    assert (found.notifications, found.oldest_notification) == (1, MINUTE)


async def test_a_notification_that_waits_for_another_try_is_not_due_and_grows_older(database: Database) -> None:
    store = NotificationStore(database, render)
    async with database.write() as connection:
        await notifications.post(connection, notifications.TO_OPERATOR, Announcement("hello"), NOW)
    [batch] = await store.claim(NOW, 5, MINUTE)
    await store.reschedule(batch, NOW + 15 * MINUTE)
    found = await figures(database, 10 * MINUTE)
    assert (found.notifications, found.oldest_notification) == (0, 10 * MINUTE)

    [batch] = await store.claim(NOW + 15 * MINUTE, 5, MINUTE)
    await store.done(batch)
    assert (await figures(database, 16 * MINUTE)).oldest_notification == timedelta(0)


async def test_the_ping_and_the_gates_answer(database: Database) -> None:
    monitoring = MonitoringStore(database, DEFAULTS, BOTH, lambda: NOW)
    await monitoring.ping()
    assert list(await monitoring.gates()) == [VTRIX, DASHSCOPE]
