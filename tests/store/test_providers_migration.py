"""Upgrades a database of the version before there were several providers: what was made, was made by the first."""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Connection, column, insert, select, table, text

from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, JobState, ProviderName, Resolution
from bot.domain.models import TaskKind
from bot.domain.outcomes import JobUpdate, MoveTo
from bot.store import operator_reports
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance import schema_version
from bot.store.maintenance.migrate import migrate
from bot.store.money_tables import provider_totals
from bot.store.schema import extensions, submission_gates, task_durations
from bot.store.types import Money, Usd, UtcDateTime
from tests.providers_asked import BOTH, DASHSCOPE, P480, VTRIX
from tests.store.factories import DAY, LEASES, MANY, MINUTE, NOW, SECOND, UNLIMITED
from tests.store.money.sums import wrong_sums

YESTERDAY = NOW - DAY
LATE = NOW.replace(hour=23, minute=59, second=59)
REJECTED = '{"cause": "content_refused", "quote": "inappropriate", "violations_left": 2}'
REFUSED = '{"cause": "refused_by_service", "quote": "says \\"content_refused\\" somewhere"}'
TYPES: dict[str, Any] = {
    "created_at": UtcDateTime,
    "state_changed_at": UtcDateTime,
    "due_at": UtcDateTime,
    "submitted_at": UtcDateTime,
    "cost_unknown_since": UtcDateTime,
    "effective_at": UtcDateTime,
    "opens_at": UtcDateTime,
    "next_submit_at": UtcDateTime,
    "observed_at": UtcDateTime,
    "cost_usd": Money,
    "estimated_cost_usd": Usd,
    "usd": Usd,
    "average_usd": Usd,
}

# The state, the failure, whether it has a task, its cost, the entries of the ledger, and who must have made it.
JOBS: dict[str, tuple[str, str | None, str | None, bool, str | None, tuple[str, ...], ProviderName | None]] = {
    "awaiting": ("awaiting", None, None, False, None, ("0.2",), None),
    "queued": ("queued", None, None, False, None, ("0.2",), None),
    "submitting": ("submitting", None, None, False, None, ("0.2",), VTRIX),
    "running": ("running", None, None, True, None, ("0.2",), VTRIX),
    "delivered": ("delivered", None, None, True, "0.123456789", ("0.2", "-0.076543211"), VTRIX),
    "cancelled in the queue": ("cancelled", None, None, False, None, ("0.2", "-0.2"), None),
    "cancelled, paid": ("cancelled", None, None, True, "0.12", ("0.2", "-0.08"), VTRIX),
    "unknown": ("failed", "outcome_unknown", "{}", False, None, ("0.2",), VTRIX),
    "lost": ("failed", "lost", "{}", False, None, ("0.2", "-0.2"), VTRIX),
    "refused": ("failed", "refused", REFUSED, False, None, ("0.2", "-0.2"), None),
    "rejected at once": ("failed", "refused", REJECTED, False, None, ("0.2", "-0.2"), None),
    "rejected later": ("failed", "upstream_failed", REJECTED, True, None, ("0.2", "-0.2"), VTRIX),
    "failed": ("failed", "upstream_failed", '{"cause": "task_failed"}', True, "0.05", ("0.2", "-0.15"), VTRIX),
    "declined": ("failed", "declined", '{"cause": "declined"}', False, None, ("0.2", "-0.2"), None),
}


def accepted_at(name: str) -> Any:
    """Some yesterday, some in the last second of a day."""
    return {"delivered": YESTERDAY, "failed": YESTERDAY, "running": LATE}.get(name, NOW)


def upgrade_to_the_version_before(connection: Connection) -> None:
    schema_version.run_migrations(connection, "0017")


def job_row(name: str) -> dict[str, Any]:
    state, failure, detail, has_task, cost, _, _ = JOBS[name]
    at = accepted_at(name)
    return {
        "id": name, "state": state, "guild_id": 10, "channel_id": 100, "user_id": 1, "prompt": "a fox",
        "resolution": "480P", "prompt_extend": True, "watermark": False, "created_at": at,
        "state_changed_at": at, "due_at": None, "charged": state != "failed", "cancel_requested": False,
        "attempts": 0, "claim_count": 1 if state == "submitting" else 0,
        "upstream_id": f"task-{name}" if has_task else None, "submitted_at": at if has_task else None,
        "cost_usd": None if cost is None else Decimal(cost), "estimated_cost_usd": Decimal("0.2"),
        "failure_reason": failure, "failure_detail": detail,
        "cost_unknown_since": at if name == "unknown" else None,
    }  # fmt: skip


def entry_rows(name: str) -> list[dict[str, Any]]:
    amounts = JOBS[name][5]
    return [
        {
            "kind": "reserve" if number == 0 else "settle", "guild_id": 10, "user_id": 1, "job_id": name,
            "created_at": NOW, "effective_at": accepted_at(name), "videos": 0, "credits": 0,
            "usd": Decimal(amount), "reason": "accepted",
        }
        for number, amount in enumerate(amounts)
    ]  # fmt: skip


def total_rows() -> list[dict[str, Any]]:
    """The daily totals, as they were kept."""
    by_day: dict[tuple[int, date], Decimal] = {}
    for name in JOBS:
        for entry in entry_rows(name):
            for guild_id in (0, 10):
                key = guild_id, entry["effective_at"].date()
                by_day[key] = by_day.get(key, Decimal(0)) + entry["usd"]
    return [{"guild_id": guild_id, "day": day, "videos": 0, "usd": usd} for (guild_id, day), usd in by_day.items()]


OLD_ROWS: dict[str, list[dict[str, Any]]] = {
    "jobs": [job_row(name) for name in JOBS],
    "ledger": [row for name in JOBS for row in entry_rows(name)],
    "daily_totals": total_rows(),
    "prices": [{"resolution": "480P", "average_usd": Decimal("0.123456789"), "task_count": 12}],
    "extensions": [{"job_id": "delivered", "parent_id": "gone", "pieces": 3}],
    "task_durations": [{"resolution": "480P", "over_s": 50.0, "within_s": 60.0}],
}


@pytest.fixture
async def database(empty_url: str) -> AsyncIterator[Database]:
    """A database of that version, brought to this one."""
    async with Database.open(empty_url) as database:
        async with database.write() as connection:
            await connection.run_sync(upgrade_to_the_version_before)
            for name, rows in OLD_ROWS.items():
                target = table(name, *(column(key, TYPES.get(key)) for key in rows[0]))
                await connection.execute(insert(target), rows)
            columns = {"opens_at": NOW + MINUTE, "next_submit_at": NOW + SECOND}
            gate = table("submission_gate", *(column(key, UtcDateTime) for key in columns))
            await connection.execute(gate.update().values(columns))
            failures = "UPDATE submission_gate SET reason = 'no balance', consecutive_failures = 3"
            await connection.execute(text(failures))
        await migrate(database)
        yield database


@pytest.fixture
def store(database: Database) -> JobStore:
    return JobStore(database, UNLIMITED)


async def test_who_made_each_job_and_with_what(store: JobStore) -> None:
    for name, (*_, provider) in JOBS.items():
        job = await store.get(name)
        assert job is not None
        assert (name, job.provider, job.provider_since) == (name, provider, None)
        assert (job.order.model, job.order.duration_s) == ("wan22_i2v_flash", 5)
        assert (job.refusers, job.upstream_urls, job.can_be_stopped, job.stop_result) == (
            frozenset(),
            None,
            False,
            None,
        )


async def test_the_sums_of_the_providers_equal_the_ledger(database: Database) -> None:
    async with database.read() as connection:
        assert await wrong_sums(connection) == []
        found = {(row.provider, row.day): row.usd for row in await connection.execute(select(provider_totals))}
    assert found == {
        (VTRIX, YESTERDAY.date()): Decimal("0.173456789"),
        (VTRIX, NOW.date()): Decimal("0.72"),
    }


async def test_what_the_moderation_refused_is_an_end_of_its_own(store: JobStore) -> None:
    for name in ("rejected at once", "rejected later"):
        job = await store.get(name)
        assert job is not None
        assert job.failure_reason is FailureReason.REJECTED
        assert job.failure_detail == FailureDetail(
            FailureCause.CONTENT_REFUSED, "inappropriate", violations_left=2
        )
    refused = await store.get("refused")
    assert refused is not None
    assert refused.failure_reason is FailureReason.REFUSED


async def test_the_gate_is_that_of_the_first_provider(database: Database, store: JobStore) -> None:
    gate = await store.gate(VTRIX)
    assert (gate.opens_at, gate.reason, gate.failures) == (NOW + MINUTE, "no balance", 3)
    assert gate.next_submit_at == NOW + SECOND
    async with database.read() as connection:
        assert list(await connection.scalars(select(submission_gates.c.provider))) == [VTRIX]


async def test_prices_durations_and_lengths_are_kept(database: Database) -> None:
    async with database.read() as connection:
        prices = await operator_reports.learned_prices(connection)
        assert prices == {P480: operator_reports.Price(Decimal("0.123456789"), 12)}
        [row] = (await connection.execute(select(task_durations))).all()
        kind = TaskKind(row.provider, row.model, Resolution(row.resolution), row.duration_s)
        assert (kind, row.over_s) == (P480, 50)
        [extended] = (await connection.execute(select(extensions))).all()
    assert (extended.pieces, extended.seconds) == (3, 15)


async def test_old_jobs_go_on_and_others_may_have_any_provider(database: Database, store: JobStore) -> None:
    later = NOW + timedelta(hours=1)
    queued = await store.claim_queued(later, BOTH, MINUTE)
    assert queued is not None
    # After its failures the first takes one job at a time, and has that one.
    assert (queued.id, queued.provider, queued.provider_since) == ("queued", DASHSCOPE, later)
    async with database.write() as connection:
        await connection.execute(text("UPDATE jobs SET due_at = created_at WHERE id = 'running'"))
    [running] = [job for job in await store.claim_due(NOW + DAY, MANY, LEASES) if job.state is JobState.RUNNING]
    paid = JobUpdate(cost_usd=Decimal("0.3"), result_url="https://cdn.example/v.mp4")
    assert await store.apply(running, MoveTo(JobState.DELIVERING, paid), NOW + DAY)
    async with database.read() as connection:
        assert await wrong_sums(connection) == []
