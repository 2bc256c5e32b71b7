"""What tests of copies of whole databases share."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from sqlalchemy import update

from bot.store.engine import Connection, Database
from bot.store.maintenance.database_copy import DatabaseCopy, copy_database
from bot.store.maintenance.migrate import migrate, schema_status
from bot.store.maintenance.schema_version import SchemaStatus
from bot.store.schema import jobs
from tests.store.factories import (
    NOW,
)
from tests.store.maintenance.databases import add_jobs, add_odd_rows, everything

BOTH_WAYS = [("sqlite", "postgresql"), ("postgresql", "sqlite")]
WITHIN_A_KIND = [("sqlite", "sqlite"), ("postgresql", "postgresql")]
ALL_WAYS = [*BOTH_WAYS, *(pytest.param(kinds, marks=pytest.mark.full) for kinds in WITHIN_A_KIND)]


async def prepare(url: str, *, odd: bool = False, jobs_in_every_state: bool = True) -> list[str]:
    """Fills a new database; returns the ids of its jobs."""
    async with Database.open(url) as database:
        await migrate(database)
        ids = await add_jobs(database) if jobs_in_every_state else []
        if odd:
            await add_odd_rows(database)
        if database.file is None:  # as the leases of a process that stopped two minutes ago
            async with database.write() as connection:
                await connection.execute(
                    update(jobs).where(jobs.c.lease_until.is_not(None)).values(lease_until=NOW)
                )
    return ids


async def copied(source: str, target: str) -> DatabaseCopy:
    return await copy_database(source, target, lambda *_: None)


@asynccontextmanager
async def both(source: str, target: str) -> AsyncIterator[tuple[Connection, Connection]]:
    """Transactions of two migrated databases; what is written to the target is undone."""
    async with (
        Database.open(source) as one,
        Database.open(target) as other,
        one.read() as reading,
        other.write() as writing,
    ):
        yield reading, writing
        await writing.rollback()


async def contents(url: str) -> dict[str, list[Any]]:
    async with Database.open(url) as database:
        return await everything(database)


async def status_of(url: str) -> SchemaStatus:
    async with Database.open(url) as database:
        return await schema_status(database)
