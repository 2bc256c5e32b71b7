"""Runs each store test on both databases: SQLite in its own file, and a real PostgreSQL."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from functools import cache
from pathlib import Path
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]  # it has no types of its own
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine

from bot.store.engine import Connection, Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance.migrate import migrate
from bot.store.money_tables import metadata
from bot.store.schema import operator_state
from tests.store import postgres_server
from tests.store.factories import UNLIMITED


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs each test on both databases; on PostgreSQL only in `make test-all`, unless it is `both_databases`."""
    definition = metafunc.definition
    chosen = [mark.args[0] for mark in definition.iter_markers("parametrize")]
    if "kind" in metafunc.fixturenames and "kind" not in chosen:
        marks = () if definition.get_closest_marker("both_databases") else pytest.mark.full
        metafunc.parametrize("kind", ["sqlite", pytest.param("postgresql", marks=marks)], indirect=True)


async def migrate_database(url: str) -> None:
    async with Database.open(url) as database:
        await migrate(database)


@cache
def truncate_statements() -> str:
    """The statements that delete all rows and reset the single-row table."""
    default_state = {"draining": False, "usd_per_day": None, "usd_per_month": None, "max_queued": None}
    statements = [
        *(table.delete() for table in reversed(metadata.sorted_tables) if table is not operator_state),
        operator_state.update().values(default_state),
    ]
    server = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
    literal = {"literal_binds": True}
    return ";".join(str(one.compile(dialect=server, compile_kwargs=literal)) for one in statements)


async def delete_all_rows(url: str) -> None:
    """Empties a PostgreSQL database with asyncpg directly, for speed: this runs before each test."""
    connection = await asyncpg.connect(url)
    await connection.execute(truncate_statements())
    await connection.close()


async def run_outside_transaction(url: str, statement: str) -> None:
    """Runs one statement outside of any transaction."""
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The address of a migrated database on a server that starts when the first test needs it."""
    with postgres_server.running() as url:
        asyncio.run(migrate_database(url))
        yield url


@pytest.fixture
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database with nothing in it."""
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
        return
    server_url = request.getfixturevalue("postgres_url")
    name = f"empty_{uuid4().hex}"
    asyncio.run(run_outside_transaction(server_url, f"CREATE DATABASE {name}"))
    yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    asyncio.run(run_outside_transaction(server_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def database_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a migrated database without any rows."""
    if kind == "sqlite":
        path = tmp_path / "zoetrope.db"
        shutil.copy(request.getfixturevalue("migrated_file"), path)
        return f"sqlite:///{path}"
    server_url = str(request.getfixturevalue("postgres_url"))
    asyncio.run(delete_all_rows(server_url))
    return server_url


class InjectedTimeDatabase(Database):
    """Leases go by the times that tests pass, also on a server."""

    async def lease_time(self, connection: Connection, now: datetime) -> datetime:
        del connection
        return now


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with InjectedTimeDatabase.open(database_url) as database:
        yield database


@pytest.fixture
def store(database: Database) -> JobStore:
    """A store whose rules refuse nothing."""
    return JobStore(database, UNLIMITED)
