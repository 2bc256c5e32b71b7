"""What the operator is told of money and of the gateway, on both databases."""

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
from tests.store.factories import MINUTE, NOW, add, close_gate, notified_texts

VIDEO = Decimal("0.20")
TEN_A_DAY = OperatorDefaults(budget=Budget(Decimal(10), None))


async def accept(
    database: Database, *, after: str, now: datetime = NOW, rules: OperatorDefaults = TEN_A_DAY
) -> None:
    """A video is accepted, and with it, so much is spent."""
    async with database.write() as connection:
        before = (await ledger.spent(connection, EVERYWHERE, now)).usd_today
        entry = Entry(EntryKind.RESERVE, 10, 1, now, now, Amounts(1, 0, Decimal(after) - before), "accepted")
        await ledger.write(connection, entry)
        await budget_alerts.after_acceptance(connection, rules, VIDEO, now)


async def told(database: Database) -> list[str]:
    return await notified_texts(database, notifications.TO_OPERATOR)


async def test_below_four_fifths_nothing_is_told(database: Database) -> None:
    await accept(database, after="7.99")
    assert await told(database) == []


async def test_the_step_over_four_fifths_is_told_once(database: Database) -> None:
    await accept(database, after="7.90")
    await accept(database, after="8.10")
    await accept(database, after="8.30")

    [text] = await told(database)
    assert "80% of today's budget is used ($8.10 of $10.00)" in text


async def test_a_step_that_was_told_and_is_taken_again_is_not_told_again(database: Database) -> None:
    await accept(database, after="8.10")
    await accept(database, after="7.90")
    await accept(database, after="8.10")

    assert len(await told(database)) == 1


async def test_a_budget_is_used_up_when_the_next_video_would_not_fit(database: Database) -> None:
    await accept(database, after="9.80")
    assert await told(database) == []
    await accept(database, after="9.81")
    await accept(database, after="9.90")

    [text] = await told(database)
    assert "Today's budget is used up ($9.81 of $10.00), so I'm not accepting more videos" in text


async def test_a_new_day_is_told_of_anew(database: Database) -> None:
    await accept(database, after="10")
    await accept(database, after="10", now=NOW + timedelta(days=1))

    assert len(await told(database)) == 2


async def test_the_months_budget_is_told_of_by_itself(database: Database) -> None:
    await accept(database, after="10", rules=OperatorDefaults(budget=Budget(None, Decimal(10))))

    [text] = await told(database)
    assert "This month's budget is used up" in text


async def test_what_a_command_has_set_is_what_counts(database: Database) -> None:
    async with database.write() as connection:
        await operator_reports.write_operator_state(connection, OperatorState(budget=Budget(Decimal(100), None)))
    await accept(database, after="10")
    assert await told(database) == []


async def test_without_a_budget_nothing_is_told(database: Database) -> None:
    await accept(database, after="1000", rules=OperatorDefaults())
    assert await told(database) == []


@pytest.mark.parametrize("limit", list(LimitName))
async def test_a_refusal_by_the_houses_budget_is_told_once(database: Database, limit: LimitName) -> None:
    for _ in range(2):
        async with database.write() as connection:
            await budget_alerts.budget_refused(connection, limit, NOW)

    assert len(await told(database)) == (limit in {LimitName.TOTAL_USD_PER_DAY, LimitName.TOTAL_USD_PER_MONTH})


async def test_a_gate_that_stays_closed_is_told_of_once_for_each_time(database: Database, store: JobStore) -> None:
    for attempt in range(5):
        assert len(await told(database)) == (attempt >= submission_gate.ALERT_AFTER)
        now = NOW + attempt * MINUTE
        await close_gate(store, now + MINUTE, "the key is *refused*", now)
    await store.open_gate(NOW + 5 * MINUTE)
    for attempt in range(6, 6 + submission_gate.ALERT_AFTER):
        now = NOW + attempt * MINUTE
        await close_gate(store, now + MINUTE, "again", now)

    first, second = await told(database)
    assert r"isn't accepting jobs: the key is \*refused\*" in first
    assert "again" in second


async def test_an_accepted_job_that_uses_up_the_budget_is_told_of(database: Database) -> None:
    await add(JobStore(database, OperatorDefaults(budget=Budget(Decimal("0.30"), None))))
    [text] = await told(database)
    assert "used up ($0.20 of $0.30)" in text
