"""Copies whole databases between SQLite and PostgreSQL."""

# ruff: noqa: ASYNC240 - small files of the test's own
import sqlite3
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection as SyncConnection
from sqlalchemy import Engine, Table, event, insert, select, update

from bot.domain.errors import StoreError
from bot.domain.jobs import Frame, JobState
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance.database_copy import copy_database
from bot.store.maintenance.migrate import migrate
from bot.store.maintenance.schema_version import SchemaStatus
from bot.store.maintenance.table_copy import PICTURE_BYTES_AT_ONCE, compare, copy_rows
from bot.store.money_tables import credit_grants, daily_totals, ledger, metadata, provider_totals
from bot.store.schema import blocked_terms, first_frames, jobs, notifications, violations
from tests.providers_asked import vtrix
from tests.store.factories import (
    LEASES,
    MANY,
    MINUTE,
    NOW,
    UNLIMITED,
    add,
    add_waiting,
    bring_to,
    new_job,
    requester_of,
)
from tests.store.maintenance.copies import (
    ALL_WAYS,
    BOTH_WAYS,
    both,
    contents,
    copied,
    prepare,
    status_of,
)
from tests.store.maintenance.databases import EVERY_STATE, ODD_ID

LONG_AGO = NOW - timedelta(days=1)

pytestmark = pytest.mark.full


@pytest.mark.parametrize("kinds", ALL_WAYS, indirect=True)
async def test_every_row_of_every_table_is_the_same_afterwards(source: str, target: str) -> None:
    await prepare(source, odd=True, jobs_in_every_state=False)
    before = await contents(source)

    done = await copied(source, target)

    assert {table.name: table.rows for table in done.tables} == {name: len(rows) for name, rows in before.items()}
    assert all(before.values()), "each table has a row"
    assert await contents(target) == before == await contents(source)
    assert await status_of(target) is SchemaStatus.CURRENT


async def test_checksums_are_the_same_in_either_kind_of_database(source: str, target: str, tmp_path: Path) -> None:
    await prepare(source, odd=True)
    there = await copied(source, target)
    back = await copied(target, f"sqlite:///{tmp_path / 'back.db'}")
    ended = [table.name for one, table in zip(there.tables, back.tables, strict=True) if one != table]
    assert ended == ["jobs"], "only the leases of a stopped process are not the same"


@pytest.mark.parametrize("kinds", ALL_WAYS, indirect=True)
async def test_the_ids_of_new_rows_follow_those_of_the_copied_ones(source: str, target: str) -> None:
    await prepare(source, odd=True)
    await copied(source, target)
    async with Database.open(target) as database, database.write() as connection:
        row = {"guild_id": 1, "user_id": 1, "created_at": NOW}
        new_id = await connection.scalar(insert(violations).values(row).returning(violations.c.id))
        assert new_id == ODD_ID + 1
        given = row | {"credits_left": 0}
        assert (
            await connection.scalar(insert(credit_grants).values(given).returning(credit_grants.c.id))
            == ODD_ID + 1
        )


@pytest.mark.parametrize("kinds", [("postgresql", "postgresql")], indirect=True)
async def test_the_id_of_a_deleted_row_is_not_given_again(source: str, target: str) -> None:
    await prepare(source)
    row = {"guild_id": 1, "user_id": 1, "created_at": NOW}
    async with Database.open(source) as database, database.write() as connection:
        last = await connection.scalar(insert(violations).values(row).returning(violations.c.id))
        await connection.execute(violations.delete())
    await copied(source, target)
    async with Database.open(target) as database, database.write() as connection:
        assert (
            await connection.scalar(insert(violations).values(row).returning(violations.c.id)) == (last or 0) + 1
        )


@pytest.mark.parametrize("kinds", BOTH_WAYS, indirect=True)
async def test_a_worker_goes_on_with_the_jobs_of_the_copy(source: str, target: str) -> None:
    ids = await prepare(source)
    before = await contents(source)
    await copied(source, target)

    after = await contents(target)
    for table in (ledger, daily_totals, credit_grants, first_frames, notifications):
        assert len(after[table.name]) == len(before[table.name])
    assert after["ledger"] == before["ledger"]
    assert after["daily_totals"] == before["daily_totals"]

    async with Database.open(target) as database:
        store = JobStore(database, UNLIMITED)
        if database.file is not None:
            await store.free_leases()
        claimed = {job.id: job for job in await store.claim_due(NOW, MANY, LEASES)}
        assert set(claimed) == set(ids), "no lease of the stopped process is left"
        assert {job.state for job in claimed.values()} == set(EVERY_STATE)
        # What was being submitted when its process died is recognised as such, and never sent again.
        [submitting] = [job for job in claimed.values() if job.state is JobState.SUBMITTING]
        assert submitting.claim_count > 1
        for job_id in ids:
            had_frame = claimed[job_id].state in {JobState.AWAITING, JobState.QUEUED, JobState.SUBMITTING}
            assert not had_frame or await store.frame(job_id) is not None
        new = new_job(user_id=99)
        await store.add(new, Frame(b"picture", "image/png"), requester_of(new), NOW)


async def test_a_queued_job_of_the_copy_is_submitted_and_its_money_moves_on(source: str, target: str) -> None:
    async with Database.open(source) as database:
        await migrate(database)
        waiting = await add_waiting(JobStore(database, UNLIMITED))
    await copied(source, target)
    async with Database.open(target) as database:
        store = JobStore(database, UNLIMITED)
        job = await store.claim_queued(NOW, vtrix(MANY), MINUTE)
        assert job is not None
        assert job.id == waiting.id
        async with database.read() as connection:
            assert await connection.scalar(select(provider_totals.c.usd)) == job.estimated_cost_usd


async def job_rows(url: str) -> list[Any]:
    async with Database.open(url) as database, database.read() as connection:
        return list(await connection.execute(select(jobs)))


@pytest.mark.parametrize("kinds", ALL_WAYS, indirect=True)
async def test_a_copy_that_fails_in_the_middle_leaves_the_target_empty(source: str, target: str) -> None:
    await prepare(source)
    before = await contents(source)

    def fail(what: str, *_: int) -> None:
        if what == "comparing notifications":
            raise OSError("the power of that disk")

    with pytest.raises(StoreError, match="the power of that disk"):
        await copy_database(source, target, fail)
    assert await status_of(target) is SchemaStatus.EMPTY
    assert await contents(source) == before
    assert len((await copied(source, target)).tables) == len(metadata.sorted_tables)


async def test_a_failed_copy_leaves_no_new_file(source: str, tmp_path: Path) -> None:
    await prepare(source)

    def fail(*_: object) -> None:
        raise OSError("no space left")

    with pytest.raises(StoreError):
        await copy_database(source, f"sqlite:///{tmp_path / 'new.db'}", fail)
    assert not list(tmp_path.glob("new.db*")) or [path.name for path in tmp_path.glob("new.db*")] == [
        "new.db.lock"
    ]


async def test_what_the_target_can_not_hold_is_noticed(source: str, target: str) -> None:
    await prepare(source)
    async with Database.open(source) as database, database.write() as connection:
        await connection.exec_driver_sql("UPDATE jobs SET prompt = 'a' || char(0) || 'b' WHERE state = 'queued'")
    with pytest.raises(StoreError, match=r"The copy of `jobs` is wrong: row \('.*',\) differs in `prompt`"):
        await copied(source, target)
    assert await status_of(target) is SchemaStatus.EMPTY


@pytest.mark.parametrize(
    ("change", "table"),
    [
        ("UPDATE jobs SET created_at = 'yesterday' WHERE state = 'queued'", "jobs"),
        ("UPDATE jobs SET cost_usd = '1,5' WHERE state = 'queued'", "jobs"),
        ("UPDATE jobs SET cost_usd = 'NaN' WHERE state = 'queued'", "jobs"),
        ("UPDATE jobs SET upstream_response = '{' WHERE state = 'queued'", "jobs"),
        ("UPDATE jobs SET prompt = CAST(x'ff' AS TEXT) WHERE state = 'queued'", "jobs"),
        ("INSERT INTO first_frames (job_id, mime, data) VALUES ('none', 'image/png', x'00')", "first_frames"),
    ],
)
async def test_a_row_that_can_not_be_read_or_stored_is_refused_with_its_table(
    source: str, target: str, change: str, table: str
) -> None:
    await prepare(source)
    with closing(sqlite3.connect(source.removeprefix("sqlite:///"))) as connection:
        connection.execute(change)
        connection.commit()
    with pytest.raises(StoreError, match=f"A row of `{table}` in the source can't be copied"):
        await copied(source, target)
    assert await status_of(target) is SchemaStatus.EMPTY


WRONG_VALUES: list[tuple[Table, dict[str, Any]]] = [
    (jobs, {"cost_usd": Decimal("0.1234567890123456788")}),
    (jobs, {"created_at": LONG_AGO}),
    (jobs, {"upstream_response": {"b": [1, 1, True, None, "ü\u2028"], "a": {"deep": [[{"x": 1e300}]]}}}),
    (jobs, {"progress": 0.3}),
    (jobs, {"seed": None}),
    (first_frames, {"data": bytes(range(255, -1, -1)) * 40}),
    (ledger, {"usd": Decimal("0.000000001")}),
    (blocked_terms, {"is_pattern": False}),
]


@pytest.mark.parametrize(("table", "values"), WRONG_VALUES, ids=lambda value: str(value)[:30])
async def test_a_single_wrong_value_is_found(
    source: str, target: str, table: Table, values: dict[str, Any]
) -> None:
    await prepare(source, odd=True, jobs_in_every_state=False)
    await prepare(target, jobs_in_every_state=False)
    async with both(source, target) as (reading, writing):
        for each in [jobs, table] if table is first_frames else [table]:
            await copy_rows(reading, writing, each, lambda *_: None)
        await compare(reading, writing, table, lambda *_: None)
        await writing.execute(update(table).values(values))
        with pytest.raises(StoreError, match=rf"differs in `{next(iter(values))}`"):
            await compare(reading, writing, table, lambda *_: None)
        await writing.execute(table.delete())
        with pytest.raises(StoreError, match="has 0 rows instead of 1"):
            await compare(reading, writing, table, lambda *_: None)


async def test_a_row_with_another_key_is_found(source: str, target: str) -> None:
    await prepare(source, odd=True, jobs_in_every_state=False)
    await prepare(target, jobs_in_every_state=False)
    async with both(source, target) as (reading, writing):
        await copy_rows(reading, writing, violations, lambda *_: None)
        await writing.execute(update(violations).values(id=5))
        with pytest.raises(StoreError, match=r"row \(\d+,\) is missing"):
            await compare(reading, writing, violations, lambda *_: None)


@pytest.mark.parametrize("kinds", BOTH_WAYS, indirect=True)
async def test_tables_larger_than_a_batch_are_copied_whole_and_progress_is_told(source: str, target: str) -> None:
    await prepare(source, jobs_in_every_state=False)
    rows = [{"guild_id": n % 7, "text": f"wört {n * 7919 % 1201}", "is_pattern": False} for n in range(1201)]
    async with Database.open(source) as database, database.write() as connection:
        await connection.execute(insert(blocked_terms), rows)
    told: list[tuple[str, int, int]] = []
    done = await copy_database(source, target, lambda *what: told.append(what))
    [found] = [table for table in done.tables if table.name == "blocked_terms"]
    assert found.rows == 1201
    assert await contents(target) == await contents(source)
    assert [done for what, done, total in told if what == "copying blocked_terms"] == [500, 1000, 1201]


async def test_a_batch_of_pictures_has_few_large_ones_and_many_small_ones(source: str, target: str) -> None:
    half = PICTURE_BYTES_AT_ONCE // 2
    sizes = [half, half, half + 1, half, PICTURE_BYTES_AT_ONCE + 1, *[10] * 40]
    await prepare(source, jobs_in_every_state=False)
    async with Database.open(source) as database:
        job = await add(JobStore(database, UNLIMITED))
        async with database.write() as connection:
            row = dict((await connection.execute(select(jobs))).mappings().one())
            await connection.execute(first_frames.delete())
            ids = [f"{job.id}{number:03}" for number in range(len(sizes))]
            await connection.execute(insert(jobs), [row | {"id": one} for one in ids])
            pictures = [
                {"job_id": one, "mime": "image/png", "data": bytes(size)}
                for one, size in zip(ids, sizes, strict=True)
            ]
            await connection.execute(insert(first_frames), pictures)
    told: list[tuple[str, int]] = []
    await copy_database(source, target, lambda what, done, _: told.append((what, done)))
    assert [done for what, done in told if what == "copying first_frames"] == [2, 3, 4, 5, 37, 45]


@pytest.mark.parametrize("kinds", BOTH_WAYS, indirect=True)
async def test_a_transaction_of_a_copy_may_stand_still_for_any_time(source: str, target: str) -> None:
    await prepare(source, jobs_in_every_state=False)
    ask, limits = "SHOW idle_in_transaction_session_timeout", set()

    def look(connection: SyncConnection, _cursor: object, statement: str, *_: object) -> None:
        if connection.dialect.name == "postgresql" and statement != ask:
            limits.add(connection.exec_driver_sql(ask).scalar())

    event.listen(Engine, "before_cursor_execute", look)
    try:
        await copied(source, target)
    finally:
        event.remove(Engine, "before_cursor_execute", look)
    assert limits == {"0"}


async def test_leases_of_a_killed_process_end_with_the_copy(source: str, target: str) -> None:
    async with Database.open(source) as database:
        await migrate(database)
        store = JobStore(database, UNLIMITED)
        await bring_to(store, JobState.RUNNING, NOW + timedelta(days=400))  # by a clock that was ahead
        await add(store)
    assert (await copied(source, target)).leases_ended == 1
    assert [row.lease_until for row in await job_rows(target)] == [None, None]
    assert [row.lease_until is None for row in await job_rows(source)].count(False) == 1
