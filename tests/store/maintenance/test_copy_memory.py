"""A copy, and a check of a backup, take no more memory for a large database than for a small one."""

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
FEW, MANY = 20, 1200  # 2 MB and 120 MB of pictures
ALLOWED_KB = 25_000

pytestmark = [pytest.mark.full, pytest.mark.timeout(300)]


async def fill(file: Path, pictures: int) -> None:
    async with Database.open(f"sqlite:///{file}") as database:
        await migrate(database)
        job = await add(JobStore(database, UNLIMITED))
        async with database.write() as connection:
            row = dict((await connection.execute(jobs.select())).mappings().one())
            ids = [f"{job.id}{number}" for number in range(pictures)]
            await connection.execute(insert(jobs), [row | {"id": one, "state": "failed"} for one in ids])
            picture = {"mime": "image/png", "data": os.urandom(PICTURE_BYTES)}
            await connection.execute(insert(first_frames), [picture | {"job_id": one} for one in ids])


def peak_kb(folder: Path, action: list[str], name: str, pictures: int) -> int:
    """The most memory that the process of the command had, in kilobytes."""
    source, target = folder / f"{name}.db", folder / f"{name} copy.db"
    asyncio.run(fill(source, pictures))
    command = [sys.executable, "-m", "bot", "db", *(part.format(source=source, target=target) for part in action)]
    pid = os.posix_spawn(sys.executable, command, {**os.environ, "PYTHONPATH": str(ROOT)})
    _, status, usage = os.wait4(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    return usage.ru_maxrss // (1 if sys.platform == "linux" else 1024)


@pytest.mark.parametrize(
    "action", [["copy", "sqlite:///{source}", "sqlite:///{target}"], ["check-backup", "{source}"]]
)
def test_the_memory_of_a_command_does_not_grow_with_the_pictures(tmp_path: Path, action: list[str]) -> None:
    few = peak_kb(tmp_path, action, "few", FEW)
    many = peak_kb(tmp_path, action, "many", MANY)
    assert many - few < ALLOWED_KB
