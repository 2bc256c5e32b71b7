"""Upgrades databases of earlier versions that contain jobs: nothing is lost."""

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, select, text
from sqlalchemy.exc import IntegrityError

from bot.chat.messages.notification_texts import render
from bot.domain.approvals import Decision, Verdict
from bot.domain.audit_log import Action
from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import Job, JobState, Order
from bot.domain.ledger import ZERO, Amounts, expected_balances
from bot.domain.notifications import Announcement
from bot.domain.outcomes import JobUpdate, MoveTo, Reschedule
from bot.domain.policy import Requester
from bot.store import money_tables
from bot.store import schema as tables
from bot.store.engine import Database
from bot.store.guilds import audit_log
from bot.store.jobs import approvals
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.maintenance import schema_version
from bot.store.maintenance.migrate import migrate, schema_status
from bot.store.maintenance.schema_version import SchemaStatus
from bot.store.money import ledger
from bot.store.outbox import notifications
from bot.store.schema import EVERYWHERE, IS_ACTIVE
from bot.store.types import Money, UtcDateTime
from tests.providers_asked import CATALOG, vtrix
from tests.store.factories import MANY, MINUTE, NOW, add, entries

pytestmark = pytest.mark.full

YESTERDAY = NOW - timedelta(days=1)
INSERT = text(
    "INSERT INTO jobs (id, state, guild_id, channel_id, user_id, prompt, resolution, prompt_extend, watermark, "
    "created_at, state_since, counted, cancel_requested, attempts, claims, due_at, upstream_id, cost_usd) "
    "VALUES (:id, :state, :guild_id, 100, 1, 'a fox', '720P', :yes, :no, :at, :at, :counted, :no, 0, 0, :due_at, "
    ":upstream_id, :cost_usd)"
).bindparams(
    bindparam("at", type_=UtcDateTime),
    bindparam("due_at", type_=UtcDateTime),
    bindparam("cost_usd", type_=Money),
)


def old_job(
    name: str, state: str, *, guild_id: int = 10, at: datetime = NOW, counted: bool = True, cost: str | None = None
) -> dict[str, Any]:
    task = None if state in {"queued", "submitting"} else f"task-{name}"
    return {
        "id": name,
        "state": state,
        "guild_id": guild_id,
        "at": at,
        "counted": counted,
        "cost_usd": None if cost is None else Decimal(cost),
        "due_at": at if state in {"running", "delivering"} else None,
        "upstream_id": task,
        "yes": True,
        "no": False,
    }


OLD_JOBS = [
    old_job("queued job", "queued"),
    old_job("submitting job", "submitting"),
    old_job("running job", "running"),
    old_job("delivering job", "delivering", cost="0.15"),
    old_job("delivered today", "delivered", cost="0.1234567890123"),
    old_job("delivered yesterday", "delivered", at=YESTERDAY, cost="0.4"),
    old_job("delivered in another server", "delivered", guild_id=11, cost="1.5"),
    old_job("delivered without a cost", "delivered"),
    old_job("failed without a cost", "failed", counted=False),
    old_job("failed with a cost", "failed", counted=False, cost="0.25"),
    old_job("cancelled job", "cancelled", counted=False),
    old_job("delivered with a negative cost", "delivered", cost="-3"),
    old_job("failed with an implausible cost", "failed", counted=False, cost="1E+29"),
]
WITH_A_FRAME = ("queued job", "submitting job")


def upgrade_to_first_version(connection: Connection) -> None:
    schema_version.run_migrations(connection, "0001")


@pytest.fixture
async def old_database(empty_url: str) -> AsyncIterator[Database]:
    """A database of the first version, with jobs in all states."""
    async with Database.open(empty_url) as database:
        async with database.write() as connection:
            await connection.run_sync(upgrade_to_first_version)
            for job in OLD_JOBS:
                await connection.execute(INSERT, job)
            for name in WITH_A_FRAME:
                frame = {"id": name, "data": name.encode()}
                await connection.execute(
                    text("INSERT INTO frames (job_id, mime, data) VALUES (:id, 'image/png', :data)"), frame
                )
        yield database


@pytest.fixture
async def store(old_database: Database) -> JobStore:
    """That database, brought to this version."""
    await migrate(old_database)
    return JobStore(
        old_database,
        OperatorDefaults(
            catalog=CATALOG, limits=LimitOverrides(videos_per_window=100, max_active=100, cooldown_s=0)
        ),
    )


async def test_a_database_of_the_first_version_is_recognised_as_behind(old_database: Database) -> None:
    assert await schema_status(old_database) is SchemaStatus.BEHIND
    await migrate(old_database)
    assert await schema_status(old_database) is SchemaStatus.CURRENT


async def test_every_job_and_frame_is_kept(store: JobStore) -> None:
    for row in OLD_JOBS:
        job = await store.get(row["id"])
        assert job is not None
        assert (job.state, job.guild_id, job.created_at) == (row["state"], row["guild_id"], row["at"])
        assert (job.charged, job.cost_usd, job.upstream_id) == (
            row["counted"],
            row["cost_usd"],
            row["upstream_id"],
        )
        frame = await store.frame(job.id)
        assert (frame is not None) == (job.id in WITH_A_FRAME)
        assert frame is None or frame.data == job.id.encode()


async def all_jobs(store: JobStore) -> list[Job]:
    async with store._db.read() as connection:
        return [job_of(row) for row in await connection.execute(select_jobs())]


async def test_the_migrated_ledger_entries_match_every_existing_job(store: JobStore) -> None:
    for job in await all_jobs(store):
        sums = sum((Amounts(row.videos, row.credits, row.usd) for row in await entries(store, job)), ZERO)
        assert sums == expected_balances(job, Decimal(0), with_credit=False), job.id
    assert {row.reason for row in await entries(store)} == {"taken over from before the ledger"}


async def test_the_daily_totals_equal_the_sums_of_the_ledger_entries(store: JobStore) -> None:
    expected: defaultdict[tuple[int, date], Amounts] = defaultdict(Amounts)
    for row in await entries(store):
        for guild_id in (EVERYWHERE, row.guild_id):
            expected[guild_id, row.effective_at.date()] += Amounts(row.videos, 0, row.usd)
    async with store._db.read() as connection:
        rows = await connection.execute(select(money_tables.daily_totals))
        assert {(row.guild_id, row.day): Amounts(row.videos, 0, row.usd) for row in rows} == expected
        today = await ledger.spent(connection, 10, NOW)
    assert (today.videos_today, today.usd_today) == (7, Decimal("0.523456790"))
    assert today.usd_month == Decimal("0.923456790")


async def test_a_members_usage_is_the_same_after_the_upgrade(store: JobStore) -> None:
    usage = (await store.allowance(Requester(10, 100, 1), NOW)).usage
    assert len(usage.charged_at) == 7
    assert usage.running == 4


async def test_existing_jobs_continue_after_the_upgrade(store: JobStore) -> None:
    leases = dict.fromkeys(JobState, MINUTE)
    waiting = await store.claim_queued(NOW, vtrix(MANY), MINUTE)
    assert waiting is not None
    assert waiting.id == "queued job"
    [running] = [job for job in await store.claim_due(NOW, MANY, leases) if job.id == "running job"]
    paid = JobUpdate(cost_usd=Decimal("0.3"))
    assert await store.apply(running, MoveTo(JobState.DELIVERING, paid), NOW)
    assert [row.usd for row in await entries(store, running)] == [0, Decimal("0.3")]
    job = await add(store)
    assert await store.apply((await store.claim_due(NOW, MANY, leases))[0], Reschedule(None), NOW)
    assert (await store.get(job.id)) is not None


async def test_a_job_may_await_approval_and_invalid_states_are_rejected(store: JobStore) -> None:
    async with store._db.write() as connection:
        await connection.execute(text("UPDATE jobs SET state = 'awaiting' WHERE id = 'queued job'"))
    for change in ("state = 'dreaming'", "state = 'running', upstream_id = NULL"):
        with pytest.raises(IntegrityError):
            async with store._db.write() as connection:
                await connection.execute(text(f"UPDATE jobs SET {change} WHERE id = 'queued job'"))  # noqa: S608


async def test_active_jobs_are_found_through_their_index(store: JobStore, kind: str) -> None:
    await add(store)
    explain = "EXPLAIN QUERY PLAN" if kind == "sqlite" else "EXPLAIN"
    async with store._db.write() as connection:
        if kind == "postgresql":
            await connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        query = select(tables.jobs.c.id).where(IS_ACTIVE, tables.jobs.c.state == JobState.QUEUED)
        shown = query.compile(connection.sync_connection, compile_kwargs={"literal_binds": True})
        plan = str((await connection.exec_driver_sql(f"{explain} {shown}")).all())
    assert "ix_jobs_active" in plan


OLD_AUDIT_ROWS: tuple[dict[str, Any], ...] = (
    {"what": "ban of <@7>", "before": None, "after": 'until 2026-02-01 12:00 UTC: "spam"\t50 %', "by": 9},
    {"what": "operator's access", "before": "open", "after": "blocked", "by": None},
    {"what": "approval of video job_1", "before": "waits", "after": "approved", "by": 9},
    {"what": "approval of video job_2", "before": "waits", "after": "declined", "by": 9},
)


def upgrade_to_second_version(connection: Connection) -> None:
    schema_version.run_migrations(connection, "0002")


@pytest.fixture
async def second_version(empty_url: str) -> AsyncIterator[Database]:
    """A database of the second version, with an audit log, and notifications in every stage."""
    change = text(
        "INSERT INTO changes (guild_id, at, by, what, before, after) VALUES (10, :at, :by, :what, :before, :after)"
    ).bindparams(bindparam("at", type_=UtcDateTime))
    notice = text(
        "INSERT INTO notices (id, guild_id, channel_id, key, text, created_at, due_at, attempts, lease_token) "
        "VALUES (:id, 0, 5, :key, :text, :at, :due_at, 0, :token)"
    ).bindparams(bindparam("at", type_=UtcDateTime), bindparam("due_at", type_=UtcDateTime))
    async with Database.open(empty_url) as database:
        async with database.write() as connection:
            await connection.run_sync(upgrade_to_second_version)
            for row in OLD_AUDIT_ROWS:
                await connection.execute(change, {**row, "at": NOW})
            for waiting in (
                {"id": "1", "key": None, "text": "⚙️ sent, maybe", "due_at": NOW, "token": "its name"},
                {"id": "2", "key": None, "text": "> and its second line", "due_at": NOW, "token": "its name"},
                {"id": "3", "key": "once", "text": "not sent yet", "due_at": NOW, "token": None},
                {"id": "4", "key": "told", "text": "", "due_at": None, "token": None},
            ):
                await connection.execute(notice, {**waiting, "at": NOW})
        yield database


async def test_existing_audit_log_entries_are_still_listed(second_version: Database) -> None:
    await migrate(second_version)
    async with second_version.read() as connection:
        found = [entry.change for entry in await audit_log.latest(connection, 10, 10)]
    old = [it for it in found if it.action is Action.LEGACY]
    assert {(it.legacy_what, it.before, it.after) for it in old} == {
        (row["what"], row["before"], row["after"]) for row in OLD_AUDIT_ROWS[:2]
    }


async def test_existing_approval_decisions_are_still_known(second_version: Database) -> None:
    await migrate(second_version)
    job = Job("job_2", JobState.FAILED, 10, 100, 1, Order("a fox"), NOW, NOW)
    async with second_version.read() as connection:
        approved = await approvals.decision_on(connection, replace(job, id="job_1"))
        declined = await approvals.decision_on(connection, job)
    assert approved == Decision(Verdict.APPROVED, 9, NOW)
    assert declined == Decision(Verdict.DECLINED, 9, NOW)


async def test_existing_notifications_are_sent_as_they_were_written(second_version: Database) -> None:
    await migrate(second_version)
    outbox = notifications.NotificationStore(second_version, render)
    [tried] = await outbox.claim(NOW, MANY, MINUTE)
    assert (tried.token, tried.tried_before) == ("its name", True)
    assert tried.text == "⚙️ sent, maybe\n> and its second line"
    await outbox.done(tried)
    [fresh] = await outbox.claim(NOW, MANY, MINUTE)
    assert (fresh.text, fresh.channel_id) == ("not sent yet", 5)
    async with second_version.write() as connection:
        await notifications.post(connection, 0, Announcement("once more"), NOW, channel_id=5, key="told")
    await outbox.done(fresh)
    assert await outbox.claim(NOW, MANY, MINUTE) == []
