"""A database with the retention worker."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, Table, func, insert, select

from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import Job, JobState, NewJob, Order, new_job_id
from bot.domain.ledger import Amounts, Entry, EntryKind
from bot.domain.member_data import RetentionPolicy
from bot.domain.outcomes import JobUpdate, MoveTo, Reschedule
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.jobs.job_store import JobStore
from bot.store.money import ledger
from bot.store.money_tables import credit_grants, daily_totals
from bot.store.money_tables import ledger as entries
from bot.store.privacy.member_data import MemberDataStore
from bot.store.privacy.retention import RetentionStore
from bot.store.schema import (
    audit_log,
    bans,
    blocked_terms,
    jobs,
    limit_overrides,
    members,
    notifications,
    policy_entries,
    violations,
)
from bot.store.schema import guilds as guild_rows
from bot.worker.retention import RetentionReport, RetentionWorker
from tests.providers_asked import CATALOG, vtrix
from tests.store.factories import FRAME, NOW, UNLIMITED, claim, read, requester_of

DAY = timedelta(days=1)
POLICY = RetentionPolicy(days=90, days_after_leaving=30)
HERE, ELSEWHERE = 10, 11
ONE_VIDEO_PER_WINDOW = OperatorDefaults(
    catalog=CATALOG, limits=LimitOverrides(videos_per_window=1, max_active=5, cooldown_s=0), window_hours=24
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
        submitting = await self.store.claim_queued(at, vtrix(99), timedelta(minutes=1))
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


async def insert_row_of_every_kind(retention: RetentionHarness, guild_id: int) -> None:
    """Inserts one row of every kind that is kept for a server."""
    await retention.set(guild_id, videos_per_window=7, approval_required=True, log_channel_id=5)
    for kind in ("member", "role"):
        await retention.insert(
            limit_overrides, {"guild_id": guild_id, "kind": kind, "target_id": 1, "videos_per_window": 1}
        )
    await retention.insert(
        policy_entries, {"guild_id": guild_id, "kind": "channel", "target_id": 1, "allowed": True}
    )
    await retention.insert(blocked_terms, {"guild_id": guild_id, "text": "bad", "is_pattern": False})
    await retention.insert(bans, {"guild_id": guild_id, "user_id": 5, "reason": "spam", "created_at": NOW})
    await retention.insert(violations, {"guild_id": guild_id, "user_id": 5, "created_at": NOW})
    await retention.insert(members, {"guild_id": guild_id, "user_id": 5, "created_at": NOW})
    await retention.insert(audit_log, {"guild_id": guild_id, "at": NOW, "by": 9, "action": "limits_set"})
    row = {
        "id": f"n{guild_id}",
        "guild_id": guild_id,
        "kind": "text",
        "text": "x",
        "created_at": NOW,
        "due_at": NOW,
        "attempts": 0,
    }
    await retention.insert(notifications, row)
    await retention.grant(3, guild_id)


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


async def row_counts_of(retention: RetentionHarness, guild_id: int) -> dict[str, int]:
    """How many rows each table has for the server."""
    count = {
        it.name: sum(row.guild_id == guild_id for row in await retention.rows(it)) for it in TABLES_WITH_GUILD_ID
    }
    count["guilds"] = sum(row.id == guild_id for row in await retention.rows(guild_rows))
    return {name: number for name, number in count.items() if number}
