"""What all tests share: a real store in its own file, and harnesses around it."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, core, settings
from sqlalchemy import Connection, Engine, event

from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance.migrate import migrate
from tests.harness import ROOMY, WorkerHarness
from tests.sqlite_in_loop import sqlite_in_loop
from tests.stage_harness import StageHarness


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """No slow machine fails a property test, and the printed seed chooses its examples too.

    A shell ignores SIGINT in what it starts in the background, and children inherit that; tests send it to theirs.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    core.global_force_seed = config.getoption("randomly_seed", None)
    settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
    settings.load_profile("unhurried")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Ends with what to look at: of each failure, the test, the place and the first line of what was wrong."""
    for report in [*terminalreporter.getreports("failed"), *terminalreporter.getreports("error")]:
        terminalreporter.write_line(f"FAILED {report.nodeid}", red=True)
        crash = getattr(report.longrepr, "reprcrash", None)
        if crash is not None:
            place = os.path.relpath(crash.path, terminalreporter.config.rootpath)
            what, _, _ = crash.message.partition("\n")
            terminalreporter.write_line(f"    {place}:{crash.lineno}: {what}")


class CompiledStatements(dict[tuple[Any, ...], Any]):
    """SQLAlchemy's cache of compiled statements, by the name of a database's dialect instead of by its engine.

    Each test opens an engine of its own, which would compile every statement anew.
    """

    def get(self, key: tuple[Any, ...], default: Any = None) -> Any:
        dialect, *rest = key
        return super().get((dialect.name, *rest), default)

    def __setitem__(self, key: tuple[Any, ...], compiled: Any) -> None:
        dialect, *rest = key
        super().__setitem__((dialect.name, *rest), compiled)


@pytest.fixture(scope="session", autouse=True)
def statements_compiled_once() -> Iterator[None]:
    cache = CompiledStatements()

    def share(connection: Connection) -> None:
        connection.execution_options(compiled_cache=cache)

    event.listen(Engine, "engine_connect", share)
    yield
    event.remove(Engine, "engine_connect", share)


@pytest.fixture(autouse=True)
def driver() -> Iterator[None]:
    """How SQLite is reached. A module that tests the driver's threads has its own fixture of this name."""
    with sqlite_in_loop():
        yield


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
async def harness(store: JobStore, tmp_path: Path) -> AsyncIterator[WorkerHarness]:
    yield WorkerHarness(store, tmp_path)
    assert asyncio.all_tasks() == {asyncio.current_task()}, "a task outlived its test"


@pytest.fixture
def stages(tmp_path: Path) -> StageHarness:
    return StageHarness(tmp_path)
