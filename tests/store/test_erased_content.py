"""What was deleted or replaced is not left in the database file."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from bot.domain.jobs import Frame, Order
from bot.store.engine import Database, _set_up_sqlite
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance.migrate import migrate
from bot.store.schema import first_frames, jobs
from tests.store.factories import NOW, UNLIMITED, new_job, requester_of

PICTURE = bytes(range(1, 256)) * 60
"""Larger than a page."""
KEPT, ERASED = "a prompt that stays", "a prompt that somebody had erased"


@pytest.fixture
async def file(tmp_path: Path) -> Path:
    """A database with two orders."""
    file = tmp_path / "zoetrope.db"
    async with Database.open(f"sqlite:///{file}") as database:
        await migrate(database)
        for number, prompt in enumerate((KEPT, ERASED)):
            new = new_job(user_id=1 + number, order=Order(prompt))
            frame = Frame(PICTURE, "image/png")
            await JobStore(database, UNLIMITED).add(new, frame, requester_of(new), NOW)
    return file


async def test_erased_prompts_and_pictures_are_overwritten_in_the_file(file: Path) -> None:
    assert ERASED.encode() in file.read_bytes()  # noqa: ASYNC240 - one small file
    assert PICTURE[:1000] in file.read_bytes()  # noqa: ASYNC240 - one small file

    async with Database.open(f"sqlite:///{file}") as database, database.write() as connection:
        await connection.execute(update(jobs).where(jobs.c.prompt == ERASED).values(prompt=""))
        await connection.execute(delete(first_frames))

    content = file.read_bytes()  # noqa: ASYNC240 - one small file
    assert KEPT.encode() in content
    assert ERASED.encode() not in content
    assert PICTURE[:1000] not in content


def test_that_does_not_depend_on_how_sqlite_was_built(file: Path) -> None:
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA secure_delete = OFF")  # SQLite's own default; Debian's is on
        _set_up_sqlite(connection, None)
        assert connection.execute("PRAGMA secure_delete").fetchone() == (1,)
