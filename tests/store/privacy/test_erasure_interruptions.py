"""Erasures that crash, or meet other changes of the same data."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import text

from bot.domain.jobs import JobState
from bot.domain.ledger import Amounts, Entry, EntryKind
from bot.domain.outcomes import JobUpdate, MoveTo
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.money import ledger
from bot.store.money_tables import credit_grants
from bot.store.money_tables import ledger as entries
from bot.store.privacy.member_data import MemberDataStore
from bot.store.schema import EVERYWHERE, jobs, violations
from tests.store.factories import (
    NOW,
    add_waiting,
    bring_to,
    next_job,
    read,
)
from tests.store.privacy.conftest import DAY, ME, RULES, MemberDataHarness

pytestmark = pytest.mark.full


class CrashingStore(MemberDataStore):
    """The store, in a process that dies when one more than `calls` methods are called."""

    def __init__(self, database: Database, calls: int) -> None:
        super().__init__(database, RULES)
        self._calls = calls

    def __getattribute__(self, name: str) -> Any:
        if not name.startswith("_"):
            self._calls -= 1
            if self._calls < 0:
                raise ConnectionError("the process died")
        return super().__getattribute__(name)


@pytest.mark.parametrize("calls", range(1, 10))  # the first is of `erase` itself
async def test_an_erasure_is_completed_after_a_crash_at_any_step(harness: MemberDataHarness, calls: int) -> None:
    await harness.add_ended_job(NOW - 3 * DAY)
    await add_waiting(harness.store, NOW - 2 * DAY)
    await harness.grant_credits(2, at=NOW - 2 * DAY)
    await harness.insert(violations, {"guild_id": 10, "user_id": ME, "created_at": NOW - 2 * DAY})
    erasure = await harness.privacy.request_erasure(ME, NOW)
    before = await harness.ledger_sums_and_totals()
    with pytest.raises(ConnectionError):
        await CrashingStore(harness.database, calls).erase(erasure, NOW)

    await harness.continue_erasure(NOW)
    for job in await harness.store.recent(10, ME, 5):
        await harness.announce_end(job, NOW)
    assert (await harness.continue_erasure(NOW + 2 * DAY)).done

    for table in (jobs, entries, credit_grants):
        assert {row.user_id for row in await harness.rows(table)} == {0}
    # Only the job that waited was returned.
    assert (await harness.ledger_sums_and_totals())[0].videos == before[0].videos - 1


async def test_simultaneous_erasures_apply_it_once(harness: MemberDataHarness) -> None:
    for days in range(9, 2, -1):
        await harness.add_ended_job(NOW - days * DAY)
    await harness.grant_credits(5)
    erasure = await harness.privacy.request_erasure(ME, NOW)

    results = await asyncio.gather(*(harness.privacy.erase(erasure, NOW) for _ in range(4)))

    assert sum(it.jobs for it in results) == 7
    assert sum(it.credits for it in results) == 5
    # The write-off entry names no member.
    assert sum(it.entries for it in results) == len(await harness.rows(entries)) - 1
    assert await harness.privacy.erasure_requests() == []


async def test_a_job_that_ends_during_an_erasure_is_settled_as_usual(harness: MemberDataHarness) -> None:
    running = await bring_to(harness.store, JobState.RUNNING)
    await harness.erase(NOW)
    cost = JobUpdate(cost_usd=Decimal("0.5"))

    assert await harness.store.apply(running, MoveTo(JobState.CANCELLED, cost), NOW)

    held, [total, guild] = await harness.ledger_sums_and_totals()
    assert held.usd == Decimal("0.5") == total[3] == guild[3]
    assert (total[0], guild[0]) == (EVERYWHERE, 10)


async def test_a_leased_job_is_not_anonymised(harness: MemberDataHarness) -> None:
    job = await bring_to(harness.store, JobState.DELIVERED)

    assert (await harness.erase()).jobs == 0
    assert await next_job(harness.store) is None
    assert (await read(harness.store, job)).user_id == ME


async def test_a_credit_that_is_spent_simultaneously_is_not_written_off_too(harness: MemberDataHarness) -> None:
    grant_id = await harness.grant_credits(1)
    erasure = await harness.privacy.request_erasure(ME, NOW)
    async with harness.database.write() as connection:  # as an acceptance does
        await guild_settings.lock_operator_state(connection)
        [credit] = await ledger.credits_of(connection, 10, ME, NOW)
        writing_off = asyncio.create_task(harness.privacy.give_up_credits(erasure, NOW))
        await wait_until_blocked(harness, writing_off)
        spent = Entry(
            EntryKind.RESERVE, 10, ME, NOW, NOW, Amounts(1, -1), "accepted", "job", credit.credit_grant_id
        )
        await ledger.write(connection, spent)

    assert await writing_off == 0

    assert sum(row.credits for row in await harness.rows(entries) if row.credit_grant_id == grant_id) == 0


async def wait_until_blocked(harness: MemberDataHarness, task: asyncio.Task[int]) -> None:
    """Returns once the task waits for a lock, or has ended."""
    for _ in range(20):  # SQLite's writers wait in an in-process queue
        await asyncio.sleep(0)
    waits = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while harness.postgresql and not task.done():
        async with harness.database.read() as connection:
            if (await connection.execute(waits)).scalar_one():
                return
