"""A copy takes no more memory for a large database than for a small one."""

import asyncio
import os
import sys
from pathlib import Path

import pytest
from sqlalchemy import insert

from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance.migrate import migrate
from bot.store.schema import first_frames, jobs
from tests.store.factories import UNLIMITED, add

ROOT = Path(__file__).parents[3]
PICTURE_BYTES = 100_000
FEW, MANY = 20, 600  # 2 MB and 60 MB of pictures
ALLOWED_KB = 25_000

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]


async def fill(file: Path, pictures: int) -> None:
    async with Database.open(f"sqlite:///{file}") as database:
        await migrate(database)
        job = await add(JobStore(database, UNLIMITED))
        async with database.write() as connection:
            row = dict((await connection.execute(jobs.select())).mappings().one())
            ids = [f"{job.id}{number}" for number in range(pictures)]
            await connection.execute(insert(jobs), [row | {"id": one} for one in ids])
            picture = {"mime": "image/png", "data": os.urandom(PICTURE_BYTES)}
            await connection.execute(insert(first_frames), [picture | {"job_id": one} for one in ids])


def peak_kb_of_copy(folder: Path, name: str, pictures: int) -> int:
    """The most memory that the process of the copy had, in kilobytes."""
    source, target = folder / f"{name}.db", folder / f"{name} copy.db"
    asyncio.run(fill(source, pictures))
    command = [sys.executable, "-m", "bot", "db", "copy", f"sqlite:///{source}", f"sqlite:///{target}"]
    pid = os.posix_spawn(sys.executable, command, {**os.environ, "PYTHONPATH": str(ROOT)})
    _, status, usage = os.wait4(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return usage.ru_maxrss // (1 if sys.platform == "linux" else 1024)


def test_the_memory_of_a_copy_does_not_grow_with_the_pictures(tmp_path: Path) -> None:
    few = peak_kb_of_copy(tmp_path, "few", FEW)
    many = peak_kb_of_copy(tmp_path, "many", MANY)
    assert many - few < ALLOWED_KB
