"""Gives each store test both databases: SQLite in a file of its own, and a real PostgreSQL."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from functools import cache
from pathlib import Path
from uuid import uuid4

import asyncpg  # type: ignore[import-untyped]  # it has no types of its own
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine

from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.schema import house, metadata, upstream_gate
from tests.store import postgres_server
from tests.store.factories import ROOMY


async def migrate(url: str) -> None:
    async with Database.open(url) as database:
        await database.migrate()


@cache
def emptying() -> str:
    """The statements that take all rows away, and open the gate."""
    as_made = {"draining": False, "usd_per_day": None, "usd_per_month": None, "queued_max": None}
    fresh = {"opens_at": None, "reason": None, "failures": 0, "next_submit_at": None}
    statements = [
        *(table.delete() for table in reversed(metadata.sorted_tables) if table not in (house, upstream_gate)),
        house.update().values(as_made),
        upstream_gate.update().values(fresh),
    ]
    server = postgresql.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it untyped
    literal = {"literal_binds": True}
    return ";".join(str(one.compile(dialect=server, compile_kwargs=literal)) for one in statements)


async def empty(url: str) -> None:
    """Empties a PostgreSQL database with its bare driver: this comes before each test."""
    connection = await asyncpg.connect(url)
    await connection.execute(emptying())
    await connection.close()


async def run_outside(url: str, statement: str) -> None:
    """Runs one statement outside of any transaction."""
    engine = create_async_engine(make_url(url).set(drivername="postgresql+asyncpg"), isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A server whose first database is migrated; started when the first test wants it."""
    with postgres_server.running() as url:
        asyncio.run(migrate(url))
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
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
    asyncio.run(run_outside(server_url, f"CREATE DATABASE {name}"))
    yield make_url(server_url).set(database=name).render_as_string(hide_password=False)
    asyncio.run(run_outside(server_url, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture
def database_url(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a migrated database without any rows."""
    if kind == "sqlite":
        path = tmp_path / "zoetrope.db"
        shutil.copy(request.getfixturevalue("migrated_file"), path)
        return f"sqlite:///{path}"
    server_url = str(request.getfixturevalue("postgres_url"))
    asyncio.run(empty(server_url))
    return server_url


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    async with Database.open(database_url) as database:
        yield database


@pytest.fixture
def store(database: Database) -> JobStore:
    """A store whose rules refuse nothing."""
    return JobStore(database, ROOMY)
