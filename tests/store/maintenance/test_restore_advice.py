"""What `zoetrope db restore` and `db restored` say: about a file that is no backup, and about jobs."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bot.domain.errors import StoreError
from bot.domain.jobs import JobState
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance import commands
from bot.store.maintenance.backup import copy_of
from tests.store.factories import NOW, UNLIMITED, bring_to
from tests.store.maintenance.test_backup import damage_file

pytestmark = pytest.mark.full


@pytest.fixture
def kind() -> str:
    return "sqlite"


async def test_a_file_that_is_not_a_database_is_called_no_backup(database_url: str, tmp_path: Path) -> None:
    video = tmp_path / "video.mp4"
    video.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(10_000))
    with pytest.raises(StoreError, match=r"video\.mp4 isn't a backup of Zoetrope") as caught:
        await commands.restore_backup(database_url, video, NOW, resume=False)
    assert "Nothing was changed." in str(caught.value)
    assert "DATABASE_URL" not in str(caught.value)
    assert "restore a backup" not in str(caught.value)


async def test_a_damaged_backup_is_not_to_be_cured_by_a_restore(database_url: str, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    copy_of(Path(database_url.removeprefix("sqlite:///")), backup)
    damage_file(backup, "header")
    with pytest.raises(StoreError, match=r"backup\.db isn't a backup of Zoetrope, or it is damaged"):
        await commands.restore_backup(database_url, backup, NOW, resume=False)


async def test_another_programs_database_is_called_no_backup(database_url: str, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE jobs (id INTEGER)")
    connection.close()
    with pytest.raises(StoreError, match=r"other\.db is not a Zoetrope database\.") as caught:
        await commands.restore_backup(database_url, other, NOW, resume=False)
    assert "DATABASE_URL" not in str(caught.value)


async def test_without_jobs_in_progress_no_videos_are_spoken_of(database_url: str) -> None:
    said = await commands.finish_restore(database_url, NOW)
    assert said == "No job was in progress, so none was ended."


async def test_ended_jobs_are_counted(database_url: str) -> None:
    async with Database.open(database_url) as database:
        await bring_to(JobStore(database, UNLIMITED), JobState.RUNNING)
    assert (await commands.finish_restore(database_url, NOW)).startswith("Jobs in progress in the backup: 1.")


async def test_resumed_jobs_are_said_to_continue(database_url: str, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    copy_of(Path(database_url.removeprefix("sqlite:///")), backup)
    said = await commands.restore_backup(database_url, backup, NOW, resume=True)
    assert said.endswith("Jobs in progress in the backup continue at the next start.")


async def test_a_backup_in_use_is_not_called_damaged(database_url: str, tmp_path: Path) -> None:
    backup = tmp_path / "backup.db"
    copy_of(Path(database_url.removeprefix("sqlite:///")), backup)
    with closing(sqlite3.connect(backup, isolation_level=None)) as writing:
        writing.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match=r"backup\.db is in use by another program") as caught:
            await commands.check_backup(backup, NOW)
    assert "damaged" not in str(caught.value)
