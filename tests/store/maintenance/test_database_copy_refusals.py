"""What `db copy` refuses, and what is refused while it runs."""

# ruff: noqa: ASYNC240 - small files of the test's own
import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text, update

from bot.domain.errors import DatabaseInUse, StoreError
from bot.store.engine import Database
from bot.store.maintenance.database_copy import copy_database
from bot.store.maintenance.migrate import migrate
from bot.store.maintenance.process_lock import process_lock
from bot.store.maintenance.schema_version import SchemaStatus
from bot.store.schema import operator_state
from tests.store.maintenance.copies import (
    ALL_WAYS,
    BOTH_WAYS,
    WITHIN_A_KIND,
    contents,
    copied,
    prepare,
    status_of,
)

pytestmark = pytest.mark.full


@pytest.mark.parametrize("kinds", ALL_WAYS, indirect=True)
async def test_a_target_with_anything_in_it_is_refused(source: str, target: str) -> None:
    await prepare(source, jobs_in_every_state=False)
    async with Database.open(target) as database, database.write() as connection:
        await connection.execute(text("CREATE TABLE somebody_elses (id INTEGER)"))
    with pytest.raises(StoreError, match=r"The target is not empty: it has `(public\.)?somebody_elses`"):
        await copied(source, target)


async def test_a_target_with_a_view_in_another_schema_is_refused(source: str, target: str) -> None:
    await prepare(source, jobs_in_every_state=False)
    async with Database.open(target) as database, database.write() as connection:
        await connection.execute(text("CREATE SCHEMA other"))
        await connection.execute(text("CREATE VIEW other.seen AS SELECT 1 AS one"))
    with pytest.raises(StoreError, match=r"it has `other\.seen`"):
        await copied(source, target)


@pytest.mark.parametrize("kinds", BOTH_WAYS, indirect=True)
async def test_a_second_copy_is_refused_and_changes_nothing(source: str, target: str) -> None:
    await prepare(source)
    await copied(source, target)
    before = await contents(target)
    with pytest.raises(StoreError, match="The target is not empty"):
        await copied(source, target)
    assert await contents(target) == before


@pytest.mark.parametrize("kinds", ALL_WAYS, indirect=True)
@pytest.mark.parametrize(
    ("version", "said"), [("0017", "zoetrope db upgrade"), ("9999", "install that one first"), (None, "is empty")]
)
async def test_a_source_of_another_version_is_refused(
    source: str, target: str, version: str | None, said: str
) -> None:
    async with Database.open(source) as database:
        if version is not None:
            await migrate(database)
        else:
            await database.check_writable()
        async with database.write() as connection:
            if version is not None:
                await connection.execute(text(f"UPDATE alembic_version SET version_num = '{version}'"))  # noqa: S608
    with pytest.raises(StoreError, match=said):
        await copied(source, target)


@pytest.mark.parametrize("kinds", WITHIN_A_KIND, indirect=True)
async def test_the_same_database_twice_is_refused(source: str, kinds: tuple[str, str], tmp_path: Path) -> None:
    await prepare(source)
    again = f"{source}&application_name=b"
    if kinds[0] == "sqlite":
        link = tmp_path / "link.db"
        link.symlink_to(tmp_path / "source.db")
        again = f"sqlite:///{link}"
    for second in (source, again):
        with pytest.raises(StoreError, match="same database"):
            await copied(source, second)


async def test_a_sqlite_source_that_a_bot_uses_is_refused(source: str, target: str) -> None:
    await prepare(source)
    with process_lock(source), pytest.raises(DatabaseInUse, match="Stop that one first"):
        await copied(source, target)
    assert await status_of(target) is SchemaStatus.EMPTY


async def test_a_bot_can_not_start_on_a_sqlite_source_or_target_during_the_copy(
    source: str, tmp_path: Path
) -> None:
    await prepare(source)
    target = f"sqlite:///{tmp_path / 'other.db'}"
    refused = []

    def start(*_: object) -> None:
        for url in (source, target):
            with pytest.raises(DatabaseInUse), process_lock(url):
                pass
            refused.append(url)

    await copy_database(source, target, start)
    assert {source, target} == set(refused)


@pytest.mark.parametrize("kinds", [("postgresql", "sqlite")], indirect=True)
async def test_a_postgresql_source_that_a_process_is_connected_to_is_refused(source: str, target: str) -> None:
    await prepare(source)
    async with Database.open(source) as running:
        async with running.read() as connection:
            await connection.execute(text("SELECT 1"))
        with pytest.raises(
            StoreError, match=r"1 other connections to it are open\. Stop all processes of the bot"
        ):
            await copied(source, target)
    await copied(source, target)


@pytest.mark.parametrize("kinds", [("postgresql", "sqlite")], indirect=True)
async def test_a_postgresql_source_with_jobs_under_a_lease_is_refused(source: str, target: str) -> None:
    await prepare(source)
    async with Database.open(source) as database, database.write() as connection:
        await connection.execute(
            text("UPDATE jobs SET lease_until = now() + interval '1 minute' WHERE state = 'running'")
        )
    with pytest.raises(StoreError, match=r"holds 1 jobs\. If it was killed, try again in two minutes"):
        await copied(source, target)


@pytest.mark.parametrize("kinds", [("postgresql", "sqlite")], indirect=True)
async def test_a_bot_that_starts_on_a_postgresql_source_can_not_write_during_the_copy(
    source: str, target: str
) -> None:
    await prepare(source, jobs_in_every_state=False)
    writing: list[asyncio.Task[None]] = []
    is_copied = asyncio.Event()

    async def write() -> None:
        async with Database.open(source) as starting, starting.write() as connection:
            await connection.execute(update(operator_state).values(draining=True))
            assert is_copied.is_set(), "it waited for the end of the copy"

    def progress(what: str, *_: int) -> None:
        if what == "copying operator_state":
            writing.append(asyncio.create_task(write()))
        if what == "comparing operator_state":
            assert writing
            is_copied.set()

    await copy_database(source, target, progress)
    await asyncio.gather(*writing)
    assert [row.draining for row in (await contents(target))["operator_state"]] == [False]
    assert [row.draining for row in (await contents(source))["operator_state"]] == [True]


async def test_a_missing_source_file_is_reported_and_not_created(target: str, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no database file"):
        await copied(f"sqlite:///{tmp_path / 'none.db'}", target)
    assert not list(tmp_path.glob("none*"))
