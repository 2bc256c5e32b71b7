"""Retention and the data of left servers, on both databases, applied by the real retention worker."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Row, Table, func, insert, select, update

from bot.domain.errors import QuotaRefused
from bot.domain.guilds import Access, LimitOverrides, OperatorDefaults
from bot.domain.jobs import Job, JobState, JobUpdate, MoveTo, NewJob, Order, Reschedule, new_job_id
from bot.domain.ledger import Amounts, Entry, EntryKind
from bot.domain.member_data import RetentionPolicy
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.jobs.job_store import JobStore
from bot.store.money import ledger
from bot.store.privacy.member_data import MemberDataStore
from bot.store.privacy.retention import RetentionStore
from bot.store.schema import (
    EVERYWHERE,
    audit_log,
    bans,
    blocked_terms,
    credit_grants,
    daily_totals,
    first_frames,
    jobs,
    limit_overrides,
    members,
    notifications,
    policy_entries,
    violations,
)
from bot.store.schema import guilds as guild_rows
from bot.store.schema import ledger as entries
from bot.worker.retention import RetentionReport, RetentionWorker
from tests.store.factories import FRAME, NOW, UNLIMITED, bring_to, claim, read, requester_of

DAY = timedelta(days=1)
POLICY = RetentionPolicy(days=90, days_after_leaving=30)
HERE, ELSEWHERE = 10, 11
ONE_VIDEO_PER_WINDOW = OperatorDefaults(
    limits=LimitOverrides(videos_per_window=1, max_active=5, cooldown_s=0), window_hours=24
)


@dataclass
class RetentionHarness:
    """One database, and a clock that the test sets."""

    database: Database
    rules: OperatorDefaults = UNLIMITED
    now: datetime = NOW
    store: JobStore = field(init=False)

    def __post_init__(self) -> None:
        self.store = JobStore(self.database, self.rules)

    def worker(self, policy: RetentionPolicy = POLICY) -> RetentionWorker:
        store = RetentionStore(self.database, self.rules)
        return RetentionWorker(store, MemberDataStore(self.database, self.rules), policy, clock=lambda: self.now)

    async def run_once(self, at: datetime, policy: RetentionPolicy = POLICY) -> RetentionReport:
        self.now = at
        report = await self.worker(policy).run_once()
        assert report.failed == 0
        return report

    async def rows(self, table: Table) -> Sequence[Row[Any]]:
        async with self.database.read() as connection:
            return (await connection.execute(select(table).order_by(*table.primary_key.columns))).all()

    async def insert(self, table: Table, *rows: dict[str, Any]) -> None:
        async with self.database.write() as connection:
            await connection.execute(insert(table), list(rows))

    async def set(self, guild_id: int, **columns: Any) -> None:
        async with self.database.write() as connection:
            await guild_settings.write(connection, guild_id, columns)

    async def ended_job(self, at: datetime = NOW, guild_id: int = HERE, user_id: int = 1) -> Job:
        """A job that was cancelled after it was paid for, with all its messages posted."""
        new = NewJob(new_job_id(), guild_id, 100, user_id, Order("a fox"))
        job = await self.store.add(new, FRAME, requester_of(new), at)
        job = await claim(self.store, job.id, at)
        assert await self.store.apply(job, Reschedule(None), at)
        submitting = await self.store.claim_queued(at, 99, timedelta(0), timedelta(minutes=1))
        assert submitting is not None
        job_update = JobUpdate(upstream_id=f"task-{new.id}", cost_usd=Decimal("0.3"))
        assert await self.store.apply(submitting, MoveTo(JobState.CANCELLED, job_update), at)
        assert await self.store.apply(await claim(self.store, job.id, at), Reschedule(None), at)
        return await read(self.store, job)

    async def grant(self, number: int, guild_id: int = HERE, **columns: Any) -> int:
        row = {"guild_id": guild_id, "user_id": 1, "credits_left": 0, "created_at": NOW, "actor_id": 99, **columns}
        async with self.database.write() as connection:
            made = await connection.execute(insert(credit_grants).values(row).returning(credit_grants.c.id))
            grant_id: int = made.scalar_one()
            entry = Entry(EntryKind.GRANT, guild_id, 1, NOW, NOW, Amounts(credits=number), "kind", None, grant_id)
            await ledger.write(connection, entry)
        return grant_id

    async def ledger_sums(self, guild_id: int | None = None) -> Amounts:
        """The sums of the ledger, of one server or of all."""
        columns = [func.coalesce(func.sum(it), 0) for it in (entries.c.videos, entries.c.usd)]
        query = select(*columns) if guild_id is None else select(*columns).where(entries.c.guild_id == guild_id)
        async with self.database.read() as connection:
            videos, usd = (await connection.execute(query)).one()
        return Amounts(int(videos), 0, Decimal(usd))

    async def daily_totals_of(self, guild_id: int) -> Amounts:
        rows = [row for row in await self.rows(daily_totals) if row.guild_id == guild_id]
        return Amounts(sum(row.videos for row in rows), 0, sum((row.usd for row in rows), Decimal(0)))


@pytest.fixture
def harness(database: Database) -> RetentionHarness:
    return RetentionHarness(database)


async def insert_row_of_every_kind(harness: RetentionHarness, guild_id: int) -> None:
    """Inserts one row of every kind that is kept for a server."""
    await harness.set(guild_id, videos_per_window=7, approval_required=True, log_channel_id=5)
    for kind in ("member", "role"):
        await harness.insert(
            limit_overrides, {"guild_id": guild_id, "kind": kind, "target_id": 1, "videos_per_window": 1}
        )
    await harness.insert(
        policy_entries, {"guild_id": guild_id, "kind": "channel", "target_id": 1, "allowed": True}
    )
    await harness.insert(blocked_terms, {"guild_id": guild_id, "text": "bad", "is_pattern": False})
    await harness.insert(bans, {"guild_id": guild_id, "user_id": 5, "reason": "spam", "created_at": NOW})
    await harness.insert(violations, {"guild_id": guild_id, "user_id": 5, "created_at": NOW})
    await harness.insert(members, {"guild_id": guild_id, "user_id": 5, "created_at": NOW})
    await harness.insert(audit_log, {"guild_id": guild_id, "at": NOW, "by": 9, "action": "limits_set"})
    row = {
        "id": f"n{guild_id}",
        "guild_id": guild_id,
        "kind": "text",
        "text": "x",
        "created_at": NOW,
        "due_at": NOW,
        "attempts": 0,
    }
    await harness.insert(notifications, row)
    await harness.grant(3, guild_id)


TABLES_WITH_GUILD_ID = (
    limit_overrides,
    policy_entries,
    blocked_terms,
    bans,
    violations,
    members,
    audit_log,
    notifications,
    credit_grants,
    jobs,
    daily_totals,
    entries,
)


async def row_counts_of(harness: RetentionHarness, guild_id: int) -> dict[str, int]:
    """How many rows each table has for the server."""
    count = {
        it.name: sum(row.guild_id == guild_id for row in await harness.rows(it)) for it in TABLES_WITH_GUILD_ID
    }
    count["guilds"] = sum(row.id == guild_id for row in await harness.rows(guild_rows))
    return {name: number for name, number in count.items() if number}


async def test_a_job_is_anonymised_after_its_retention_and_not_before(harness: RetentionHarness) -> None:
    job = await harness.ended_job(NOW)

    await harness.run_once(NOW + 90 * DAY - timedelta(microseconds=1))
    assert (await read(harness.store, job)).order.prompt == "a fox"

    assert (await harness.run_once(NOW + 90 * DAY)).jobs == 1
    found = await read(harness.store, job)
    assert (found.user_id, found.order.prompt, found.guild_id) == (0, "", HERE)
    assert found.cost_usd == Decimal("0.3")


async def test_the_age_of_a_job_is_counted_from_its_end(harness: RetentionHarness) -> None:
    job = await bring_to(harness.store, JobState.RUNNING, NOW)
    assert await harness.store.apply(job, MoveTo(JobState.CANCELLED), NOW + 80 * DAY)
    assert await harness.store.apply(
        await claim(harness.store, job.id, NOW + 80 * DAY), Reschedule(None), NOW + 80 * DAY
    )

    assert (await harness.run_once(NOW + 100 * DAY)).jobs == 0
    assert (await harness.run_once(NOW + 170 * DAY)).jobs == 1


async def test_old_ledger_entries_are_anonymised_and_keep_their_sums(harness: RetentionHarness) -> None:
    await harness.ended_job(NOW)
    before, total = await harness.ledger_sums(), await harness.daily_totals_of(HERE)

    assert (await harness.run_once(NOW + 90 * DAY)).entries == len(await harness.rows(entries))

    assert {(row.user_id, row.actor_id, row.guild_id) for row in await harness.rows(entries)} == {(0, None, HERE)}
    assert await harness.ledger_sums() == before == await harness.daily_totals_of(EVERYWHERE)
    assert await harness.daily_totals_of(HERE) == total


async def test_a_short_retention_does_not_reset_the_quota(database: Database) -> None:
    harness = RetentionHarness(database, replace(ONE_VIDEO_PER_WINDOW, window_hours=72))
    await harness.ended_job(NOW)

    report = await harness.run_once(NOW + 2 * DAY, RetentionPolicy(days=1, days_after_leaving=30))

    assert (report.jobs, report.entries) == (1, 0)
    with pytest.raises(QuotaRefused) as refused:
        await harness.ended_job(NOW + 2 * DAY)
    assert refused.value.limit == "window"


async def test_records_are_deleted_after_their_retention(harness: RetentionHarness) -> None:
    ban = {"user_id": 1, "reason": "spam", "created_at": NOW - DAY}
    await harness.insert(
        bans, ban | {"guild_id": 1, "expires_at": NOW}, ban | {"guild_id": 2, "expires_at": NOW + DAY}
    )
    await harness.insert(bans, ban | {"guild_id": 3, "expires_at": None})
    await harness.insert(
        audit_log, *({"guild_id": 1, "at": at, "by": 9, "action": "limits_set"} for at in (NOW, NOW + DAY))
    )
    notice = {"guild_id": 1, "kind": "text", "text": "x", "created_at": NOW, "attempts": 0}
    await harness.insert(
        notifications, notice | {"id": "told", "due_at": None}, notice | {"id": "due", "due_at": NOW}
    )
    await harness.insert(violations, {"guild_id": 1, "user_id": 1, "created_at": NOW + 89 * DAY})
    await harness.insert(members, {"guild_id": 1, "user_id": 1, "created_at": NOW})

    assert (await harness.run_once(NOW + 90 * DAY)).records == 5

    assert [row.guild_id for row in await harness.rows(bans)] == [2, 3]
    assert [row.at for row in await harness.rows(audit_log)] == [NOW + DAY]
    assert [row.id for row in await harness.rows(notifications)] == ["due"]
    assert await harness.rows(violations) == await harness.rows(members) == []


async def test_a_used_up_grant_is_anonymised(harness: RetentionHarness) -> None:
    await harness.grant(2, expires_at=NOW + DAY)
    await harness.grant(2)

    await harness.run_once(NOW + 90 * DAY)

    assert [(row.user_id, row.credits_left) for row in await harness.rows(credit_grants)] == [(0, 0), (1, 2)]


async def test_credits_expire_in_the_ledger(harness: RetentionHarness) -> None:
    await harness.grant(2, expires_at=NOW + DAY)

    assert (await harness.run_once(NOW + DAY)).credits == 1

    assert sum(row.credits for row in await harness.rows(entries)) == 0


async def test_a_picture_without_an_active_job_is_deleted(harness: RetentionHarness) -> None:
    job = await harness.ended_job(NOW)
    await harness.insert(first_frames, {"job_id": job.id, "mime": FRAME.mime, "data": FRAME.data})
    waiting = await bring_to(harness.store, JobState.QUEUED, NOW + DAY)

    await harness.run_once(NOW + DAY)

    assert [row.job_id for row in await harness.rows(first_frames)] == [waiting.id]


async def test_a_run_with_nothing_due_does_nothing(harness: RetentionHarness) -> None:
    await harness.ended_job(NOW)
    await insert_row_of_every_kind(harness, HERE)

    assert await harness.run_once(NOW + timedelta(hours=1)) == RetentionReport()


async def test_a_left_server_is_erased_after_its_retention(harness: RetentionHarness) -> None:
    job = await harness.ended_job(NOW)
    await harness.ended_job(NOW, ELSEWHERE)
    for guild_id in (HERE, ELSEWHERE):
        await insert_row_of_every_kind(harness, guild_id)
    await harness.set(HERE, left_at=NOW + DAY)
    kept, everything = await row_counts_of(harness, ELSEWHERE), await harness.daily_totals_of(EVERYWHERE)

    await harness.run_once(NOW + 31 * DAY - timedelta(microseconds=1))
    assert (await row_counts_of(harness, HERE)).keys() >= {
        "guilds",
        "limit_overrides",
        "policy_entries",
        "blocked_terms",
        "bans",
        "jobs",
        "daily_totals",
    }

    assert (await harness.run_once(NOW + 31 * DAY)).guilds == 1
    assert await row_counts_of(harness, HERE) == {}
    assert await row_counts_of(harness, ELSEWHERE) == {name: n for name, n in kept.items() if name != "violations"}
    found = await read(harness.store, job)
    assert (found.guild_id, found.user_id, found.order.prompt) == (0, 0, "")
    assert await harness.daily_totals_of(EVERYWHERE) == everything == await harness.ledger_sums()
    assert (await harness.run_once(NOW + 31 * DAY)).guilds == 0


async def test_rejoining_in_time_keeps_everything(harness: RetentionHarness) -> None:
    await harness.ended_job(NOW)
    await insert_row_of_every_kind(harness, HERE)
    before = await row_counts_of(harness, HERE)
    await harness.set(HERE, left_at=NOW)
    await harness.run_once(NOW + timedelta(hours=12))

    await harness.set(HERE, left_at=None)
    await harness.run_once(NOW + 40 * DAY)

    assert await row_counts_of(harness, HERE) == {name: n for name, n in before.items() if name != "violations"}


async def test_rejoining_during_the_erasure_keeps_the_remaining_data(harness: RetentionHarness) -> None:
    await harness.ended_job(NOW)
    await insert_row_of_every_kind(harness, HERE)
    await harness.set(HERE, left_at=NOW)
    store = RetentionStore(harness.database, harness.rules)
    before, now = NOW + DAY, NOW + 40 * DAY
    assert await store.left_guilds(before) == [HERE]

    await harness.set(HERE, left_at=None)

    assert await store.anonymise_left_jobs(HERE, before) == 0
    assert await store.anonymise_left_entries(HERE, before, now) == 0
    assert await store.clear_left(HERE, before, now) == 0
    assert (await row_counts_of(harness, HERE))["jobs"] == 1


async def test_an_active_job_ends_before_its_server_is_erased(harness: RetentionHarness) -> None:
    job = await bring_to(harness.store, JobState.RUNNING, NOW)
    await insert_row_of_every_kind(harness, HERE)
    await harness.set(HERE, left_at=NOW)

    await harness.run_once(NOW + 31 * DAY)
    assert (await row_counts_of(harness, HERE)).keys() >= {"jobs", "credit_grants", "daily_totals", "guilds"}
    assert (await read(harness.store, job)).user_id == 1

    assert await harness.store.apply(job, MoveTo(JobState.CANCELLED), NOW + 31 * DAY)
    job = await claim(harness.store, job.id, NOW + 31 * DAY)
    assert await harness.store.apply(job, Reschedule(None), NOW + 31 * DAY)
    await harness.run_once(NOW + 32 * DAY)
    assert await row_counts_of(harness, HERE) == {}


async def test_credits_of_a_left_server_are_written_off_in_the_ledger(harness: RetentionHarness) -> None:
    await harness.grant(4)
    await harness.set(HERE, left_at=NOW)

    await harness.run_once(NOW + 30 * DAY)

    lines = await harness.rows(entries)
    assert sum(row.credits for row in lines) == 0
    assert lines[-1].reason == "data deleted"
    assert {(row.guild_id, row.user_id) for row in lines} == {(0, 0)}


@pytest.mark.parametrize(
    ("column", "value"),
    [("access", Access.BLOCKED), ("granted_usd_per_day", Decimal(2)), ("granted_usd_per_month", Decimal(9))],
)
async def test_the_operators_decision_about_a_server_is_kept(
    harness: RetentionHarness, column: str, value: object
) -> None:
    await insert_row_of_every_kind(harness, HERE)
    await harness.set(HERE, left_at=NOW, welcomed_at=NOW, **{column: value})

    await harness.run_once(NOW + 40 * DAY)

    [row] = await harness.rows(guild_rows)
    assert getattr(row, column) == value
    assert (row.videos_per_window, row.approval_required, row.log_channel_id, row.welcomed_at) == (
        None,
        False,
        None,
        None,
    )
    assert (await harness.run_once(NOW + 40 * DAY)).guilds == 0


async def test_leaving_and_rejoining_resets_neither_budget_nor_quota(database: Database) -> None:
    harness = RetentionHarness(database, ONE_VIDEO_PER_WINDOW)
    await harness.ended_job(NOW)
    spent = await harness.daily_totals_of(HERE)
    await harness.set(HERE, left_at=NOW)
    await harness.run_once(NOW + timedelta(hours=1), RetentionPolicy(days=90, days_after_leaving=0))

    assert await harness.daily_totals_of(HERE) == spent
    with pytest.raises(QuotaRefused) as refused:
        await harness.ended_job(NOW + timedelta(hours=2))
    assert refused.value.limit == "window"

    await harness.run_once(NOW + 2 * DAY, RetentionPolicy(days=90, days_after_leaving=0))  # the next month, too
    assert await row_counts_of(harness, HERE) == {}


async def test_all_left_servers_are_erased(harness: RetentionHarness) -> None:
    async with harness.database.write() as connection:
        for guild_id in range(1, 31):
            await guild_settings.write(connection, guild_id, {"left_at": NOW})

    assert (await harness.run_once(NOW + 30 * DAY)).guilds == 30


async def test_simultaneous_retention_workers_apply_it_once(harness: RetentionHarness) -> None:
    for n in range(6):
        await harness.ended_job(NOW + n * timedelta(minutes=1))
    await harness.grant(2, expires_at=NOW)
    await harness.ended_job(NOW + timedelta(hours=1), ELSEWHERE)
    await insert_row_of_every_kind(harness, ELSEWHERE)
    await harness.set(ELSEWHERE, left_at=NOW)
    before = await harness.ledger_sums()
    harness.now = NOW + 91 * DAY

    report = await asyncio.gather(*(harness.worker().run_once() for _ in range(4)))

    assert [it.failed for it in report] == [0, 0, 0, 0]
    assert sum(it.jobs for it in report) == 7
    assert await row_counts_of(harness, ELSEWHERE) == {}
    assert await harness.ledger_sums() == before == await harness.daily_totals_of(EVERYWHERE)
    assert await harness.worker().run_once() == RetentionReport()


async def test_the_retention_worker_completes_erasure_requests(harness: RetentionHarness) -> None:
    await harness.ended_job(NOW)
    await MemberDataStore(harness.database, harness.rules).request_erasure(1, NOW)

    assert (await harness.run_once(NOW + timedelta(hours=1))).erasures == 0
    [job] = await harness.rows(jobs)
    assert job.user_id == 0

    assert (await harness.run_once(NOW + DAY)).erasures == 1
    assert {row.user_id for row in await harness.rows(entries)} == {0}


async def test_one_run_processes_more_than_one_batch(harness: RetentionHarness) -> None:
    await harness.ended_job(NOW)
    [ended] = await harness.rows(jobs)
    await harness.insert(jobs, *(dict(ended._mapping) | {"id": f"job-{n}"} for n in range(1100)))

    assert (await harness.run_once(NOW + 90 * DAY)).jobs == 1101


async def test_a_resumed_job_is_not_anonymised(harness: RetentionHarness) -> None:
    job = await harness.ended_job(NOW)
    async with harness.database.write() as connection:
        change = {"state": JobState.RUNNING, "due_at": NOW}
        await connection.execute(update(jobs).where(jobs.c.id == job.id).values(change))

    assert (await harness.run_once(NOW + 90 * DAY)).jobs == 0
