"""A database file that is deleted, moved or replaced while the bot has it open."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bot.domain.errors import DatabaseFileLost, DeliveryDelayed, StoreError
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.maintenance.commands import restore_backup
from bot.store.maintenance.file_watch import FileWatch, LostFile
from bot.store.maintenance.process_lock import process_lock

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
GUILD = 7


class Watched:
    """A database file with a server in it, and what its operator was told."""

    def __init__(self, database: Database, file: Path) -> None:
        self.database = database
        self.file = file
        self.told: list[LostFile] = []
        self.unreachable = 0

    async def tell(self, lost: LostFile) -> None:
        if self.unreachable:
            self.unreachable -= 1
            raise DeliveryDelayed("Discord is away")
        self.told.append(lost)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0)

    async def paused(self) -> bool:
        async with self.database.read() as connection:
            return (await guild_settings.get(connection, GUILD)).settings.paused


@pytest.fixture
def url(migrated_file: Path, tmp_path: Path) -> str:
    file = tmp_path / "data" / "zoetrope.db"
    file.parent.mkdir()
    shutil.copy(migrated_file, file)
    return f"sqlite:///{file}"


@asynccontextmanager
async def watching(url: str) -> AsyncIterator[Watched]:
    """A bot's database under watch, without a pause between two looks."""
    with process_lock(url) as lock:
        async with Database.open(url) as database:
            assert lock is not None
            assert database.file is not None
            watched = Watched(database, database.file)
            async with database.write() as connection:
                await guild_settings.write(connection, GUILD, {"paused": True})
            file_watch = FileWatch(database, lock, watched.tell, clock=lambda: NOW)
            watch = asyncio.create_task(file_watch.run(interval_s=0))
            yield watched
            watch.cancel()
            await asyncio.wait({watch})


def delete(file: Path) -> None:
    file.unlink()


def delete_with_side_files(file: Path) -> None:
    for path in file.parent.glob(f"{file.name}*"):
        path.unlink()


def delete_folder(file: Path) -> None:
    shutil.rmtree(file.parent)


def move(file: Path) -> None:
    file.rename(file.with_name("elsewhere.db"))


def replace(file: Path) -> None:
    shutil.copy(file, file.with_name("another.db"))
    file.with_name("another.db").replace(file)


def saved_copies(file: Path) -> list[Path]:
    return list(file.parent.glob("*-saved.db"))


LOSSES = [delete, delete_with_side_files, delete_folder, move, replace]


@pytest.mark.parametrize("lose", LOSSES)
async def test_nothing_is_written_to_a_file_that_is_gone(url: str, lose: Callable[[Path], None]) -> None:
    async with Database.open(url) as database:
        assert database.file is not None
        async with database.read():
            pass
        lose(database.file)
        for transaction in (database.read, database.write, database.change_schema):
            with pytest.raises(DatabaseFileLost, match="deleted, moved or replaced"):
                async with transaction():
                    pass
        assert database.file.exists() == (lose is replace)


@pytest.mark.parametrize("lose", LOSSES)
async def test_a_lost_file_is_saved_and_the_operator_told_once(url: str, lose: Callable[[Path], None]) -> None:
    async with watching(url) as watched:
        watched.unreachable = 2
        lose(watched.file)
        await watched.until(lambda: len(watched.told) > 0)
        for _ in range(20):
            await asyncio.sleep(0)
    [lost] = watched.told
    assert lost.file == watched.file
    assert lost.copy is not None
    assert lost.copy.stat().st_mode & 0o077 == 0, "private"
    assert not list(lost.copy.parent.glob(".*.part*"))
    async with Database.open(f"sqlite:///{lost.copy}") as saved, saved.read() as connection:
        assert (await guild_settings.get(connection, GUILD)).settings.paused


async def test_the_next_start_names_the_copy_and_a_restore_brings_everything_back(url: str) -> None:
    async with watching(url) as watched:
        delete_with_side_files(watched.file)
        await watched.until(lambda: len(watched.told) > 0)
    copy = watched.told[0].copy
    assert copy is not None
    with pytest.raises(StoreError, match=rf"zoetrope db restore {copy} --resume"):
        Database.open(url)
    await restore_backup(url, copy, NOW, resume=True)
    async with Database.open(url) as database, database.read() as connection:
        assert (await guild_settings.get(connection, GUILD)).settings.paused


async def test_a_file_that_comes_back_is_used_again_and_its_next_loss_is_told_again(url: str) -> None:
    async with watching(url) as watched:
        for times in (1, 2):
            move(watched.file)
            await watched.until(lambda times=times: len(watched.told) == times)  # type: ignore[misc]  # a default
            watched.file.with_name("elsewhere.db").rename(watched.file)
            assert await watched.paused()
            for _ in range(5):
                await asyncio.sleep(0)


async def test_a_copy_includes_the_transaction_that_was_open_at_the_loss(url: str) -> None:
    async with watching(url) as watched:
        async with watched.database.write() as connection:
            delete_with_side_files(watched.file)
            await guild_settings.write(connection, GUILD, {"paused": False})
            for _ in range(5):
                await asyncio.sleep(0)
        await watched.until(lambda: len(watched.told) > 0)
    copy = watched.told[0].copy
    assert copy is not None
    async with Database.open(f"sqlite:///{copy}") as saved, saved.read() as connection:
        assert not (await guild_settings.get(connection, GUILD)).settings.paused


async def test_a_file_of_which_nothing_can_be_saved_is_told_too(url: str) -> None:
    async with watching(url) as watched:
        await watched.database.close()  # no connection is left to read from
        delete(watched.file)
        await watched.until(lambda: len(watched.told) > 0)
    assert watched.told == [LostFile(watched.file, None)]
    assert not list(watched.file.parent.glob("*saved*")), "a start would take it for a copy"


async def test_a_folder_that_can_not_be_made_again_is_told_too(url: str) -> None:
    async with watching(url) as watched:
        delete_folder(watched.file)
        watched.file.parent.touch()  # a file is where the folder was
        await watched.until(lambda: len(watched.told) > 0)
    assert watched.told == [LostFile(watched.file, None)]


async def test_a_deleted_lock_file_is_made_again(url: str) -> None:
    async with watching(url) as watched:
        lock_file = watched.file.with_name("zoetrope.db.lock")
        lock_file.unlink()
        await watched.until(lock_file.exists)
        with pytest.raises(StoreError, match="in use by another Zoetrope"), process_lock(url):
            pass


async def test_a_process_whose_lock_was_taken_over_stops(url: str) -> None:
    with process_lock(url) as lock:
        assert lock is not None
        async with Database.open(url) as database:
            assert database.file is not None
            database.file.with_name("zoetrope.db.lock").unlink()
            with process_lock(url):
                watched = Watched(database, database.file)
                watch = FileWatch(database, lock, watched.tell, clock=lambda: NOW)
                with pytest.raises(StoreError, match="in use by another Zoetrope"):
                    await watch.run(interval_s=0)
                assert watched.file.exists()
                assert saved_copies(watched.file) == []


async def test_a_lost_file_is_saved_though_its_lock_was_taken_over(url: str) -> None:
    with process_lock(url) as lock:
        assert lock is not None
        async with Database.open(url) as database:
            assert database.file is not None
            async with database.read():
                pass
            file = database.file
            delete_folder(file)
            with process_lock(url):
                watched = Watched(database, file)
                watch = FileWatch(database, lock, watched.tell, clock=lambda: NOW)
                with pytest.raises(StoreError, match="in use by another Zoetrope"):
                    await watch.run(interval_s=0)
    assert len(saved_copies(file)) == 1


async def test_a_watch_that_is_cancelled_while_it_saves_a_copy_saves_it_all_the_same(url: str) -> None:
    with process_lock(url) as lock:
        assert lock is not None
        async with Database.open(url) as database:
            assert database.file is not None
            watched = Watched(database, database.file)
            file_watch = FileWatch(database, lock, watched.tell, clock=lambda: NOW)
            async with database.write():  # for which the copy waits
                delete(watched.file)
                watch = asyncio.create_task(file_watch.run(interval_s=0))
                await watched.until(lambda: bool(list(watched.file.parent.glob(".*.part"))))
                watch.cancel()
            await file_watch.check()
            await asyncio.wait({watch})
    assert len(saved_copies(watched.file)) == 1
