"""Small campaigns; `make money` plays large ones."""

import logging
import shutil
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from bot.domain.jobs import Job
from bot.domain.ledger import Amounts, EntryKind
from bot.store.engine import Connection, Database
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.money import ledger
from bot.store.money_tables import credit_grants, daily_totals, provider_totals
from bot.store.schema import jobs
from tests.money.audit import Audit, audit
from tests.money.campaign import Campaign
from tests.store import postgres_server
from tests.store.conftest import InjectedTimeDatabase, migrate_database

SEED = 20
CENT = Decimal("0.01")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Hundreds of faults happen on purpose."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


async def play(database: Database, folder: Path, size: int) -> tuple[Campaign, Audit]:
    campaign = Campaign(database, folder / "work", size, SEED)
    await campaign.run()
    return campaign, await audit(campaign)


async def assert_that_nothing_differs(url: str, folder: Path, size: int) -> None:
    async with InjectedTimeDatabase.open(url) as database:
        campaign, at_end = await play(database, folder, size)
        await campaign.release()
        assert at_end.problems + (await audit(campaign)).problems == [], f"seed {SEED}"
        assert at_end.jobs == size


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_on_sqlite_the_ledger_equals_what_the_gateways_billed(migrated_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "money.db"
    shutil.copy(migrated_file, file)
    await assert_that_nothing_differs(f"sqlite:///{file}", tmp_path, 300)


@pytest.mark.full
@pytest.mark.timeout(600)
async def test_on_postgresql_the_ledger_equals_what_the_gateways_billed(tmp_path: Path) -> None:
    with postgres_server.running() as url:
        await migrate_database(url)
        await assert_that_nothing_differs(url, tmp_path, 300)


@pytest.mark.full
async def test_the_audit_sees_each_difference(migrated_file: Path, tmp_path: Path) -> None:
    file = tmp_path / "money.db"
    shutil.copy(migrated_file, file)
    async with InjectedTimeDatabase.open(f"sqlite:///{file}") as database:
        campaign, found = await play(database, tmp_path, 30)
        assert found.problems == []
        async with database.read() as connection:
            job = next(job for row in await connection.execute(select_jobs()) if (job := job_of(row)).cost_usd)
        for spoil in (_charge_again, _forget_a_total, _forget_a_provider, _give_a_credit, _charge_the_member):
            before = len((await audit(campaign)).problems)
            async with database.write() as connection:
                await spoil(connection, job)
            assert len((await audit(campaign)).problems) > before, spoil.__name__


async def _charge_again(connection: Connection, job: Job) -> None:
    entry = ledger.job_entry(job, EntryKind.SETTLE, Amounts(usd=CENT), "twice", job.created_at, None)
    await ledger.write_of_job(connection, job, entry)


async def _forget_a_total(connection: Connection, job: Job) -> None:
    days = daily_totals.update().where(daily_totals.c.guild_id == job.guild_id)
    await connection.execute(days.values(usd=daily_totals.c.usd + CENT))


async def _forget_a_provider(connection: Connection, job: Job) -> None:
    theirs = provider_totals.update().where(provider_totals.c.provider == job.provider)
    await connection.execute(theirs.values(usd=provider_totals.c.usd - CENT))


async def _give_a_credit(connection: Connection, job: Job) -> None:
    row = {"guild_id": job.guild_id, "user_id": job.user_id, "credits_left": 1, "created_at": job.created_at}
    await connection.execute(credit_grants.insert().values(row))


async def _charge_the_member(connection: Connection, job: Job) -> None:
    await connection.execute(jobs.update().where(jobs.c.id == job.id).values(charged=not job.charged))
