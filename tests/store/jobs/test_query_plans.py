"""No frequent query reads a whole table, on a database as the bot makes it.

Nobody ever runs ANALYZE on a SQLite file. A PostgreSQL server does so by itself, sooner or later: there the plans
are read before and after it, in a new database, since its statistics outlive the rows they were made of.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event

from bot.chat.messages.notification_texts import render
from bot.domain.jobs import ACTIVE, JobState, Order
from bot.domain.outcomes import JobUpdate, MoveTo, Reschedule
from bot.domain.policy import Requester
from bot.domain.repeats import KeptFrame
from bot.domain.task_durations import Remaining
from bot.services.operator.cost_history import CostHistoryService
from bot.services.operator.page import PAGE_SIZE, OperatorPageService
from bot.store.engine import Database
from bot.store.jobs import pictures
from bot.store.jobs.due import DueFor
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.waiting_jobs import WaitingJobs
from bot.store.outbox.notifications import NotificationStore
from bot.store.schema import HAS_FAILED_CLAIMS
from tests.providers_asked import VTRIX, vtrix
from tests.store.conftest import migrate_database
from tests.store.factories import LEASES, MINUTE, NOW, SECOND, UNLIMITED, add, new_job

pytestmark = pytest.mark.full

Statements = list[tuple[str, Any]]
Action = Callable[[JobStore, Database], Awaitable[None]]

ENDED_JOBS = 20_000
HOUR = 60 * MINUTE
INSERT_ENDED_JOBS = """
    INSERT INTO jobs (id, state, guild_id, channel_id, user_id, prompt, resolution, prompt_extend, watermark,
                      created_at, state_changed_at, charged, cancel_requested, attempts, claim_count)
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
    SELECT 'old-' || n, CASE n % 10 WHEN 3 THEN 'failed' ELSE 'delivered' END, n % 7, 100, n % 1000, 'a fox',
           '720P', {yes}, {no}, {at}, {at}, {yes}, {no}, 0, 0
    FROM numbers
"""

INSERT_LEDGER_ENTRIES = """
    INSERT INTO ledger (kind, guild_id, user_id, job_id, created_at, effective_at, videos, credits, usd, reason)
    SELECT 'reserve', guild_id, user_id, id, created_at, created_at, 1, 0, 200000000, 'accepted' FROM jobs
"""

WHOLE_TABLE = re.compile(
    r"Seq Scan on (jobs|ledger|first_frames|kept_pictures)"
    r"|SCAN (jobs|ledger|first_frames|kept_pictures)"
    r"(?! USING (COVERING )?INDEX ix_jobs_(polls|stages|active|failed_claims|failed_at))"
)
"""A partial index may be read completely: it contains only active jobs, or even fewer. That of failures is read
from its end, as far as a page needs."""


@pytest.fixture
def database_url(empty_url: str) -> str:
    """The address of a migrated database that no other test has used."""
    asyncio.run(migrate_database(empty_url))
    return empty_url


async def add_jobs(store: JobStore, database: Database, kind: str) -> None:
    """Many jobs that have ended, five that are due and fifteen in the queue."""
    yes, no = ("1", "0") if kind == "sqlite" else ("TRUE", "FALSE")
    at = "'2026-01-01T00:00:00.000000Z'"
    async with database.write() as connection:
        await connection.exec_driver_sql(INSERT_ENDED_JOBS.format(count=ENDED_JOBS, at=at, yes=yes, no=no))
        await connection.exec_driver_sql(INSERT_LEDGER_ENTRIES)
    for number in range(20):
        await add(store, user_id=number)
    with_status = await store.claim_due(NOW, 15, LEASES)
    await store.reschedule([(job, Reschedule(None)) for job in with_status], NOW)


@pytest.fixture
def statements(database: Database) -> Iterator[Statements]:
    """The statements sent to the database, with their parameters."""
    sent: Statements = []

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
        await store.claim_due(NOW, 32, LEASES, held, kinds=[DueFor.POLL])
    submitting = await store.claim_queued(NOW, vtrix(5), MINUTE)
    assert submitting is not None
    await store.renew([submitting], NOW, LEASES)
    for kinds in ([DueFor.POLL], [DueFor.STAGE]):
        await store.next_due_at(NOW - SECOND, vtrix(5), kinds)
    later = NOW + MINUTE
    [*_, polled, job] = await store.claim_due(later, 32, LEASES)
    await store.reschedule([(polled, Reschedule(later, JobUpdate(progress=0.5, seen_running_at=later)))], later)
    await store.apply(job, Reschedule(None, JobUpdate(status_message_id=7)), later)
    await store.release([submitting])
    await store.open_gate(VTRIX, later)
    await NotificationStore(database, render).claim(later, 5, MINUTE)


async def begin(store: JobStore, database: Database) -> None:
    """What a start does."""
    if database.file is not None:  # processes that share a server leave each other's leases alone
        await store.free_leases()
    await WaitingJobs(store._db).cancel_where_left_or_blocked(NOW)


async def look(store: JobStore, _database: Database) -> None:
    """What members wait for."""
    await store.allowance(Requester(10, 100, 1), NOW)
    await store.with_pictures([job.id for job in await store.recent(10, 1, 10)])


async def accept(store: JobStore, _database: Database) -> None:
    """What an order does, and its cancellation."""
    await store.check(Requester(10, 100, 1), Order("a fox"), NOW, arriving=0)
    job = await add(store)
    again = await store.add(new_job(), KeptFrame(job.id), Requester(10, 100, 1), NOW)
    for each in (job, again):
        await store.cancel(each.id, NOW, even_if_paid=True)


async def delete_pictures(store: JobStore, database: Database) -> None:
    """What retention does, and the button that deletes a video."""
    job = await add(store)
    await store.cancel(job.id, NOW, even_if_paid=True)
    async with database.write() as connection:
        assert await pictures.delete_kept_since(connection, NOW) == 1
        await pictures.delete_with_copies(connection, [job.id])


async def watch(store: JobStore, database: Database) -> None:
    """What the operator's page reads."""
    page = OperatorPageService(database, UNLIMITED, vtrix(5), lambda *_: Remaining(30, 60), lambda: NOW)
    submitting = await store.claim_queued(NOW, vtrix(5), MINUTE)
    assert submitting is not None
    task = JobUpdate(upstream_id="task-1", submitted_at=NOW - HOUR)
    assert await store.apply(submitting, MoveTo(JobState.RUNNING, task), NOW)
    assert (await page.overview()).late == 1
    for state in sorted(ACTIVE):
        await page.in_progress(state)
    assert len((await page.in_progress(JobState.RUNNING, late_only=True)).lines) == 1
    assert len((await page.failures()).lines) == PAGE_SIZE
    assert await page.job(submitting.id) is not None
    await CostHistoryService(database, UNLIMITED, lambda: NOW).history()


ACTIONS = pytest.mark.parametrize("action", [claim_and_write, begin, look, accept, delete_pictures, watch])


@ACTIONS
async def test_no_frequent_query_reads_the_rows_of_ended_jobs(
    store: JobStore, database: Database, kind: str, statements: Statements, action: Action
) -> None:
    await add_jobs(store, database, kind)
    statements.clear()
    await action(store, database)
    await check_plans(database, kind, statements)


@ACTIONS
@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_neither_does_one_after_the_server_has_gathered_statistics(
    store: JobStore, database: Database, kind: str, statements: Statements, action: Action
) -> None:
    await add_jobs(store, database, kind)
    async with database.write() as connection:
        await connection.exec_driver_sql("ANALYZE")
    statements.clear()
    await action(store, database)
    await check_plans(database, kind, statements)


async def check_plans(database: Database, kind: str, statements: Statements) -> None:
    """Asks the database how it carries out each statement."""
    queries = [it for it in statements if re.match(r"(SELECT|UPDATE) .*\b(jobs|ledger)\b", it[0], re.DOTALL)]
    assert queries
    explain = "EXPLAIN QUERY PLAN" if kind == "sqlite" else "EXPLAIN"
    async with database.read() as connection:
        for statement, sent in queries:
            parameters = sent[0] if isinstance(sent, list) else sent  # a list: one set for each row
            rows = await connection.exec_driver_sql(f"{explain} {statement}", parameters)
            plan = "\n".join(str(row) for row in rows)
            assert not WHOLE_TABLE.search(plan), f"{statement}\n{plan}"
            if kind == "sqlite" and HAS_FAILED_CLAIMS.text in statement:
                assert "ix_jobs_failed_claims" in plan, "it reads all polls instead of the few suspects"


async def test_claims_and_polls_read_no_picture(
    store: JobStore, database: Database, kind: str, statements: Statements
) -> None:
    await add_jobs(store, database, kind)
    statements.clear()

    await claim_and_write(store, database)

    assert statements
    assert not [sent for sent, _ in statements if "first_frames" in sent or "kept_pictures" in sent]
