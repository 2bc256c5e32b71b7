"""What members and operators wait for reads no whole table, however many rows it has."""

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from bot.domain.guilds import OperatorDefaults
from bot.domain.member_data import Erasure
from bot.services.operator.service import OperatorService
from bot.store import operator_reports
from bot.store.engine import Connection, Database
from bot.store.privacy.member_data import MemberDataStore
from tests.fakes import NOW

LARGE = {"jobs", "ledger", "credit_grants", "audit_log"}
"""Tables that grow with each order or each admin's change, and are not emptied within a day."""

USER = 7


@pytest.fixture
async def database(migrated_file: Path, tmp_path: Path) -> AsyncIterator[Database]:
    path = tmp_path / "zoetrope.db"
    shutil.copy(migrated_file, path)
    async with Database.open(f"sqlite:///{path}") as database:
        yield database


async def plans(database: Database, action: Callable[[Connection], Awaitable[object]]) -> list[str]:
    """How SQLite goes about each query of the action. A table that is read as a whole is a SCAN of it."""
    queries: list[tuple[str, Any]] = []

    def record(_c: object, _u: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE")):
            queries.append((statement, parameters))

    engine = database._engine.sync_engine
    event.listen(engine, "before_cursor_execute", record)
    async with database.read() as connection:
        await action(connection)
    event.remove(engine, "before_cursor_execute", record)
    assert queries
    async with database.read() as connection:
        return [
            row.detail
            for statement, parameters in queries
            for row in await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        ]


def scanned(plan: list[str]) -> set[str]:
    """The large tables that the plan reads as a whole; a partial index is not the whole."""
    return {
        step.split()[1]
        for step in plan
        if step.startswith("SCAN") and step.split()[1] in LARGE and "ix_jobs_active" not in step
    }


async def test_the_plan_of_a_query_without_an_index_is_recognised(database: Database) -> None:
    async def without_index(connection: Connection) -> None:
        await connection.exec_driver_sql("SELECT id FROM jobs WHERE prompt = ?", ("x",))

    assert scanned(await plans(database, without_index)) == {"jobs"}


MEMBER_DATA: dict[str, Callable[[MemberDataStore], Awaitable[object]]] = {
    "preview": lambda store: store.preview_erasure(USER),
    "export": lambda store: store.read(USER),
    "cancel": lambda store: store.to_cancel(Erasure(USER, NOW)),
    "jobs": lambda store: store.anonymise_jobs(Erasure(USER, NOW)),
    "entries": lambda store: store.anonymise_entries(Erasure(USER, NOW), NOW),
    "records": lambda store: store.drop_records(Erasure(USER, NOW), NOW),
    "finish": lambda store: store.finish(Erasure(USER, NOW)),
}


@pytest.mark.parametrize("what", MEMBER_DATA)
async def test_a_members_data_is_found_by_index(database: Database, what: str) -> None:
    store = MemberDataStore(database)
    assert scanned(await plans(database, lambda _: MEMBER_DATA[what](store))) == set()


OPERATOR: dict[str, Callable[[OperatorService], Awaitable[object]]] = {
    "servers to choose from": lambda service: service.server_ids([10]),
    "one server": lambda service: service.server(10),
    "jobs to reconcile": lambda service: service.unreconciled(),
}


@pytest.mark.parametrize("what", OPERATOR)
async def test_what_the_operator_chooses_from_is_found_by_index(database: Database, what: str) -> None:
    service = OperatorService(
        database, OperatorDefaults(), guild_id=1, user_ids=[1], wake=lambda: None, clock=lambda: NOW
    )
    assert scanned(await plans(database, lambda _: OPERATOR[what](service))) == set()


@pytest.mark.parametrize("total", [operator_reports.held, operator_reports.unanswered])
async def test_the_totals_of_unknown_costs_are_found_by_index(
    database: Database, total: Callable[[Connection], Awaitable[object]]
) -> None:
    assert scanned(await plans(database, total)) == set()
