"""The service that makes scheduled backups: what it logs, tells and survives."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from bot.domain.notifications import BackupFailed, notification_of
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance.scheduled_backups import ScheduledBackups
from bot.store.schema import notifications
from bot.worker.backups import BackupWorker
from tests.store.factories import add

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(days=1)


class Harness:
    """The service over a real database. now: what its clock shows."""

    def __init__(self, store: JobStore, folder: Path) -> None:
        database = store._db
        assert database.file is not None
        self.database, self.folder, self.now = database, folder, NOW
        backups = ScheduledBackups(database.file, folder, every=DAY, keep=2)
        self.worker = BackupWorker(
            backups, database, clock=lambda: self.now, check_interval=timedelta(0), retry_after=timedelta(0)
        )

    def made(self) -> list[Path]:
        return sorted(self.folder.glob("*.db"))

    async def told(self) -> list[str | None]:
        async with self.database.read() as connection:
            rows = await connection.execute(notifications.select().order_by(notifications.c.id))
            found = [notification_of(row.kind, row.payload) for row in rows]
        return [one.reason for one in found if isinstance(one, BackupFailed)]


@pytest.fixture
def backing_up(store: JobStore, tmp_path: Path) -> Harness:
    folder = tmp_path / "backups"
    folder.mkdir()
    return Harness(store, folder)


async def test_a_backup_is_made_when_one_is_due(backing_up: Harness, store: JobStore) -> None:
    await add(store)
    assert await backing_up.worker.run_once()
    assert await backing_up.worker.run_once()
    assert len(backing_up.made()) == 1
    backing_up.now += DAY
    assert await backing_up.worker.run_once()
    assert len(backing_up.made()) == 2
    assert await backing_up.told() == []


async def test_a_failure_is_told_once_a_day_and_the_next_try_may_succeed(
    backing_up: Harness, caplog: pytest.LogCaptureFixture
) -> None:
    backing_up.folder.rmdir()
    for _ in range(3):
        assert not await backing_up.worker.run_once()
    [reason] = await backing_up.told()
    assert reason is not None
    assert "No such file or directory" in reason
    assert "a scheduled backup failed" in caplog.text
    backing_up.now += DAY
    assert not await backing_up.worker.run_once()
    assert len(await backing_up.told()) == 2
    backing_up.folder.mkdir()
    assert await backing_up.worker.run_once()
    assert len(backing_up.made()) == 1


async def test_a_file_that_replaced_the_database_is_not_backed_up(backing_up: Harness) -> None:
    file = backing_up.database.file
    assert file is not None
    file.rename(file.with_name("moved.db"))
    file.with_name("moved.db").with_name("zoetrope.db").write_bytes(b"another one")
    assert not await backing_up.worker.run_once()
    assert backing_up.made() == []
    file.unlink()
    file.with_name("moved.db").rename(file)
    assert await backing_up.worker.run_once()


async def test_it_runs_through_failures_until_it_is_stopped(backing_up: Harness) -> None:
    backing_up.folder.rmdir()
    running = asyncio.create_task(backing_up.worker.run())
    while not await backing_up.told():
        await asyncio.sleep(0)
    backing_up.folder.mkdir()
    while not backing_up.made():
        await asyncio.sleep(0)
    backing_up.worker.wake()
    backing_up.worker.stop()
    await running


async def test_a_backup_that_a_stop_ends_is_no_failure_to_tell(backing_up: Harness) -> None:
    backing_up.worker.stop()
    assert not await backing_up.worker.run_once()
    assert backing_up.made() == []
    assert await backing_up.told() == []


async def test_orders_are_taken_while_a_backup_runs(backing_up: Harness, store: JobStore) -> None:
    backup = asyncio.create_task(backing_up.worker.run_once())
    await add(store)
    assert await backup
    assert len(backing_up.made()) == 1
