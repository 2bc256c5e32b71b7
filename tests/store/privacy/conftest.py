"""A database with the stores of jobs and of members' data."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import Row, Table, func, insert, select

from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import Job, JobState
from bot.domain.ledger import Amounts, Entry, EntryKind
from bot.domain.member_data import ErasureResult
from bot.domain.outcomes import Reschedule
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.money import ledger
from bot.store.money_tables import credit_grants, daily_totals
from bot.store.money_tables import ledger as entries
from bot.store.privacy.member_data import MemberDataStore
from tests.providers_asked import CATALOG
from tests.store.factories import NOW, bring_to, claim, read
from tests.store.privacy.retention_harness import RetentionHarness

DAY = timedelta(days=1)
ME = 1
OTHER = 2
RULES = OperatorDefaults(
    catalog=CATALOG, limits=LimitOverrides(videos_per_window=3, max_active=10, cooldown_s=60), window_hours=24
)


@dataclass
class MemberDataHarness:
    """One database with its stores."""

    database: Database
    store: JobStore
    privacy: MemberDataStore
    postgresql: bool

    async def erase(self, now: datetime = NOW, user_id: int = ME) -> ErasureResult:
        return await self.privacy.erase(await self.privacy.request_erasure(user_id, now), now)

    async def continue_erasure(self, now: datetime) -> ErasureResult:
        [erasure] = await self.privacy.erasure_requests()
        return await self.privacy.erase(erasure, now)

    async def rows(self, table: Table) -> Sequence[Row[Any]]:
        async with self.database.read() as connection:
            return (await connection.execute(select(table).order_by(*table.primary_key.columns))).all()

    async def insert(self, table: Table, *rows: dict[str, Any]) -> None:
        async with self.database.write() as connection:
            await connection.execute(insert(table), list(rows))

    async def ledger_sums_and_totals(self) -> tuple[Amounts, list[tuple[object, ...]]]:
        """The sums of all ledger entries, and the rows of the daily totals."""
        columns = [func.coalesce(func.sum(it), 0) for it in (entries.c.videos, entries.c.usd)]
        async with self.database.read() as connection:
            videos, usd = (await connection.execute(select(*columns))).one()
        kept = [tuple(row) for row in await self.rows(daily_totals)]
        return Amounts(int(videos), 0, Decimal(usd)), kept

    async def grant_credits(self, number: int, user_id: int = ME, at: datetime = NOW) -> int:
        """Adds a credit grant with its ledger entry; returns the grant's id."""
        row = {"guild_id": 10, "user_id": user_id, "credits_left": 0, "created_at": at, "actor_id": 99}
        async with self.database.write() as connection:
            made = await connection.execute(insert(credit_grants).values(row).returning(credit_grants.c.id))
            grant_id: int = made.scalar_one()
            sums = Amounts(credits=number)
            entry = Entry(EntryKind.GRANT, 10, user_id, at, at, sums, "for Ann", None, grant_id, 99)
            await ledger.write(connection, entry)
        return grant_id

    async def announce_end(self, job: Job, now: datetime) -> None:
        """Records that the job's end was announced to the member."""
        assert await self.store.apply(await claim(self.store, job.id, now), Reschedule(None), now)

    async def add_ended_job(self, now: datetime = NOW, user_id: int = ME) -> Job:
        """Adds a job that was delivered and whose delivery was announced."""
        job = await bring_to(self.store, JobState.DELIVERED, now, user_id=user_id)
        assert await self.store.apply(job, Reschedule(None), now)
        return await read(self.store, job)


@pytest.fixture
def harness(database: Database, kind: str) -> MemberDataHarness:
    return MemberDataHarness(
        database, JobStore(database, RULES), MemberDataStore(database, RULES), kind == "postgresql"
    )


@pytest.fixture
def retention(database: Database) -> RetentionHarness:
    return RetentionHarness(database)
