"""When those who wait are told that the submission gate closed: not for moments, and not again and again."""

from datetime import timedelta

import pytest

from bot.store.jobs import submission_gate
from bot.store.jobs.job_store import JobStore
from tests.fakes import NOW
from tests.providers_asked import VTRIX


@pytest.mark.parametrize(
    ("pauses_s", "told"),
    [
        ((5, 10, 20, 40, 300), [False, False, True, True, True]),
        ((900, 900), [True, True]),
        ((5, 900), [False, True]),
    ],
)
async def test_a_closure_is_told_when_it_is_long_or_keeps_coming_back(
    store: JobStore, pauses_s: tuple[int, ...], told: list[bool]
) -> None:
    now, found = NOW, []
    for pause_s in pauses_s:
        until = now + timedelta(seconds=pause_s)
        async with store._db.write() as connection:
            await submission_gate.close(connection, VTRIX, until, "busy", now)
        found.append((await store.gate(VTRIX)).is_worth_telling(now, told=False))
        now = until

    assert found == told


async def test_what_was_told_stays_until_the_gate_is_open(store: JobStore) -> None:
    until = NOW + timedelta(minutes=10)
    async with store._db.write() as connection:
        await submission_gate.close(connection, VTRIX, until, "busy", NOW)
    gate, almost = await store.gate(VTRIX), until - timedelta(seconds=1)

    assert gate.is_worth_telling(almost, told=True)
    assert not gate.is_worth_telling(almost, told=False)
    assert not gate.is_worth_telling(until, told=True)


async def test_an_order_waits_for_the_service_while_the_gate_is_closed_or_keeps_closing(store: JobStore) -> None:
    now, waits = NOW, []
    for _ in range(submission_gate.ALERT_AFTER):
        until = now + timedelta(seconds=5)
        async with store._db.write() as connection:
            await submission_gate.close(connection, VTRIX, until, "busy", now)
        gate = await store.gate(VTRIX)
        waits.append((gate.keeps_orders_waiting(now), gate.keeps_orders_waiting(until)))
        now = until

    assert waits == [(True, False), (True, False), (True, True)]
