"""Rehearses the restore of a backup in a private temporary folder; touches neither the database nor the backup.

Does what `restore` does with its copy: checks it for damage, upgrades its schema, ends its jobs in progress. Reads
every value before that, and checks afterwards what it has made of the jobs and of the money.
"""

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from sqlalchemy import func, select
from sqlalchemy.exc import StatementError

from bot.domain.errors import StoreError
from bot.domain.ledger import utc_day
from bot.store.engine import Connection
from bot.store.maintenance import ledger_check
from bot.store.maintenance.backup import Copy
from bot.store.maintenance.restore import end_jobs_in_progress, inspect_backup, upgraded_copy
from bot.store.maintenance.table_copy import UNREADABLE, read_rows, said_of_value
from bot.store.money_tables import daily_totals, metadata
from bot.store.schema import COST_IS_HELD, EVERYWHERE, jobs

USUAL = timedelta(days=30)
"""The time before a backup by which its daily spending is judged."""


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What was found. backup: as it is, before the upgrade. jobs: how many are in each state.

    newest: when the last job was ordered. usual: USD spent on a usual day before that. ended: how many jobs a
    restore ends with an unknown outcome. held: USD that stay reserved for such jobs afterwards. wrong: what is not
    as it should be, one line each.
    """

    backup: Copy
    jobs: Mapping[str, int]
    newest: datetime | None
    usual: Decimal
    ended: int
    held: Decimal
    wrong: tuple[str, ...]


async def rehearse(backup: Path, now: datetime) -> Rehearsal:
    """Restores a copy of the backup and describes what came of it.

    Raises StoreError for a file that can't be restored at all: damaged, of another program, of a newer version,
    or with a value that can't be read.
    """
    found = inspect_backup(backup)
    try:
        folder = Path(tempfile.mkdtemp(prefix="zoetrope-rehearsal-"))  # for this user alone
    except OSError as error:
        raise StoreError(
            f"No temporary folder can be made: {error.strerror}. Set TMPDIR to another one."
        ) from error
    try:
        async with upgraded_copy(backup, folder / "rehearsal.db") as database:
            async with database.read() as connection:
                await _read_everything(connection, backup)
                counts, newest, usual = await _described(connection)
                active = await ledger_check.active_jobs(connection)
                wrong = await _problems(connection, active)
            ended = await end_jobs_in_progress(database, now)
            async with database.read() as connection:
                wrong += [problem for problem in await _problems(connection, active) if problem not in wrong]
                wrong += [f"job {job_id} did not end" for job_id in await ledger_check.active_jobs(connection)]
                held = await connection.scalar(select(func.sum(jobs.c.estimated_cost_usd)).where(COST_IS_HELD))
    except UNREADABLE as error:  # while it was upgraded
        raise StoreError(f"{backup} has a value that can't be read: {error}.") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return Rehearsal(found, counts, newest, usual, ended, held or Decimal(0), tuple(wrong))


async def _read_everything(connection: Connection, backup: Path) -> None:
    """Reads every value of every table: SQLite's check for damage finds none that isn't of its column's type.

    Raises StoreError.
    """
    for table in metadata.sorted_tables:
        try:
            await read_rows(connection, table)
        except (StatementError, *UNREADABLE) as error:
            line = said_of_value(error)
            if line is None:
                raise
            raise StoreError(f"{backup} has a value that can't be read, in `{table.name}`: {line}.") from error


async def _described(connection: Connection) -> tuple[dict[str, int], datetime | None, Decimal]:
    """The jobs by state, when the newest was ordered, and the USD of a usual day before that."""
    by_state = select(jobs.c.state, func.count().label("number")).group_by(jobs.c.state).order_by(jobs.c.state)
    counts = {row.state: row.number for row in await connection.execute(by_state)}
    newest: datetime | None = await connection.scalar(select(func.max(jobs.c.created_at)))
    if newest is None:
        return counts, None, Decimal(0)
    first = utc_day(newest - USUAL)
    spent = select(func.sum(daily_totals.c.usd)).where(
        daily_totals.c.guild_id == EVERYWHERE, daily_totals.c.day > first
    )
    return counts, newest, round((await connection.scalar(spent) or Decimal(0)) / USUAL.days, 2)


async def _problems(connection: Connection, job_ids: list[str]) -> list[str]:
    orphans = (await connection.exec_driver_sql("PRAGMA foreign_key_check")).mappings()
    wrong = [f"a row of {row['table']} belongs to no row of {row['parent']}" for row in orphans]
    wrong += [f"{what} is not the sum of its ledger entries" for what in await ledger_check.wrong_sums(connection)]
    unsettled = await ledger_check.wrong_jobs(connection, job_ids)
    return wrong + [
        f"the ledger entries of job {job_id} don't come to what its state demands" for job_id in unsettled
    ]
