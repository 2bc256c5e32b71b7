"""Upgrades a database from before the fields were renamed, with rows in every table: every row is kept."""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, column, insert, inspect, table, text, update
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.types import TypeEngine

from bot.chat.messages.notification_texts import render
from bot.domain.guilds import Access, Ban, BlockedTerm, Budget, Guild, GuildSettings, LimitOverrides, OperatorState
from bot.domain.jobs import ENDED, FailureDetail, FailureReason, JobState, Resolution
from bot.domain.limits import Credit
from bot.store.engine import Database
from bot.store.guilds import bans, guild_settings, limit_overrides, policy_entries
from bot.store.guilds.limit_overrides import LimitTarget
from bot.store.jobs import submission_gate
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.submission_gate import Gate
from bot.store.maintenance import schema_version
from bot.store.maintenance.migrate import migrate
from bot.store.money import ledger
from bot.store.outbox.notifications import NotificationStore
from bot.store.privacy.member_data import MemberDataStore
from bot.store.types import Money, StorableJson, Usd, UtcDateTime
from tests.providers_asked import P480, VTRIX, vtrix
from tests.store.factories import DAY, LEASES, MANY, MINUTE, NOW, UNLIMITED, add, entries

LATER = NOW + timedelta(hours=1)
USD = Decimal("0.123456789")

TYPES: dict[str, TypeEngine[Any]] = {
    **dict.fromkeys(("created_at", "state_since", "due_at", "lease_until", "submitted_at", "at"), UtcDateTime()),
    **dict.fromkeys(("until", "counts_at", "expires_at", "opens_at", "next_submit_at"), UtcDateTime()),
    **dict.fromkeys(("welcomed_at", "left_at", "erase_asked_at"), UtcDateTime()),
    **dict.fromkeys(("estimate_usd", "usd", "usd_per_day", "usd_per_month"), Usd()),
    **dict.fromkeys(("granted_usd_per_day", "granted_usd_per_month"), Usd()),
    **dict.fromkeys(("raw", "resolutions"), StorableJson()),
    "cost_usd": Money(),
}


def old_job(state: JobState, **columns: Any) -> dict[str, Any]:
    task = f"task-{state}" if state in {JobState.RUNNING, JobState.DELIVERING, JobState.DELIVERED} else None
    due_at = {JobState.QUEUED: None, JobState.DELIVERED: None}.get(state, NOW)
    return {
        "id": f"{state} job",
        "state": state,
        "guild_id": 10,
        "channel_id": 100,
        "user_id": 1,
        "prompt": f"a fox, {state}",
        "negative_prompt": "blurry",
        "resolution": "480P",
        "seed": 7,
        "prompt_extend": True,
        "watermark": False,
        "created_at": NOW - DAY,
        "state_since": NOW - MINUTE,
        "due_at": due_at,
        "counted": True,
        "cancel_requested": False,
        "attempts": 2,
        "claims": 1,
        "lease_token": f"token-{state}",
        "lease_until": NOW - MINUTE,
        "upstream_id": task,
        "submitted_at": NOW - MINUTE,
        "progress": 0.5,
        "result_url": None,
        "cost_usd": Decimal("0.1000"),
        "raw": {"status": str(state)},
        "failure": None,
        "failure_detail": None,
        "status_message_id": 1000,
        "result_message_id": 1001,
        "review_message_id": 1002,
        "estimate_usd": USD,
        "grant_id": None,
    } | columns


JOBS = [
    *(old_job(state) for state in JobState if state is not JobState.FAILED),
    *(
        old_job(JobState.FAILED, id=str(reason), failure=reason, failure_detail=f"why: {reason}", counted=False)
        for reason in FailureReason
    ),
    old_job(JobState.QUEUED, id="paid with a credit", grant_id=1),
]
OLD_ROWS: dict[str, list[dict[str, Any]]] = {
    "jobs": JOBS,
    "frames": [{"job_id": "queued job", "mime": "image/png", "data": b"\x00a picture"}],
    "members": [{"guild_id": 0, "user_id": 8, "created_at": NOW, "erase_asked_at": LATER}],
    "guilds": [
        {
            "id": 10,
            "access": "allowed",
            "granted_usd_per_day": USD,
            "granted_usd_per_month": 2 * USD,
            "welcomed_at": NOW,
            "left_at": LATER,
            "videos": 3,
            "running": 4,
            "pause_s": 5,
            "window_hours": 6,
            "admins_exempt": True,
            "videos_per_day": 7,
            "usd_per_day": 3 * USD,
            "usd_per_month": 4 * USD,
            "resolutions": ["480P"],
            "age_restricted_only": True,
            "approval": True,
            "paused": True,
            "strikes": 8,
            "strike_pause_hours": 9,
            "log_channel_id": 11,
        }
    ],
    "tiers": [
        {"guild_id": 10, "kind": "role", "target_id": 5, "videos": 1, "running": 2, "pause_s": 3},
        {"guild_id": 10, "kind": "member", "target_id": 1, "videos": 4, "running": 5, "pause_s": 6},
    ],
    "places": [{"guild_id": 10, "kind": "role", "target_id": 5, "allowed": False}],
    "words": [{"guild_id": 10, "text": "g.re", "is_pattern": True}],
    "bans": [{"guild_id": 10, "user_id": 6, "reason": "spam", "at": NOW, "until": LATER, "by": 9}],
    "strikes": [{"guild_id": 10, "user_id": 1, "at": NOW}],
    "grants": [
        {"guild_id": 10, "user_id": 1, "credits_left": 2, "expires_at": LATER, "at": NOW, "by": 9},
    ],
    "ledger": [
        {
            "kind": "reserve",
            "guild_id": 10,
            "user_id": 1,
            "job_id": "queued job",
            "grant_id": 1,
            "at": LATER,
            "counts_at": NOW,
            "videos": 1,
            "credits": -1,
            "usd": USD,
            "by": 1,
            "why": "accepted",
        }
    ],
    "totals": [{"guild_id": 10, "day": date(2026, 1, 31), "videos": 1, "usd": USD}],
    "prices": [{"resolution": "480P", "usd": USD, "tasks": 12}],
    "changes": [{"guild_id": 10, "at": NOW, "by": 9, "what": "paused", "before": "off", "after": "on"}],
    "notices": [
        {
            "id": "n1",
            "guild_id": 10,
            "channel_id": None,
            "key": "a key",
            "text": "hello",
            "attempts": 1,
            "created_at": NOW,
            "due_at": NOW,
            "lease_token": "nonce",
            "lease_until": NOW - MINUTE,
        }
    ],
}
OLD_SINGLE_ROWS = {
    "upstream_gate": {"opens_at": NOW, "reason": "no balance", "failures": 3, "next_submit_at": LATER},
    "house": {"draining": True, "usd_per_day": USD, "usd_per_month": 2 * USD, "queued_max": 50},
}

NEW_TABLE_NAMES = {
    "frames": "first_frames",
    "upstream_gate": "submission_gate",
    "house": "operator_state",
    "tiers": "limit_overrides",
    "places": "policy_entries",
    "words": "blocked_terms",
    "strikes": "violations",
    "grants": "credit_grants",
    "totals": "daily_totals",
    "changes": "audit_log",
    "notices": "notifications",
}


def upgrade_to_old_version(connection: Connection) -> None:
    schema_version.run_migrations(connection, "0002")


def upgrade_to_typed_events(connection: Connection) -> None:
    schema_version.run_migrations(connection, "0003")


def upgrade_to_one_provider(connection: Connection) -> None:
    schema_version.run_migrations(connection, "0017")


async def all_rows(connection: AsyncConnection, renamed: dict[str, str]) -> dict[str, list[tuple[Any, ...]]]:
    """Every table's rows as the driver gives them, by the table's old name."""
    found = {}
    for old in (*OLD_ROWS, *OLD_SINGLE_ROWS):
        rows = await connection.exec_driver_sql(f"SELECT * FROM {renamed.get(old, old)}")  # noqa: S608
        found[old] = sorted((tuple(row) for row in rows), key=repr)
    return found


@pytest.fixture
async def old_database(empty_url: str) -> AsyncIterator[Database]:
    """A database of that version, with rows in all tables."""
    async with Database.open(empty_url) as database:
        async with database.write() as connection:
            await connection.run_sync(upgrade_to_old_version)
            for name, rows in OLD_ROWS.items():
                target = table(name, *(column(key, TYPES.get(key)) for key in rows[0]))
                await connection.execute(insert(target), rows)
            for name, row in OLD_SINGLE_ROWS.items():
                target = table(name, *(column(key, TYPES.get(key)) for key in row))
                await connection.execute(update(target).values(row))
        yield database


@pytest.fixture
async def database(old_database: Database) -> Database:
    await migrate(old_database)
    return old_database


def test_the_old_database_has_a_row_in_every_table_and_a_job_in_every_state() -> None:
    assert {job["state"] for job in JOBS} == set(JobState)
    assert {job["failure"] for job in JOBS} == {None, *FailureReason}
    assert set(NEW_TABLE_NAMES) <= OLD_ROWS.keys() | OLD_SINGLE_ROWS.keys()


async def test_every_row_of_every_table_is_kept_as_it_was(old_database: Database) -> None:
    async with old_database.write() as connection:
        # The migration before the renaming: it changes two columns of the audit log.
        await connection.run_sync(upgrade_to_typed_events)
    async with old_database.read() as connection:
        before = await all_rows(connection, {})
        tables = set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
    assert tables == {*OLD_ROWS, *OLD_SINGLE_ROWS, "alembic_version"}
    assert all(before.values())
    async with old_database.write() as connection:
        # The one after that makes new tables of some: `tests/store/test_providers_migration.py`.
        await connection.run_sync(upgrade_to_one_provider)
    async with old_database.read() as connection:
        after = await all_rows(connection, NEW_TABLE_NAMES)
        tables = set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))
    # A later step may add tables, and columns behind those that were there.
    assert tables >= {NEW_TABLE_NAMES.get(name, name) for name in (*OLD_ROWS, *OLD_SINGLE_ROWS)}
    assert not tables & (NEW_TABLE_NAMES.keys() - set(NEW_TABLE_NAMES.values()))
    widths = {name: len(rows[0]) for name, rows in before.items()}
    assert {name: [row[: widths[name]] for row in rows] for name, rows in after.items()} == before


async def test_each_value_is_found_under_its_new_name(database: Database) -> None:
    store = JobStore(database, UNLIMITED)
    for row in JOBS:
        job = await store.get(row["id"])
        assert job is not None
        assert (job.state, job.state_changed_at, job.due_at) == (row["state"], row["state_since"], row["due_at"])
        assert (job.charged, job.claim_count, job.attempts) == (row["counted"], 1, 2)
        detail = None if row["failure_detail"] is None else FailureDetail.from_text(row["failure_detail"])
        assert (job.failure_reason, job.failure_detail) == (row["failure"], detail)
        assert (job.status_message_id, job.result_message_id, job.approval_message_id) == (1000, 1001, 1002)
        assert (job.estimated_cost_usd, job.cost_usd) == (USD, Decimal("0.1000"))
        assert job.credit_grant_id == row["grant_id"]
    frame = await store.frame("queued job")
    assert frame is not None
    assert (frame.data, frame.mime) == (b"\x00a picture", "image/png")
    [entry] = await entries(store)
    assert (entry.created_at, entry.effective_at, entry.reason) == (LATER, NOW, "accepted")
    assert (entry.credit_grant_id, entry.actor_id) == (1, 1)
    async with database.read() as connection:
        assert await submission_gate.get_gate(connection, VTRIX) == Gate(NOW, "no balance", 3, LATER)
        assert await guild_settings.operator_state_of(connection) == OperatorState(True, Budget(USD, 2 * USD), 50)  # noqa: FBT003
        assert await guild_settings.get(connection, 10) == Guild(
            10,
            GuildSettings(
                limits=LimitOverrides(3, 4, 5),
                window_hours=6,
                admins_exempt=True,
                videos_per_day=7,
                budget=Budget(3 * USD, 4 * USD),
                allowed_resolutions=frozenset({Resolution.P480}),
                age_restricted_only=True,
                approval_required=True,
                paused=True,
                violation_limit=8,
                violation_pause_hours=9,
                log_channel_id=11,
            ),
            Access.ALLOWED,
            Budget(USD, 2 * USD),
            NOW,
            LATER,
        )
        assert await limit_overrides.by_target(connection, 10, LimitTarget.ROLE) == {5: LimitOverrides(1, 2, 3)}
        assert await limit_overrides.by_target(connection, 10, LimitTarget.MEMBER) == {1: LimitOverrides(4, 5, 6)}
        assert await policy_entries.terms(connection, 10) == (BlockedTerm("g.re", is_pattern=True),)
        assert await bans.active_ban(connection, 10, 6, NOW) == Ban(10, 6, "spam", NOW, LATER, 9)
        assert await ledger.credits_of(connection, 10, 1, NOW) == (Credit(1, 2, LATER),)
        assert await ledger.expected_price(connection, P480, Decimal("0.1")) == USD
        assert (await ledger.spent(connection, 10, NOW)).usd_today == USD
    held = await MemberDataStore(database).read(1)
    assert held.violations == ((10, NOW),)
    [erasure] = await MemberDataStore(database).erasure_requests()
    assert (erasure.user_id, erasure.asked_at) == (8, LATER)
    [batch] = await NotificationStore(database, render).claim(NOW, 1, MINUTE)
    assert (batch.token, batch.channel_id, batch.text) == ("nonce", 11, "hello")


async def test_jobs_continue_and_new_rows_get_new_ids(database: Database) -> None:
    store = JobStore(database, UNLIMITED)
    async with database.write() as connection:
        await connection.execute(text("DELETE FROM bans"))
        await guild_settings.write(connection, 10, {"paused": False, "approval_required": False, "left_at": None})
        await connection.execute(
            text("UPDATE operator_state SET draining = :no, usd_per_day = NULL"), {"no": False}
        )
        await connection.execute(text("UPDATE operator_state SET usd_per_month = NULL"))
        await submission_gate.reopen(connection, VTRIX, LATER)
    job = await add(store, user_id=3, guild_id=12)
    assert [entry.id for entry in await entries(store, job)] == [2]
    due = {row["id"] for row in JOBS if row["due_at"] is not None} | {job.id}
    assert {claimed.id for claimed in await store.claim_due(NOW, MANY, LEASES)} == due
    claimed = await store.claim_queued(LATER, vtrix(MANY), MINUTE)
    assert claimed is not None
    assert claimed.id in {"queued job", "paid with a credit"}
    assert claimed.state not in ENDED
