"""Alerts to the operator about budgets and about the submission gate, on both databases."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from bot.domain.guilds import Budget, OperatorDefaults, OperatorState
from bot.domain.ledger import Amounts, Entry, EntryKind
from bot.domain.quotas import LimitName
from bot.store import operator_reports
from bot.store.engine import Database
from bot.store.jobs import budget_alerts, submission_gate
from bot.store.jobs.job_store import JobStore
from bot.store.money import ledger
from bot.store.outbox import notifications
from bot.store.schema import EVERYWHERE
from tests.providers_asked import CATALOG, VTRIX
from tests.store.factories import MINUTE, NOW, add, close_gate, notified_texts

VIDEO = Decimal("0.20")
TEN_A_DAY = OperatorDefaults(catalog=CATALOG, budget=Budget(Decimal(10), None))


async def accept(
    database: Database, *, after: str, now: datetime = NOW, rules: OperatorDefaults = TEN_A_DAY
) -> None:
    """Accepts a video that brings the spending of all servers to `after`."""
    async with database.write() as connection:
        before = (await ledger.spent(connection, EVERYWHERE, now)).usd_today
        entry = Entry(EntryKind.RESERVE, 10, 1, now, now, Amounts(1, 0, Decimal(after) - before), "accepted")
        await ledger.write(connection, entry)
        await budget_alerts.after_acceptance(connection, rules, VIDEO, now)


async def operator_alerts(database: Database) -> list[str]:
    return await notified_texts(database, notifications.TO_OPERATOR)


async def test_below_80_percent_no_alert_is_sent(database: Database) -> None:
    await accept(database, after="7.99")
    assert await operator_alerts(database) == []


async def test_exceeding_80_percent_is_alerted_once(database: Database) -> None:
    await accept(database, after="7.90")
    await accept(database, after="8.10")
    await accept(database, after="8.30")

    [text] = await operator_alerts(database)
    assert "80% of today's budget is used ($8.10 of $10.00)" in text


async def test_exceeding_80_percent_again_after_a_return_is_not_alerted_again(database: Database) -> None:
    await accept(database, after="8.10")
    await accept(database, after="7.90")
    await accept(database, after="8.10")

    assert len(await operator_alerts(database)) == 1


async def test_a_budget_is_used_up_when_the_next_video_would_not_fit(database: Database) -> None:
    await accept(database, after="9.80")
    assert await operator_alerts(database) == []
    await accept(database, after="9.81")
    await accept(database, after="9.90")

    [text] = await operator_alerts(database)
    assert "Today's budget is used up ($9.81 of $10.00), so I'm not accepting more videos" in text


async def test_each_day_is_alerted_separately(database: Database) -> None:
    await accept(database, after="10")
    await accept(database, after="10", now=NOW + timedelta(days=1))

    assert len(await operator_alerts(database)) == 2


async def test_the_monthly_budget_is_alerted_separately(database: Database) -> None:
    await accept(database, after="10", rules=OperatorDefaults(catalog=CATALOG, budget=Budget(None, Decimal(10))))

    [text] = await operator_alerts(database)
    assert "This month's budget is used up" in text


async def test_a_budget_set_by_command_overrides_the_setting(database: Database) -> None:
    async with database.write() as connection:
        await operator_reports.write_operator_state(connection, OperatorState(budget=Budget(Decimal(100), None)))
    await accept(database, after="10")
    assert await operator_alerts(database) == []


async def test_without_a_budget_no_alert_is_sent(database: Database) -> None:
    await accept(database, after="1000", rules=OperatorDefaults(catalog=CATALOG))
    assert await operator_alerts(database) == []


@pytest.mark.parametrize("limit", list(LimitName))
async def test_a_refusal_by_the_total_budget_is_alerted_once(database: Database, limit: LimitName) -> None:
    for _ in range(2):
        async with database.write() as connection:
            await budget_alerts.budget_refused(connection, limit, NOW)

    assert len(await operator_alerts(database)) == (
        limit in {LimitName.TOTAL_USD_PER_DAY, LimitName.TOTAL_USD_PER_MONTH}
    )


async def test_a_gate_that_stays_closed_is_alerted_once_per_closure(database: Database, store: JobStore) -> None:
    for attempt in range(5):
        assert len(await operator_alerts(database)) == (attempt >= submission_gate.ALERT_AFTER)
        now = NOW + attempt * MINUTE
        await close_gate(store, now + MINUTE, "the key is *refused*", now)
    await store.open_gate(VTRIX, NOW + 5 * MINUTE)
    for attempt in range(6, 6 + submission_gate.ALERT_AFTER):
        now = NOW + attempt * MINUTE
        await close_gate(store, now + MINUTE, "again", now)

    first, second = await operator_alerts(database)
    assert r"isn't accepting jobs: the key is \*refused\*" in first
    assert "again" in second


async def test_an_accepted_job_that_uses_up_the_budget_is_alerted(database: Database) -> None:
    await add(JobStore(database, OperatorDefaults(catalog=CATALOG, budget=Budget(Decimal("0.30"), None))))
    [text] = await operator_alerts(database)
    assert "used up ($0.20 of $0.30)" in text
