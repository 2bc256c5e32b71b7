"""The worker's loops read no whole table, on a database as the bot makes it: nobody ever runs ANALYZE on it."""

import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event

from bot.chat.messages.notification_texts import render
from bot.domain.jobs import JobUpdate, Reschedule
from bot.domain.policy import Requester
from bot.store.engine import Database
from bot.store.jobs.due import DueFor
from bot.store.jobs.job_store import JobStore
from bot.store.outbox.notifications import NotificationStore
from tests.store.factories import LEASES, MINUTE, NO_PAUSE, NOW, SECOND, add

pytestmark = pytest.mark.both_databases

ENDED_JOBS = 20_000
INSERT_ENDED_JOBS = """
    INSERT INTO jobs (id, state, guild_id, channel_id, user_id, prompt, resolution, prompt_extend, watermark,
                      created_at, state_changed_at, charged, cancel_requested, attempts, claim_count)
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
    SELECT 'old-' || n, 'delivered', n % 7, 100, n % 1000, 'a fox', '720P', {yes}, {no},
           {at}, {at}, {yes}, {no}, 0, 0
    FROM numbers
"""

WHOLE_TABLE = re.compile(r"Seq Scan on jobs|SCAN jobs(?! USING (COVERING )?INDEX ix_jobs_(polls|stages|active))")
"""A partial index may be read completely: it contains only active jobs."""


async def add_jobs(store: JobStore, database: Database, kind: str) -> None:
    """Many jobs that have ended, five that are due and fifteen in the queue."""
    yes, no = ("1", "0") if kind == "sqlite" else ("TRUE", "FALSE")
    at = "'2026-01-01T00:00:00.000000Z'"
    async with database.write() as connection:
        await connection.exec_driver_sql(INSERT_ENDED_JOBS.format(count=ENDED_JOBS, at=at, yes=yes, no=no))
    for number in range(20):
        await add(store, user_id=number)
    with_status = await store.claim_due(NOW, 15, LEASES)
    await store.reschedule([(job, Reschedule(None)) for job in with_status], NOW)


@pytest.fixture
def statements(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """The statements sent to the database, with their parameters."""
    sent: list[tuple[str, Any]] = []

    def record_statement(
        _connection: object, _cursor: object, statement: str, parameters: Any, *_: object
    ) -> None:
        sent.append((statement, parameters))

    event.listen(database._engine.sync_engine, "before_cursor_execute", record_statement)
    yield sent
    event.remove(database._engine.sync_engine, "before_cursor_execute", record_statement)


async def claim_and_write(store: JobStore, database: Database) -> None:
    """What the loop does when something is due, and when nothing is."""
    for held in ((), await store.claim_due(NOW, 2, LEASES)):
        await store.claim_due(NOW, 32, LEASES, held)
        await store.claim_due(NOW, 32, LEASES, held, expired=False)
    submitting = await store.claim_queued(NOW, 5, NO_PAUSE, MINUTE)
    assert submitting is not None
    await store.renew([submitting], NOW, LEASES)
    for kinds in ([DueFor.POLL], [DueFor.STAGE]):
        await store.next_due_at(NOW - SECOND, 5, kinds)
    later = NOW + MINUTE
    [*_, job] = await store.claim_due(later, 32, LEASES)
    await store.apply(job, Reschedule(None, JobUpdate(status_message_id=7, status_says_closed=True)), later)
    await store.release([submitting])
    await store.open_gate(later)
    await NotificationStore(database, render).claim(later, 5, MINUTE)


async def begin(store: JobStore, database: Database) -> None:
    """What a start does."""
    if database.file is not None:  # processes that share a server leave each other's leases alone
        await store.free_leases()
    await store.cancel_where_left_or_blocked(NOW)


async def look(store: JobStore, _database: Database) -> None:
    """What members wait for."""
    await store.allowance(Requester(10, 100, 1), NOW)
    await store.recent(10, 1, 10)


@pytest.mark.parametrize("action", [claim_and_write, begin, look])
async def test_the_worker_never_reads_the_rows_of_ended_jobs(
    store: JobStore,
    database: Database,
    kind: str,
    statements: list[tuple[str, Any]],
    action: Callable[[JobStore, Database], Awaitable[None]],
) -> None:
    await add_jobs(store, database, kind)
    statements.clear()
    await action(store, database)
    queries = [it for it in statements if re.match(r"(SELECT|UPDATE) .*\bjobs\b", it[0], re.DOTALL)]
    assert queries
    explain = "EXPLAIN QUERY PLAN" if kind == "sqlite" else "EXPLAIN"
    async with database.read() as connection:
        for statement, sent in queries:
            parameters = sent[0] if isinstance(sent, list) else sent  # a list: one set for each row
            rows = await connection.exec_driver_sql(f"{explain} {statement}", parameters)
            plan = "\n".join(str(row) for row in rows)
            assert not WHOLE_TABLE.search(plan), f"{statement}\n{plan}"
