"""`zoetrope db check-backup`: rehearses a restore."""

# ruff: noqa: ASYNC240 - small files of the test's own
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from bot.domain.errors import StoreError
from bot.store.engine import Database
from bot.store.maintenance import commands, schema_version
from bot.store.maintenance.backup import copy_of
from bot.store.maintenance.process_lock import process_lock
from bot.store.maintenance.rehearsal import rehearse
from bot.store.maintenance.restore import restore
from tests.store.factories import NOW
from tests.store.maintenance.databases import EVERY_STATE, add_jobs
from tests.store.maintenance.test_backup import damage_file

pytestmark = pytest.mark.full

LATER = NOW + timedelta(days=2)
IN_PROGRESS = [state for state in EVERY_STATE if state not in {"delivered", "failed", "cancelled"}]


@pytest.fixture
def kind() -> str:
    return "sqlite"


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
async def backup(database: Database, tmp_path: Path) -> Path:
    """A backup with a job in each state."""
    await add_jobs(database)
    assert database.file is not None
    copy_of(database.file, tmp_path / "backup.db")
    return tmp_path / "backup.db"


async def change(backup: Path, statement: str) -> None:
    async with Database.open(f"sqlite:///{backup}") as database, database.write() as connection:
        await connection.execute(text(statement))


async def test_it_reports_the_jobs_and_what_a_restore_would_end(backup: Path) -> None:
    found = await rehearse(backup, LATER)
    assert found.jobs == dict.fromkeys(sorted(EVERY_STATE), 1)
    assert found.newest == NOW
    assert found.ended == len(IN_PROGRESS)
    assert found.held > 0
    assert found.usual > 0
    assert found.usual == round(found.usual, 2), "people read it"
    assert found.wrong == ()


async def test_it_ends_what_a_restore_ends(backup: Path, tmp_path: Path) -> None:
    found = await rehearse(backup, LATER)
    done = await restore(backup, tmp_path / "restored.db", LATER, resume=False)
    assert found.ended == done.unknown


async def test_the_backup_and_the_live_file_stay_as_they_are_and_nothing_is_left(
    backup: Path, database_url: str, temporary: Path
) -> None:
    before = backup.read_bytes(), sorted(backup.parent.iterdir())
    with process_lock(database_url):  # as while the bot runs
        lock = Path(f"{database_url.removeprefix('sqlite:///')}.lock")
        await rehearse(backup, LATER)
    assert (backup.read_bytes(), sorted({*backup.parent.iterdir()} - {lock})) == before
    assert list(temporary.iterdir()) == []


async def test_a_backup_of_an_earlier_version_is_upgraded_in_its_copy(tmp_path: Path) -> None:
    def first_version(connection: Connection) -> None:
        schema_version.run_migrations(connection, "0001")

    backup = tmp_path / "old.db"
    async with Database.open(f"sqlite:///{backup}") as old, old.write() as connection:
        await connection.run_sync(first_version)
    found = await rehearse(backup, LATER)
    assert (found.backup.status, found.newest, found.wrong) == ("behind", None, ())


@pytest.mark.parametrize("damage", ["header", "page", "cut", "index", "garbage"])
async def test_a_damaged_file_is_refused_and_nothing_is_left(backup: Path, damage: str, temporary: Path) -> None:
    damage_file(backup, damage)
    with pytest.raises(StoreError, match=r"backup\.db (is damaged|isn't a backup)|not a SQLite database"):
        await rehearse(backup, LATER)
    assert list(temporary.iterdir()) == []


async def test_a_file_of_a_newer_version_is_refused(backup: Path) -> None:
    await change(backup, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer version of Zoetrope: install that one first"):
        await rehearse(backup, LATER)


async def test_another_programs_file_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    await change(other, "CREATE TABLE jobs (id INTEGER)")
    with pytest.raises(StoreError, match="not a Zoetrope database"):
        await rehearse(other, LATER)


@pytest.mark.parametrize(
    ("statement", "wrong"),
    [
        ("UPDATE daily_totals SET usd = usd + 1 WHERE guild_id = 0", "daily_totals 2026-01-31 is not the sum"),
        ("UPDATE daily_totals SET videos = 0 WHERE guild_id = 0", "daily_totals 2026-01-31 is not the sum"),
        ("UPDATE provider_totals SET usd = usd - 1", "provider_totals vtrix 2026-01-31 is not the sum"),
        ("UPDATE credit_grants SET credits_left = 4711", "credit_grants 1 is not the sum"),
        ("DELETE FROM daily_totals", "daily_totals 2026-01-31 is not the sum"),
        (
            "INSERT INTO kept_pictures VALUES ('nobody', 'nobody', NULL)",
            "a row of kept_pictures belongs to no row",
        ),
        (
            (
                "UPDATE ledger SET videos = 0, credits = 0 WHERE job_id IN "
                "(SELECT id FROM jobs WHERE state = 'running')"
            ),
            "don't come to what its state demands",
        ),
    ],
)
async def test_wrong_sums_and_lost_rows_are_found(backup: Path, statement: str, wrong: str) -> None:
    async with Database.open(f"sqlite:///{backup}") as database, database.change_schema() as connection:
        await connection.execute(text(statement))
    found = await rehearse(backup, LATER)
    assert any(wrong in one for one in found.wrong)
    assert any(one.is_wrong for one in await commands.check_backup(backup, LATER))


async def test_the_report_says_what_a_restore_means(backup: Path) -> None:
    lines = {one.subject: one for one in await commands.check_backup(backup, LATER)}
    assert "no damage found" in lines["backup"].text
    assert "delivered: 1" in lines["jobs"].text
    assert "2.0 days ago" in lines["jobs"].text
    assert "it was $0.05 a day on" in lines["budgets"].text
    assert lines["budgets"].is_warning
    assert f"ends {len(IN_PROGRESS)} jobs in progress as `outcome_unknown`" in lines["restore"].text
    assert not any(one.is_wrong for one in lines.values())


@pytest.mark.parametrize(
    ("table", "statement", "said"),
    [
        ("jobs", "UPDATE jobs SET created_at = 'yesterday'", "'yesterday'"),
        ("notifications", "UPDATE notifications SET created_at = 'yesterday'", "'yesterday'"),
        ("notifications", "UPDATE notifications SET payload = '{'", "Expecting property name"),
        ("notifications", "UPDATE notifications SET text = CAST(x'ff' AS TEXT)", "UTF-8"),
        ("ledger", "UPDATE ledger SET usd = 'much' WHERE id = 2", "not a number"),
    ],
)
async def test_a_value_that_can_not_be_read_is_refused_with_the_name_of_its_table(
    backup: Path, temporary: Path, table: str, statement: str, said: str
) -> None:
    await change(backup, statement)
    with pytest.raises(StoreError, match=rf"backup\.db has a value that can't be read, in `{table}`: .*{said}"):
        await rehearse(backup, LATER)
    assert list(temporary.iterdir()) == []


async def test_an_empty_backup_is_reported_too(database: Database, tmp_path: Path) -> None:
    assert database.file is not None
    copy_of(database.file, tmp_path / "empty.db")
    lines = [one.text for one in await commands.check_backup(tmp_path / "empty.db", LATER)]
    assert "none." in lines
    assert "no job is in progress, so a restore ends none." in lines
