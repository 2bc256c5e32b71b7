"""The operator's reports, on both databases."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from bot.domain.errors import NotPossible
from bot.domain.guilds import Budget, Guild
from bot.domain.jobs import FailureReason
from bot.domain.ledger import EntryKind
from bot.domain.outcomes import Fail, JobUpdate, Reschedule
from bot.services.operator.service import OperatorService
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.money import ledger as ledger_store
from bot.store.operator_reports import GuildUsage, JobTotal
from tests.providers_asked import BOTH, DASHSCOPE, P480, P720, TWO_PROVIDERS, VTRIX
from tests.store.factories import DETAIL, MINUTE, NOW, add, add_waiting
from tests.store.operator.conftest import DEFAULTS, OperatorHarness


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


async def test_the_costs_report_contains_learned_reserved_and_unknown_costs(harness: OperatorHarness) -> None:
    for number in range(ledger_store.PRICE_FROM):
        await harness.finish_task(await harness.add_running_job(task=f"task-{number}"), "0.50")
    await harness.add_lost_job()
    await add(harness.store, NOW)

    costs = await harness.service.costs()

    prices = {price.kind: price for price in costs.prices}
    learned = prices[P720].learned
    assert learned is not None
    assert learned.usd == prices[P720].used == Decimal("0.5")
    assert prices[P480].used == Decimal("0.1")
    assert costs.reserved == Decimal("0.5")
    assert (costs.held, costs.unanswered) == (JobTotal(1, Decimal("0.5")), JobTotal(0, Decimal(0)))
    total = sum(part.usd for part in costs.kinds.values())
    assert total == (await harness.service.overview()).spent.usd_month
    assert costs.kinds[EntryKind.SETTLE].lines == ledger_store.PRICE_FROM


async def test_what_moderation_rejected_is_no_failure(harness: OperatorHarness) -> None:
    running = await harness.add_running_job(guild_id=10)
    assert await harness.store.apply(running, Fail(FailureReason.REJECTED, DETAIL), harness.now)

    [use] = await harness.service.servers()

    assert (use.asked, use.failed, use.usd_today) == (1, 0, Decimal(0))


async def test_the_ledger_of_a_job_contains_what_its_provider_said_last(harness: OperatorHarness) -> None:
    running = await harness.add_running_job()
    said = {"status": "pondering", "odd": [1, None]}
    outcome = Reschedule(harness.now, JobUpdate(upstream_response=said))
    assert await harness.store.apply(running, outcome, harness.now)

    found = await harness.service.ledger(f" {running.id} ")

    assert (found.job.id, found.response) == (running.id, said)
    assert [entry.kind for entry in found.entries] == [EntryKind.RESERVE]


async def test_the_ledger_of_an_unknown_job_is_refused(harness: OperatorHarness) -> None:
    with pytest.raises(NotPossible, match="UNKNOWN_JOB"):
        await harness.service.ledger("nobody's")


async def test_the_next_day_starts_with_no_spending(harness: OperatorHarness) -> None:
    await add(harness.store, NOW - MINUTE)
    harness.now = NOW + timedelta(days=1)

    spent = (await harness.service.overview()).spent
    assert (spent.usd_today, spent.usd_month) == (Decimal(0), Decimal(0))  # NOW is a month's last day


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


async def test_what_a_server_spent_at_each_provider_is_told_once_there_was_more_than_one(
    harness: OperatorHarness,
) -> None:
    await add_waiting(harness.store, guild_id=10)
    assert await harness.store.claim_queued(NOW, BOTH, MINUTE)
    [before] = await harness.service.servers()
    assert before.usd_by_provider == {}
    await add_waiting(harness.store, guild_id=10)
    await add_waiting(harness.store, guild_id=20)
    for _ in range(2):
        assert await harness.store.claim_queued(NOW, BOTH[1:], MINUTE)
    [ten, twenty] = await harness.service.servers()
    assert ten.usd_by_provider == {VTRIX: Decimal("0.2"), DASHSCOPE: Decimal("0.2")}
    assert twenty.usd_by_provider == {DASHSCOPE: Decimal("0.2")}
    assert (await harness.service.server(20)).usd_by_provider == twenty.usd_by_provider


async def test_a_provider_whose_budget_is_used_up_is_told_apart_from_one_that_is_closed(
    database: Database,
) -> None:
    """Used up for any video; until then, a dearer one may have to wait while a cheaper one doesn't."""
    budgets = {VTRIX: Budget(Decimal("0.29"), None), DASHSCOPE: Budget(None, Decimal(1))}
    rules = replace(DEFAULTS, catalog=TWO_PROVIDERS, provider_budgets=budgets)
    store = JobStore(database, rules)
    service = OperatorService(database, rules, guild_id=1, user_ids=(), wake=lambda: None, clock=lambda: NOW)
    assert not (await store.first_gate(NOW)).is_out_of_budget
    await add_waiting(store)
    assert await store.claim_queued(NOW, BOTH, MINUTE)
    gates = (await service.gate()).gates
    assert {provider: gate.is_out_of_budget for provider, gate in gates.items()} == {VTRIX: True, DASHSCOPE: False}
    assert not (await store.first_gate(NOW)).keeps_orders_waiting(NOW), "the other one works"
    costs = await service.costs()
    assert (costs.budgets[VTRIX].usd_per_day, costs.spent[VTRIX].usd_today) == (Decimal("0.29"), Decimal("0.2"))
    only = JobStore(database, replace(rules, catalog=replace(TWO_PROVIDERS, providers=(VTRIX,))))
    gate = await only.first_gate(NOW)
    assert gate.keeps_orders_waiting(NOW)
    assert gate.is_worth_telling(NOW, told=False)
    assert not (await only.first_gate(NOW + timedelta(days=1))).is_out_of_budget
