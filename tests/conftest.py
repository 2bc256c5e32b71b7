"""What all tests share: a real store in its own file, and harnesses around it."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from tests.harness import ROOMY, WorkerHarness
from tests.stage_harness import StageHarness


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy: copying is quicker than migrating."""
    path = tmp_path_factory.mktemp("migrated") / "zoetrope.db"

    async def migrate() -> None:
        async with Database.open(f"sqlite:///{path}") as database:
            await database.migrate()

    asyncio.run(migrate())
    return path


@pytest.fixture
async def store(migrated_file: Path, tmp_path: Path) -> AsyncIterator[JobStore]:
    path = tmp_path / "zoetrope.db"
    shutil.copy(migrated_file, path)
    async with Database.open(f"sqlite:///{path}") as database:
        yield JobStore(database, ROOMY)


@pytest.fixture
async def harness(store: JobStore, tmp_path: Path) -> AsyncIterator[WorkerHarness]:
    yield WorkerHarness(store, tmp_path)
    assert asyncio.all_tasks() == {asyncio.current_task()}, "a task outlived its test"


@pytest.fixture
def stages(tmp_path: Path) -> StageHarness:
    return StageHarness(tmp_path)
