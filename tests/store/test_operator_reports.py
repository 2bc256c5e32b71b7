"""The operator's reports and commands, on both databases."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from bot.chat.messages.audit_texts import phrase
from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind
from bot.domain.errors import NotPossible, QuotaRefused, RuleRefused
from bot.domain.guilds import Access, Budget, Guild, GuildSettings, LimitOverrides, OperatorDefaults, OperatorState
from bot.domain.jobs import (
    Fail,
    FailureCause,
    FailureDetail,
    FailureReason,
    Job,
    JobState,
    JobUpdate,
    MoveTo,
    Resolution,
)
from bot.domain.ledger import EntryKind
from bot.services.operator.service import Operator, OperatorService
from bot.store.engine import Database
from bot.store.guilds import audit_log, guild_settings
from bot.store.jobs.job_store import JobStore
from bot.store.money import ledger as ledger_store
from bot.store.operator_reports import GuildUsage, JobTotal
from bot.store.schema import EVERYWHERE, jobs
from tests.store.factories import (
    DETAIL,
    MINUTE,
    NOW,
    add,
    add_waiting,
    claim,
    entries,
    next_job,
    notified,
    notified_texts,
    read,
)

OPERATOR = Operator(900)
DEFAULTS = OperatorDefaults(
    limits=LimitOverrides(videos_per_window=10_000, max_active=10_000, cooldown_s=0),
    budget=Budget(Decimal(10), Decimal(100)),
    guild_budget=Budget(Decimal(5), None),
)


@dataclass
class OperatorHarness:
    """The operator's service and a store with the same defaults; `woken` counts wake-ups of the worker."""

    database: Database
    now: datetime = NOW
    woken: list[None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = JobStore(self.database, DEFAULTS)
        wake: Callable[[], None] = lambda: self.woken.append(None)  # noqa: E731
        self.service = OperatorService(
            self.database, DEFAULTS, guild_id=1, user_ids=(900,), wake=wake, clock=lambda: self.now
        )

    async def add_lost_job(self, **whose: Any) -> Job:
        """Adds a job whose submission was never answered."""
        await add_waiting(self.store, self.now, **whose)
        job = await next_job(self.store, self.now)
        assert job is not None
        assert await self.store.apply(job, Fail(FailureReason.OUTCOME_UNKNOWN, DETAIL), self.now)
        return await read(self.store, job)

    async def add_running_job(self, *, task: str = "task-1", **whose: Any) -> Job:
        """Adds a job whose task is running."""
        await add_waiting(self.store, self.now, **whose)
        job = await next_job(self.store, self.now)
        assert job is not None
        facts = JobUpdate(upstream_id=task, submitted_at=self.now)
        assert await self.store.apply(job, MoveTo(JobState.RUNNING, facts), self.now)
        return await claim(self.store, job.id, self.now)

    async def finish_task(self, job: Job, usd: str) -> None:
        """Finishes the job's task, at this cost."""
        outcome = MoveTo(JobState.DELIVERING, JobUpdate(cost_usd=Decimal(usd)))
        assert await self.store.apply(job, outcome, self.now)

    async def audit_log(self, guild_id: int) -> list[AuditEntry]:
        async with self.database.read() as connection:
            return await audit_log.latest(connection, guild_id, 10)

    async def notification_texts(self, guild_id: int) -> list[str]:
        return await notified_texts(self.database, guild_id)


@pytest.fixture
def harness(database: Database) -> OperatorHarness:
    return OperatorHarness(database)


async def test_servers_are_listed_with_their_usage_most_expensive_first(harness: OperatorHarness) -> None:
    await add(harness.store, NOW, guild_id=20)
    await add(harness.store, NOW, guild_id=20)
    await harness.finish_task(await harness.add_running_job(guild_id=10), "0.90")

    [ten, twenty, quiet] = await harness.service.servers([10, 20, 30])

    assert (ten.guild.id, ten.videos_today, ten.usd_today, ten.active) == (10, 1, Decimal("0.9"), 1)
    assert (twenty.guild.id, twenty.videos_month, twenty.usd_month, twenty.asked) == (20, 2, Decimal("0.4"), 2)
    assert quiet == GuildUsage(Guild(30))


async def test_yesterday_counts_in_the_month_only_and_last_month_not_at_all(harness: OperatorHarness) -> None:
    await add(harness.store, NOW, guild_id=10)
    await add(harness.store, NOW - timedelta(days=1), guild_id=10)
    await add(harness.store, NOW - timedelta(days=31), guild_id=10)

    [use] = await harness.service.servers()

    assert (use.videos_today, use.usd_today) == (1, Decimal("0.2"))
    assert (use.videos_month, use.usd_month, use.asked) == (2, Decimal("0.4"), 2)


async def test_failures_are_counted_and_only_what_may_be_billed_is_spent(harness: OperatorHarness) -> None:
    await harness.add_lost_job(guild_id=10)
    running = await harness.add_running_job(guild_id=10)
    assert await harness.store.apply(running, Fail(FailureReason.UPSTREAM_FAILED, DETAIL), harness.now)

    [use] = await harness.service.servers()

    held = Decimal("0.2")
    assert use == GuildUsage(Guild(10), usd_today=held, usd_month=held, asked=2, failed=2)


async def test_the_operators_totals_equal_the_sum_over_all_servers(harness: OperatorHarness) -> None:
    for guild_id in (10, 20, 20, 30):
        await add(harness.store, NOW, guild_id=guild_id)

    report, uses = await harness.service.overview(), await harness.service.servers()

    assert report.spent.usd_today == sum(use.usd_today for use in uses) == Decimal("0.8")
    assert (report.waiting, report.left) == (4, 4)


async def test_a_budget_set_by_command_overrides_the_setting_until_it_is_reset(harness: OperatorHarness) -> None:
    await harness.service.set_budgets(OPERATOR, usd_per_day="0.30")
    await add(harness.store, NOW)
    with pytest.raises(QuotaRefused):
        await add(harness.store, NOW)

    budget, queue = await harness.service.set_budgets(OPERATOR, usd_per_day="setting")

    assert phrase(budget) == "changed the budget for all servers: $0.30 → $10.00 (default) per day"
    assert not queue.change.is_change
    await add(harness.store, NOW)


async def test_a_queue_limit_set_by_command_applies(harness: OperatorHarness) -> None:
    await harness.service.set_budgets(OPERATOR, queue_max="1")
    await add(harness.store, NOW)
    with pytest.raises(QuotaRefused):
        await add(harness.store, NOW, guild_id=20)


async def test_a_budget_for_one_server_applies_to_that_server_only(harness: OperatorHarness) -> None:
    await harness.service.set_budgets(OPERATOR, 10, usd_per_day="0.10")

    with pytest.raises(QuotaRefused):
        await add(harness.store, NOW, guild_id=10)
    await add(harness.store, NOW, guild_id=20)
    assert (await harness.service.server(10)).guild.budget == Budget(Decimal("0.1"), None)


async def test_the_operators_budget_does_not_change_the_admins_own_budget(harness: OperatorHarness) -> None:
    async with harness.database.write() as connection:
        own = GuildSettings(budget=Budget(Decimal(2), Decimal(3)), paused=True)
        await guild_settings.write(connection, 10, guild_settings.settings_columns(own))

    await harness.service.set_budgets(OPERATOR, 10, usd_per_day="7", usd_per_month="8")
    await harness.service.set_access(OPERATOR, 10, Access.ALLOWED)

    guild = (await harness.service.server(10)).guild
    assert guild.settings == own
    assert (guild.budget, guild.access) == (Budget(Decimal(7), Decimal(8)), Access.ALLOWED)


async def test_a_change_with_one_malformed_value_changes_nothing(harness: OperatorHarness) -> None:
    with pytest.raises(NotPossible):
        await harness.service.set_budgets(OPERATOR, usd_per_day="1", usd_per_month="a lot")

    assert (await harness.service.overview()).state.budget == Budget()
    assert await harness.service.audit_log() == []


async def test_a_change_for_a_server_is_in_its_audit_log_without_the_operators_name(
    harness: OperatorHarness,
) -> None:
    async with harness.database.write() as connection:
        await guild_settings.write(
            connection, 10, guild_settings.settings_columns(GuildSettings(log_channel_id=77))
        )

    await harness.service.set_access(OPERATOR, 10, Access.BLOCKED)

    [theirs], [ours] = await harness.audit_log(10), await harness.audit_log(EVERYWHERE)
    change = AuditedChange(Action.ACCESS_SET, TargetKind.SERVER, "10", {"access": "open"}, {"access": "blocked"})
    assert (theirs.actor_id, theirs.change) == (None, change)
    assert (ours.actor_id, ours.change) == (900, change)
    assert not any("900" in text for text in await harness.notification_texts(10))
    assert len(await harness.notification_texts(10)) == 1
    assert "<@900>" in (await harness.notification_texts(EVERYWHERE))[-1]


async def test_setting_the_current_value_is_not_a_change(harness: OperatorHarness) -> None:
    await harness.service.set_access(OPERATOR, 10, Access.OPEN)
    await harness.service.drain(OPERATOR, on=False)

    assert await harness.service.audit_log() == []
    assert await harness.notification_texts(EVERYWHERE) == []


async def test_blocking_a_server_cancels_only_its_waiting_jobs(harness: OperatorHarness) -> None:
    running = await harness.add_running_job(guild_id=10)
    waiting = await add(harness.store, NOW, guild_id=10)
    elsewhere = await add(harness.store, NOW, guild_id=20)

    entry, cancelled = await harness.service.set_access(OPERATOR, 10, Access.BLOCKED)

    assert (entry.change.after, cancelled) == ({"access": "blocked"}, 1)
    assert (await read(harness.store, waiting)).state is JobState.CANCELLED
    assert (await read(harness.store, running)).state is JobState.RUNNING
    assert (await read(harness.store, elsewhere)).state is JobState.QUEUED
    assert harness.woken
    with pytest.raises(RuleRefused):
        await add(harness.store, NOW, guild_id=10)


async def test_a_job_cancelled_by_blocking_stores_its_cause_and_the_operator_as_the_ledger_actor(
    harness: OperatorHarness,
) -> None:
    waiting = await add(harness.store, NOW, guild_id=10)

    await harness.service.set_access(OPERATOR, 10, Access.BLOCKED)

    detail = (await read(harness.store, waiting)).failure_detail
    assert detail == FailureDetail(FailureCause.SERVER_BLOCKED)
    assert [row.actor_id for row in await entries(harness.store, waiting)] == [1, OPERATOR.user_id]


async def test_a_lost_job_of_an_erased_member_can_only_be_marked_lost(harness: OperatorHarness) -> None:
    job = await harness.add_lost_job()
    async with harness.database.write() as connection:
        await connection.execute(jobs.update().where(jobs.c.id == job.id).values(user_id=EVERYWHERE))

    with pytest.raises(NotPossible, match="ERASED"):
        await harness.service.task_found(OPERATOR, job.id, "task-found")
    await harness.service.task_lost(OPERATOR, job.id)


async def test_blocking_again_cancels_jobs_that_an_interrupted_block_left(harness: OperatorHarness) -> None:
    waiting = await add(harness.store, NOW, guild_id=10)
    async with harness.database.write() as connection:  # all that the process did before it died
        await guild_settings.write(connection, 10, {"access": Access.BLOCKED})

    _, cancelled = await harness.service.set_access(OPERATOR, 10, Access.BLOCKED)

    assert cancelled == 1
    assert (await read(harness.store, waiting)).charged is False


async def test_while_draining_orders_are_refused_and_waiting_jobs_continue(harness: OperatorHarness) -> None:
    waiting = await add_waiting(harness.store, NOW)
    await harness.service.drain(OPERATOR, on=True)

    with pytest.raises(RuleRefused):
        await add(harness.store, NOW)
    job = await next_job(harness.store, NOW)
    assert job is not None
    assert job.id == waiting.id
    report = await harness.service.overview()
    assert (report.state.draining, report.left, report.waiting) == (True, 1, 0)


async def test_no_order_is_accepted_once_draining_is_committed(harness: OperatorHarness) -> None:
    """Every accepted order was accepted before the change was committed."""

    async def order() -> bool:
        try:
            await add(harness.store, NOW)
        except RuleRefused:
            return False
        return True

    *orders, _ = await asyncio.gather(*(order() for _ in range(10)), harness.service.drain(OPERATOR, on=True))

    assert (await harness.service.overview()).left == sum(bool(accepted) for accepted in orders)
    assert not await order()


async def test_simultaneous_changes_do_not_undo_each_other(harness: OperatorHarness) -> None:
    for round_ in range(1, 6):
        await asyncio.gather(
            harness.service.set_budgets(OPERATOR, usd_per_day=f"{round_}"),
            harness.service.set_budgets(OPERATOR, usd_per_month=f"{10 * round_}"),
            harness.service.set_budgets(OPERATOR, queue_max=f"{round_}"),
            harness.service.drain(OPERATOR, on=round_ % 2 == 1),
        )

        state = (await harness.service.overview()).state
        assert state == OperatorState(round_ % 2 == 1, Budget(Decimal(round_), Decimal(10 * round_)), round_)


async def test_a_job_with_a_found_task_continues_uncharged_and_its_cost_counts_as_spent(
    harness: OperatorHarness,
) -> None:
    job = await harness.add_lost_job()
    assert [it.id for it in await harness.service.unreconciled()] == [job.id]

    resumed = await harness.service.task_found(OPERATOR, job.id, " task-found ")

    assert (resumed.state, resumed.upstream_id, resumed.charged) == (JobState.RUNNING, "task-found", False)
    assert resumed.due_at is not None
    assert resumed.due_at <= harness.now
    assert await harness.service.unreconciled() == []
    await harness.finish_task(await claim(harness.store, job.id), "0.33")
    assert (await harness.service.overview()).spent.usd_today == Decimal("0.33")
    _, entries = await harness.service.ledger(job.id)
    assert sum(entry.amounts.videos for entry in entries) == 0
    [entry] = [it for it in await harness.audit_log(EVERYWHERE) if it.change.action is Action.TASK_FOUND]
    assert entry.actor_id == OPERATOR.user_id


async def test_two_jobs_never_get_the_same_task(harness: OperatorHarness) -> None:
    await harness.add_running_job(task="task-1")
    first, second = await harness.add_lost_job(), await harness.add_lost_job()

    with pytest.raises(NotPossible, match="TASK_TAKEN"):
        await harness.service.task_found(OPERATOR, first.id, "task-1")
    await harness.service.task_found(OPERATOR, first.id, "task-2")
    with pytest.raises(NotPossible, match="TASK_TAKEN"):
        await harness.service.task_found(OPERATOR, second.id, "task-2")

    assert [it.id for it in await harness.service.unreconciled()] == [second.id]
    assert len(await harness.service.audit_log()) == 1


async def test_a_reconciled_job_cannot_be_reconciled_again(harness: OperatorHarness) -> None:
    job = await harness.add_lost_job()
    await harness.service.task_found(OPERATOR, job.id, "task-1")

    with pytest.raises(NotPossible, match="NOT_FAILED"):
        await harness.service.task_found(OPERATOR, job.id, "task-2")
    with pytest.raises(NotPossible):
        await harness.service.task_lost(OPERATOR, job.id)


async def test_a_job_marked_lost_is_no_longer_listed_and_costs_nothing(harness: OperatorHarness) -> None:
    job = await harness.add_lost_job()

    await harness.service.task_lost(OPERATOR, job.id)

    assert await harness.service.unreconciled() == []
    assert (await harness.service.overview()).spent.usd_month == 0
    [line] = await harness.service.audit_log()
    assert line.change == AuditedChange(Action.TASK_LOST, TargetKind.JOB, job.id, None, {})
    _, entries = await harness.service.ledger(job.id)
    assert entries[-1].actor_id == OPERATOR.user_id


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
async def test_a_job_with_a_known_outcome_cannot_be_reconciled(harness: OperatorHarness, state: JobState) -> None:
    job = await add(harness.store, NOW) if state is JobState.QUEUED else await harness.add_running_job()

    for attempt in (
        harness.service.task_found(OPERATOR, job.id, "task-9"),
        harness.service.task_lost(OPERATOR, job.id),
    ):
        with pytest.raises(NotPossible):
            await attempt
    assert (await read(harness.store, job)).state is state
    assert await harness.service.audit_log() == []


async def test_an_announcement_prefers_the_log_channel_and_is_sent_once(harness: OperatorHarness) -> None:
    async with harness.database.write() as connection:
        await guild_settings.write(
            connection, 10, guild_settings.settings_columns(GuildSettings(log_channel_id=77))
        )
    channels = {10: 11, 20: 21, 30: None}

    assert (await harness.service.announcement_reach(channels)).unreached == (30,)
    await harness.service.announce(OPERATOR, "**hello**", channels, key="message-1")
    result = await harness.service.announce(OPERATOR, "**hello**", channels, key="message-1")

    assert (result.reached, result.unreached) == (2, (30,))
    found = await notified(harness.database)
    assert sorted(it for it in found if it[2] == "**hello**") == [(10, 77, "**hello**"), (20, 21, "**hello**")]


async def test_the_costs_report_contains_learned_reserved_and_unknown_costs(harness: OperatorHarness) -> None:
    for number in range(ledger_store.PRICE_FROM):
        await harness.finish_task(await harness.add_running_job(task=f"task-{number}"), "0.50")
    await harness.add_lost_job()
    await add(harness.store, NOW)

    costs = await harness.service.costs()

    assert costs.learned[Resolution.P720].usd == costs.used[Resolution.P720] == Decimal("0.5")
    assert costs.used[Resolution.P480] == Decimal("0.1")
    assert costs.reserved == Decimal("0.5")
    assert (costs.held, costs.unanswered) == (JobTotal(1, Decimal("0.5")), JobTotal(0, Decimal(0)))
    total = sum(part.usd for part in costs.kinds.values())
    assert total == (await harness.service.overview()).spent.usd_month
    assert costs.kinds[EntryKind.SETTLE].lines == ledger_store.PRICE_FROM


async def test_the_ledger_of_an_unknown_job_is_refused(harness: OperatorHarness) -> None:
    with pytest.raises(NotPossible, match="UNKNOWN_JOB"):
        await harness.service.ledger("nobody's")


async def test_the_next_day_starts_with_no_spending(harness: OperatorHarness) -> None:
    await add(harness.store, NOW - MINUTE)
    harness.now = NOW + timedelta(days=1)

    spent = (await harness.service.overview()).spent
    assert (spent.usd_today, spent.usd_month) == (Decimal(0), Decimal(0))  # NOW is a month's last day


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_a_change_that_waited_for_a_lock_has_the_time_at_which_it_took_effect(
    harness: OperatorHarness,
) -> None:
    """Otherwise an earlier change would be listed after it in the audit log."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    async with harness.database.write() as earlier:
        await guild_settings.lock_operator_state(earlier)
        draining = asyncio.create_task(harness.service.drain(OPERATOR, on=True))
        while not await earlier.scalar(waiting):
            await asyncio.sleep(0.01)
        harness.now += MINUTE

    assert (await draining).created_at == NOW + MINUTE


async def test_servers_are_offered_in_the_order_of_the_report_with_those_that_only_joined_last(
    harness: OperatorHarness,
) -> None:
    for guild_id, count in ((30, 1), (10, 2), (20, 1)):
        for number in range(count):
            await add(harness.store, guild_id=guild_id, user_id=number)

    assert await harness.service.server_ids([5, 10, 40]) == [10, 20, 30, 5, 40]
    assert [use.guild.id for use in await harness.service.servers([5, 10, 40])] == [10, 20, 30, 5, 40]


async def test_a_single_servers_usage_is_that_of_the_report(harness: OperatorHarness) -> None:
    await add(harness.store, guild_id=10)
    await add(harness.store, guild_id=20)

    for use in await harness.service.servers():
        assert await harness.service.server(use.guild.id) == use
    assert (await harness.service.server(99)).asked == 0
