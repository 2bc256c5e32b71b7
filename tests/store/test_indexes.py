"""What members and operators wait for reads no whole table, however many rows it has."""

import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from bot.domain.guilds import OperatorDefaults
from bot.domain.jobs import Frame, NewJob, Order
from bot.domain.member_data import Erasure
from bot.domain.policy import Requester
from bot.domain.usage_stats import Period
from bot.domain.video_list import VideoFilter
from bot.services.admin.audited import Admin
from bot.services.admin.service import AdminService
from bot.services.operator.service import OperatorService
from bot.store import operator_reports
from bot.store.engine import Connection, Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance import schema_version
from bot.store.monitoring import MonitoringStore
from bot.store.privacy.member_data import MemberDataStore
from bot.store.privacy.retention import RetentionStore
from tests.fakes import NOW
from tests.providers_asked import CATALOG, vtrix
from tests.store.factories import UNLIMITED

pytestmark = pytest.mark.full

LARGE = {"jobs", "ledger", "credit_grants", "audit_log"}
"""Tables that grow with each order or each admin's change, and are not emptied within a day."""

USER = 7


@pytest.fixture(params=["new", "upgraded"])
async def database(request: pytest.FixtureRequest, migrated_file: Path, tmp_path: Path) -> AsyncIterator[Database]:
    """As the bot makes it, never analysed: of two indexes that look alike, SQLite takes the one created last."""
    path = tmp_path / "zoetrope.db"
    if request.param == "new":
        shutil.copy(migrated_file, path)
    async with Database.open(f"sqlite:///{path}") as database:
        if request.param == "upgraded":
            async with database.change_schema() as connection:
                await connection.run_sync(schema_version.run_migrations)
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
        database, OperatorDefaults(catalog=CATALOG), guild_id=1, user_ids=[1], wake=lambda: None, clock=lambda: NOW
    )
    assert scanned(await plans(database, lambda _: OPERATOR[what](service))) == set()


async def test_a_scrape_reads_no_table_that_grows_with_each_order(database: Database) -> None:
    monitoring = MonitoringStore(database, OperatorDefaults(catalog=CATALOG), vtrix(2), lambda: NOW)
    assert scanned(await plans(database, lambda _: monitoring.figures())) == set()


@pytest.mark.parametrize("total", [operator_reports.held, operator_reports.unanswered])
async def test_the_totals_of_unknown_costs_are_found_by_index(
    database: Database, total: Callable[[Connection], Awaitable[object]]
) -> None:
    assert scanned(await plans(database, total)) == set()


MEMBER = Requester(10, 100, USER)
ADMIN = Admin(10, 1)
ORDER = Order("a fox")
NEW = NewJob("a job", MEMBER.guild_id, MEMBER.channel_id, USER, ORDER)
FRAME = Frame(b"...", "image/png")

MEMBERS: dict[str, Callable[[JobStore], Awaitable[object]]] = {
    "check": lambda store: store.check(MEMBER, ORDER, NOW, arriving=0),
    "add": lambda store: store.add(NEW, FRAME, MEMBER, NOW),
    "quota": lambda store: store.allowance(MEMBER, NOW),
    "list": lambda store: store.recent(MEMBER.guild_id, USER, 10),
    "choices": lambda store: store.history.newest(MEMBER.guild_id, USER, VideoFilter.ALL, 25),
}
ADMINS: dict[str, Callable[[AdminService], Awaitable[object]]] = {
    "usage": lambda service: service.usage.report(ADMIN, Period.THIRTY_DAYS, limit_bytes=100_000),
    "jobs": lambda service: service.jobs.overview(ADMIN),
    "jobs to cancel": lambda service: service.jobs.cancellable(ADMIN),
    "jobs to retry": lambda service: service.jobs.retryable(ADMIN),
}

READS_IN_ORDER = {
    "SEARCH jobs USING INDEX ix_jobs_member (guild_id=? AND user_id=?)",
    "SEARCH ledger USING INDEX ix_ledger_member (guild_id=? AND user_id=?)",
}
"""A member's latest jobs and entry, of which only as many are read as are asked for."""


def histories(plan: list[str]) -> list[str]:
    """The steps that read all jobs or entries of a server or a member, however old; of active ones, all may be."""
    return [
        step
        for step in plan
        if step.split()[1].removesuffix("_1") in {"jobs", "ledger"}
        and set(re.findall(r"(\w+)[=<>]", step)) <= {"guild_id", "user_id"}
        and "ix_jobs_active" not in step
        and step not in READS_IN_ORDER
    ]


@pytest.mark.parametrize("what", MEMBERS)
async def test_an_order_costs_the_same_however_long_the_history_is(database: Database, what: str) -> None:
    store = JobStore(database, UNLIMITED)
    assert histories(await plans(database, lambda _: MEMBERS[what](store))) == []


@pytest.mark.parametrize("shows", VideoFilter)
async def test_a_page_of_a_members_videos_reads_only_theirs(database: Database, shows: VideoFilter) -> None:
    """How many pages there are depends on all of them, but on nobody else's."""
    history = JobStore(database, UNLIMITED).history
    read = await plans(database, lambda _: history.page(MEMBER.guild_id, USER, shows, 3))
    of_jobs = [step for step in read if step.split()[1] == "jobs"]
    assert of_jobs
    assert all("ix_jobs_member (guild_id=? AND user_id=?)" in step for step in of_jobs)


async def test_settings_that_nobody_needs_are_found_without_reading_all_jobs(database: Database) -> None:
    assert scanned(await plans(database, lambda _: RetentionStore(database).drop_old(NOW, NOW))) <= {"audit_log"}


@pytest.mark.parametrize("what", ADMINS)
async def test_what_an_admin_looks_at_costs_the_same_however_long_the_history_is(
    database: Database, what: str
) -> None:
    service = AdminService(
        database, UNLIMITED, wake=lambda: None, clock=lambda: NOW, task_lifetime=timedelta(days=1)
    )
    assert histories(await plans(database, lambda _: ADMINS[what](service))) == []


async def test_a_query_that_reads_a_servers_history_is_recognised(database: Database) -> None:
    async def of_a_server(connection: Connection) -> None:
        await connection.exec_driver_sql("SELECT count(*) FROM jobs WHERE guild_id = ? AND seed = 1", (10,))
        await connection.exec_driver_sql("SELECT count(*) FROM ledger WHERE user_id = ?", (1,))
        await connection.exec_driver_sql("SELECT count(*) FROM ledger", ())

    assert len(histories(await plans(database, of_a_server))) == 3
