# ruff: noqa: ASYNC240 - small files of the test's own
import asyncio
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from bot.chat.messages.notification_texts import render
from bot.domain.database_url import sqlite_url
from bot.domain.errors import StoreError
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, JobState
from bot.domain.notifications import Announcement
from bot.domain.policy import Requester
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance import schema_version
from bot.store.maintenance.backup import copy_of, inspect_file
from bot.store.maintenance.migrate import schema_status
from bot.store.maintenance.restore import end_jobs_in_progress, restore
from bot.store.outbox import notifications
from tests.providers_asked import vtrix
from tests.store.factories import DAY, LEASES, MANY, NOW, UNLIMITED, add, bring_to, notified_texts
from tests.store.maintenance.test_backup import damage_file

LATER = NOW + timedelta(hours=3)
IN_PROGRESS = [JobState.QUEUED, JobState.SUBMITTING, JobState.RUNNING, JobState.DELIVERING]


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.fixture
def file(database_url: str) -> Path:
    return Path(database_url.removeprefix("sqlite:///"))


@pytest.fixture
def backup(tmp_path: Path) -> Path:
    return tmp_path / "backup.db"


@pytest.fixture
async def open_restored(file: Path) -> AsyncIterator[Callable[[], Database]]:
    """Opens the restored database; each database is closed after the test."""
    opened: list[Database] = []

    def open_restored_database() -> Database:
        opened.append(Database.open(f"sqlite:///{file}"))
        return opened[-1]

    yield open_restored_database
    for database in opened:
        await database.close()


async def create_backup(file: Path, backup: Path, *states: JobState) -> list[str]:
    """Adds jobs in these states, backs up the database, and adds another job; returns the ids of the former."""
    async with Database.open(f"sqlite:///{file}") as database:
        store = JobStore(database, UNLIMITED)
        made = [(await bring_to(store, state)).id for state in states]
        copy_of(file, backup)
        await add(store)
    return made


async def test_the_backup_replaces_the_database_and_the_replaced_file_is_kept(
    file: Path, backup: Path, open_restored: Callable[[], Database]
) -> None:
    [job_id] = await create_backup(file, backup, JobState.DELIVERED)

    done = await restore(backup, file, LATER, resume=False)

    assert done.copy.rows["jobs"] == 1
    assert done.kept == file.with_name("zoetrope-20260131-150000-replaced.db")
    assert inspect_file(done.kept).rows["jobs"] == 2
    assert inspect_file(backup).rows["jobs"] == 1
    job = await JobStore(open_restored(), UNLIMITED).get(job_id)
    assert job is not None
    assert job.state is JobState.DELIVERED


async def test_jobs_in_progress_are_never_started_again(
    file: Path, backup: Path, open_restored: Callable[[], Database]
) -> None:
    ids = await create_backup(file, backup, *IN_PROGRESS)

    done = await restore(backup, file, LATER, resume=False)

    assert done.unknown == len(IN_PROGRESS)
    store = JobStore(open_restored(), UNLIMITED)
    assert await store.claim_queued(LATER, vtrix(MANY), DAY) is None
    for job_id in ids:
        job = await store.get(job_id)
        assert job is not None
        assert (job.state, job.failure_reason) == (JobState.FAILED, FailureReason.OUTCOME_UNKNOWN)
        assert job.failure_detail == FailureDetail(FailureCause.RESTORED)
    assert (await store.allowance(Requester(10, 100, 1), LATER)).usage.charged_at == ()


async def test_the_failures_of_jobs_in_progress_are_announced_as_a_repeated_attempt(
    file: Path, backup: Path, open_restored: Callable[[], Database]
) -> None:
    await create_backup(file, backup, *IN_PROGRESS)
    await restore(backup, file, LATER, resume=False)

    claimed = await JobStore(open_restored(), UNLIMITED).claim_due(LATER, MANY, LEASES)

    assert len(claimed) == len(IN_PROGRESS)
    assert all(job.attempts > 0 for job in claimed)


async def test_the_operator_is_notified_of_each_job_to_reconcile(
    file: Path, backup: Path, open_restored: Callable[[], Database]
) -> None:
    ids = await create_backup(file, backup, *IN_PROGRESS)
    await restore(backup, file, LATER, resume=False)
    texts = await notified_texts(open_restored())
    assert all(any(f"`{job_id}`" in one and "reconciling" in one for one in texts) for job_id in ids)


async def test_pending_notifications_are_marked_as_tried_before(
    file: Path, backup: Path, open_restored: Callable[[], Database]
) -> None:
    async with Database.open(f"sqlite:///{file}") as database, database.write() as connection:
        await notifications.post(connection, 10, Announcement("what happened"), NOW, channel_id=7)
    copy_of(file, backup)
    await restore(backup, file, LATER, resume=False)
    [batch] = await notifications.NotificationStore(open_restored(), render).claim(LATER, MANY, DAY)
    assert batch.tried_before


async def test_jobs_continue_if_the_backup_was_made_while_the_bot_was_stopped(
    file: Path, backup: Path, open_restored: Callable[[], Database]
) -> None:
    ids = await create_backup(file, backup, *IN_PROGRESS)

    done = await restore(backup, file, LATER, resume=True)

    assert done.unknown == 0
    found = [await JobStore(open_restored(), UNLIMITED).get(job_id) for job_id in ids]
    assert [job.state for job in found if job] == IN_PROGRESS


async def test_a_backup_of_an_older_version_is_upgraded(
    file: Path, backup: Path, open_restored: Callable[[], Database]
) -> None:
    def upgrade_to_first_version(connection: Connection) -> None:
        schema_version.run_migrations(connection, "0001")

    async with Database.open(f"sqlite:///{backup}") as old, old.write() as connection:
        await connection.run_sync(upgrade_to_first_version)
    await restore(backup, file, LATER, resume=False)
    assert await schema_status(open_restored()) == "current"
    assert inspect_file(backup).status == "behind"


@pytest.mark.parametrize("damage", ["header", "page", "cut", "index", "garbage"])
async def test_a_damaged_backup_changes_nothing(file: Path, backup: Path, damage: str) -> None:
    await create_backup(file, backup, JobState.DELIVERED)
    before = file.read_bytes()
    damage_file(backup, damage)
    with pytest.raises(StoreError, match=r"damaged|not a SQLite database"):
        await restore(backup, file, LATER, resume=False)
    assert file.read_bytes() == before
    assert sorted(path.name for path in file.parent.iterdir()) == ["backup.db", "zoetrope.db"]


async def test_a_backup_of_a_newer_version_changes_nothing(file: Path, backup: Path) -> None:
    await create_backup(file, backup)
    async with Database.open(f"sqlite:///{backup}") as newer, newer.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    before = file.read_bytes()
    with pytest.raises(StoreError, match="newer version of Zoetrope: install that one first"):
        await restore(backup, file, LATER, resume=False)
    assert file.read_bytes() == before


@pytest.mark.parametrize("content", [None, b"", b"a text"])
async def test_a_file_that_is_not_a_backup_changes_nothing(
    file: Path, backup: Path, content: bytes | None
) -> None:
    if content is not None:
        backup.write_bytes(content)
    before = file.read_bytes()
    with pytest.raises(StoreError, match=r"no file|not a Zoetrope|isn't a backup of"):
        await restore(backup, file, LATER, resume=False)
    assert file.read_bytes() == before


async def test_the_database_cannot_be_restored_from_itself(file: Path) -> None:
    with pytest.raises(StoreError, match="the database itself"):
        await restore(file, file, LATER, resume=False)


@pytest.mark.parametrize("damage", ["header", "page", "cut", "garbage"])
async def test_a_damaged_database_is_replaced_and_kept_as_it_is(
    file: Path, backup: Path, open_restored: Callable[[], Database], damage: str
) -> None:
    await create_backup(file, backup, JobState.DELIVERED)
    damage_file(file, damage)
    damaged = file.read_bytes()

    done = await restore(backup, file, LATER, resume=False)

    assert done.kept is not None
    assert done.kept.read_bytes() == damaged
    await schema_status(open_restored())


@pytest.mark.parametrize("left", ["gone", "damaged"])
async def test_the_wal_of_the_replaced_database_is_not_applied_to_the_new_one(
    file: Path, backup: Path, open_restored: Callable[[], Database], left: str
) -> None:
    await create_backup(file, backup, JobState.DELIVERED)
    async with Database.open(f"sqlite:///{file}") as database:
        await add(JobStore(database, UNLIMITED))
        wal = file.with_name("zoetrope.db-wal").read_bytes()
    if left == "gone":
        file.unlink()
    else:
        damage_file(file, "garbage")
    file.with_name("zoetrope.db-wal").write_bytes(wal)

    await restore(backup, file, LATER, resume=False)

    assert not file.with_name("zoetrope.db-wal").exists()
    if left == "gone":
        assert file.with_name("zoetrope-20260131-150000-replaced.db-wal").read_bytes() == wal
    await schema_status(open_restored())
    assert inspect_file(file).rows["jobs"] == 1


async def test_a_restore_to_a_new_path_has_no_replaced_file_to_keep(
    tmp_path: Path, file: Path, backup: Path
) -> None:
    await create_backup(file, backup, JobState.DELIVERED)
    done = await restore(backup, tmp_path / "new" / "place.db", LATER, resume=False)
    assert done.kept is None
    assert inspect_file(tmp_path / "new" / "place.db").rows["jobs"] == 1


@pytest.mark.parametrize("folder", ["100%41 really?", "caf\udce9"], ids=["url", "bytes"])
async def test_a_folder_may_have_any_characters(tmp_path: Path, file: Path, backup: Path, folder: str) -> None:
    """Also those that mean something in a URL, and bytes that are not UTF-8."""
    [job_id] = await create_backup(file, backup, JobState.RUNNING)
    before = set(tmp_path.iterdir())
    place = tmp_path / folder / "place.db"
    await restore(backup, place, LATER, resume=False)
    async with Database.open(sqlite_url(place)) as database:
        job = await JobStore(database, UNLIMITED).get(job_id)
    assert job is not None
    assert job.state is JobState.FAILED
    assert set(tmp_path.iterdir()) - before == {tmp_path / folder}


async def test_two_restores_within_one_second_keep_both_replaced_files(file: Path, backup: Path) -> None:
    await create_backup(file, backup, JobState.DELIVERED)
    kept = [(await restore(backup, file, LATER, resume=False)).kept for _ in range(2)]
    assert len(set(kept)) == 2


RESTORE_AND_DIE = """
import asyncio, os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from bot.store.maintenance.restore import restore

steps = int(sys.argv[3])

def watch(event, _):
    global steps
    if event in {"os.link", "os.remove", "os.rename", "open", "os.chown"}:
        steps -= 1
        if steps < 0:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(watch)
asyncio.run(restore(Path(sys.argv[1]), Path(sys.argv[2]), datetime.now(UTC), resume=False))
print(steps)
"""
UNLIMITED_STEPS = 1_000_000
LAST_STEPS = 9
"""The last file operations of a restore, among them all that change a file that existed before."""


@pytest.mark.full
async def test_a_crash_at_any_step_leaves_the_old_database_or_the_new_one(
    tmp_path: Path, file: Path, backup: Path
) -> None:
    await create_backup(file, backup, JobState.QUEUED)
    seen = set()
    copy_of(file, tmp_path / "whole.db")
    left = await restore_and_die(backup, tmp_path / "whole.db", UNLIMITED_STEPS)
    assert left is not None
    total = UNLIMITED_STEPS - left
    for steps in range(total - LAST_STEPS, total + 1):
        place = tmp_path / f"after {steps}" / "zoetrope.db"
        place.parent.mkdir()
        copy_of(file, place)
        died = await restore_and_die(backup, place, steps) is None
        held = inspect_file(place)
        seen.add(held.rows["jobs"])
        assert held.rows["jobs"] in {1, 2}
        assert not [side for side in ("-wal", "-shm", "-journal") if place.with_name(place.name + side).exists()]
        if held.rows["jobs"] == 1 and died:
            assert any("replaced" in other.name for other in place.parent.iterdir())
        # A second attempt succeeds.
        await restore(backup, place, datetime.now(UTC), resume=False)
        assert inspect_file(place).rows["jobs"] == 1
    assert seen == {1, 2}


async def restore_and_die(backup: Path, place: Path, steps: int) -> int | None:
    """Restores in a process that is killed after `steps` file operations. Returns how many were left, or None."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RESTORE_AND_DIE, str(backup), str(place), str(steps)), stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert process.returncode in {0, -signal.SIGKILL}
    return None if process.returncode else int(out)


async def test_a_database_without_jobs_has_no_jobs_in_progress_to_end(file: Path) -> None:
    async with Database.open(f"sqlite:///{file}") as database:
        assert await end_jobs_in_progress(database, NOW) == 0
