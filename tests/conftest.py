"""What all tests share: a real store in a file of its own, and a machine around it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance.migrate import migrate
from tests.bench import Bench
from tests.harness import ROOMY, OperatorState


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy: copying is quicker than migrating."""
    path = tmp_path_factory.mktemp("migrated") / "zoetrope.db"

    async def set_up() -> None:
        async with Database.open(f"sqlite:///{path}") as database:
            await migrate(database)

    asyncio.run(set_up())
    return path


@pytest.fixture
async def store(migrated_file: Path, tmp_path: Path) -> AsyncIterator[JobStore]:
    path = tmp_path / "zoetrope.db"
    shutil.copy(migrated_file, path)
    async with Database.open(f"sqlite:///{path}") as database:
        yield JobStore(database, ROOMY)


@pytest.fixture
async def house(store: JobStore, tmp_path: Path) -> AsyncIterator[OperatorState]:
    yield OperatorState(store, tmp_path)
    assert asyncio.all_tasks() == {asyncio.current_task()}, "a step outlived its test"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
