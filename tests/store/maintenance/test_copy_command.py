"""`zoetrope db copy` as a command and as a whole process that is killed."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy import insert, make_url

from bot.__main__ import main
from bot.domain.errors import StoreError
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.maintenance import commands
from bot.store.maintenance.migrate import migrate, schema_status
from bot.store.maintenance.schema_version import SchemaStatus
from bot.store.schema import first_frames, jobs
from tests.isolation import clear_settings, isolated_logging
from tests.store.conftest import run_outside_transaction
from tests.store.factories import UNLIMITED, add

pytestmark = pytest.mark.full

ROOT = Path(__file__).parents[3]
PICTURES = 400


@pytest.fixture(autouse=True)
def isolated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    clear_settings(monkeypatch)
    with isolated_logging():
        yield


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "source.db"


def prepare(file: Path, pictures: int = 1) -> None:
    async def fill() -> None:
        async with Database.open(f"sqlite:///{file}") as database:
            await migrate(database)
            job = await add(JobStore(database, UNLIMITED))
            async with database.write() as connection:
                row = dict((await connection.execute(jobs.select())).mappings().one())
                frame = {"mime": "image/png", "data": os.urandom(50_000), "thumbnail": None}
                ids = [f"{job.id}{number}" for number in range(1, pictures)]
                await connection.execute(
                    insert(jobs), [row | {"id": one} for one in ids] or [row | {"id": "other"}]
                )
                await connection.execute(
                    insert(first_frames), [frame | {"job_id": one} for one in ids or ["other"]]
                )

    asyncio.run(fill())


def status_of(url: str) -> SchemaStatus:
    async def read() -> SchemaStatus:
        async with Database.open(url) as database:
            return await schema_status(database)

    return asyncio.run(read())


def test_it_prints_each_table_with_its_rows_and_checksum(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(file)
    assert main(["db", "copy", f"sqlite:///{file}", f"sqlite:///{tmp_path}/target.db"]) == 0
    shown = capsys.readouterr()
    assert "ok   jobs: 2 rows, checksum " in shown.out
    assert "ok   copy: " in shown.out.splitlines()[-1]
    assert "copying jobs: 2 of 2 rows" in shown.err
    assert status_of(f"sqlite:///{tmp_path}/target.db") is SchemaStatus.CURRENT


def test_urls_can_come_from_variables_and_the_settings(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(file)
    (tmp_path / ".env").write_text(f"DATABASE_URL=sqlite:///{file}\n")
    monkeypatch.setenv("NEW_DATABASE", f"sqlite:///{tmp_path}/target.db")
    assert main(["db", "copy", "env:DATABASE_URL", "env:NEW_DATABASE"]) == 0
    assert (tmp_path / "target.db").exists()


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("env:NOT_THERE", "The environment has no variable NOT_THERE."),
        ("mysql://me:hunter2@host/name", "The URL of the source is invalid: "),
        ("sqlite:///none.db", "There is no database file "),
        ("postgresql://me:hunter2@127.0.0.1:1/name", "Check its URL, and that the server is running."),
    ],
)
def test_a_wrong_source_gives_one_line_without_its_password(
    source: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["db", "copy", source, f"sqlite:///{tmp_path}/target.db"]) == 1
    shown = capsys.readouterr()
    (line,) = shown.err.splitlines()
    assert said in line
    assert "hunter2" not in shown.err + shown.out
    assert not (tmp_path / "target.db").exists()


async def test_progress_is_logged_for_each_table_and_then_now_and_then(
    file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.to_thread(prepare, file, 1601)
    now = iter(range(10_000))
    caplog.set_level("INFO", "bot.store.maintenance.commands")
    await commands.copy(f"sqlite:///{file}", f"sqlite:///{tmp_path}/target.db", steady_s=lambda: next(now) / 2)
    told = [record.getMessage() for record in caplog.records]
    assert "copying jobs: 500 of 1602 rows" in told or "copying jobs: 500 of 1601 rows" in told
    pictures = [one for one in told if one.startswith("copying first_frames")]
    assert 2 < len(pictures) < 200


@asynccontextmanager
async def a_target(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{tmp_path}/target.db"
        return
    server = request.getfixturevalue("postgres_url")
    await run_outside_transaction(server, "CREATE DATABASE killed_copy")
    yield make_url(server).set(database="killed_copy").render_as_string(hide_password=False)
    await run_outside_transaction(server, "DROP DATABASE killed_copy WITH (FORCE)")


@pytest.mark.parametrize("moment", ["copying first_frames", "comparing first_frames"])
@pytest.mark.parametrize("target_kind", ["sqlite", "postgresql"])
def test_a_copy_that_is_killed_leaves_the_target_empty_and_can_be_repeated(
    file: Path, tmp_path: Path, request: pytest.FixtureRequest, target_kind: str, moment: str
) -> None:
    prepare(file, PICTURES)
    before = file.read_bytes()
    if target_kind == "postgresql":
        request.getfixturevalue("postgres_url")
    runner = asyncio.Runner()
    manager = a_target(target_kind, request, tmp_path)
    target = runner.run(manager.__aenter__())
    command = [sys.executable, "-m", "bot", "db", "copy", f"sqlite:///{file}", target]
    with subprocess.Popen(  # noqa: S603 - our own arguments
        command, cwd=tmp_path, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as copying:
        assert copying.stderr is not None
        assert any(moment in line for line in copying.stderr)
        copying.send_signal(signal.SIGKILL)
    assert copying.returncode == -signal.SIGKILL

    if target_kind == "sqlite":
        wal = tmp_path / "target.db-wal"
        assert wal.exists(), "it was killed in the middle"
    assert status_of(target) is SchemaStatus.EMPTY
    assert file.read_bytes() == before
    found = runner.run(commands.copy(f"sqlite:///{file}", target))
    assert found[-1].subject == "copy"
    assert status_of(target) is SchemaStatus.CURRENT
    runner.run(manager.__aexit__(None, None, None))
    runner.close()


async def test_a_url_that_is_no_databases_is_refused() -> None:
    with pytest.raises(StoreError, match="The URL of the target is invalid"):
        await commands.copy("sqlite:///a.db", "https://host/secret")
