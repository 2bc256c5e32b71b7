"""The operator's `zoetrope db` commands: backup, restore, copy. Each says in lines what it did.

PostgreSQL has its own tools, which match the server's version; for it, the error names the command to run.
"""

import asyncio
import logging
import shlex
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bot.domain.database_url import PostgresUrl, parse_database_url
from bot.domain.errors import StoreError
from bot.domain.money import show_usd
from bot.store.engine import Database
from bot.store.maintenance.backup import copy_of
from bot.store.maintenance.database_copy import DatabaseCopy, copy_database
from bot.store.maintenance.migrate import migrate
from bot.store.maintenance.other_connections import refuse_other_connections
from bot.store.maintenance.process_lock import process_lock
from bot.store.maintenance.rehearsal import USUAL, Rehearsal, rehearse
from bot.store.maintenance.restore import end_jobs_in_progress, restore

log = logging.getLogger(__name__)

_PROGRESS_INTERVAL_S = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of a command's report. is_wrong: the command found a fault. is_warning: something to know."""

    subject: str
    text: str
    is_wrong: bool = False
    is_warning: bool = False


_ENDED = (
    "Jobs in progress in the backup: {count}. Their videos may have been made since, so these jobs now count as "
    "failed with an unknown outcome, their members are not charged, and `/operator reconcile list` shows them."
)


def _ended(count: int) -> str:
    return _ENDED.format(count=count) if count else "No job was in progress, so none was ended."


async def back_up(url: str, target: Path) -> str:
    """Copies a SQLite database to a new file, also while it is in use. Raises StoreError."""
    source = parse_database_url(url)
    if isinstance(source, PostgresUrl):
        raise StoreError(
            "DATABASE_URL names a PostgreSQL database. Back it up with its own tool, even while the bot runs: "
            f"`pg_dump --format=custom --file={shlex.quote(str(target))} --dbname={_shown(source)}`"
        )
    return f"{await asyncio.to_thread(copy_of, source.absolute(), target)}."


async def restore_backup(url: str, backup: Path, now: datetime, *, resume: bool) -> str:
    """Restores a backup of a SQLite database that is not in use. Raises StoreError."""
    file = parse_database_url(url)
    if isinstance(file, PostgresUrl):
        raise StoreError(
            "DATABASE_URL names a PostgreSQL database. To restore it, stop all processes of the bot, run "
            f"`pg_restore --clean --if-exists --single-transaction --dbname={_shown(file)} "
            f"{shlex.quote(str(backup))}` and then `zoetrope db restored`, and only then start the bot."
        )
    with process_lock(url):
        done = await restore(backup, file.absolute(), now, resume=resume)
    kept = "" if done.kept is None else f" The database it replaced is kept in {done.kept}."
    resumed = "Jobs in progress in the backup continue at the next start."
    return f"{done.copy}.{kept} {resumed if resume else _ended(done.unknown)}"


async def finish_restore(url: str, now: datetime) -> str:
    """Ends the jobs in progress of a database that was restored by other means and that nobody uses.

    Raises StoreError.
    """
    with process_lock(url):
        async with Database.open(url) as database:
            if database.file is None:
                async with database.read() as connection:
                    await refuse_other_connections(connection, "The database")
            await migrate(database)
            return _ended(await end_jobs_in_progress(database, now))


async def copy(source: str, target: str, *, steady_s: Callable[[], float] = time.monotonic) -> list[Finding]:
    """Copies a whole database to an empty one. Raises StoreError.

    source, target: URLs as in `DATABASE_URL`. steady_s: the time, by which progress is logged now and then.
    """
    for side, url in (("source", source), ("target", target)):
        try:
            parse_database_url(url)
        except ValueError as error:
            raise StoreError(f"The URL of the {side} is invalid: {error}.") from None
    logged_at, logged = 0.0, ""

    def progress(what: str, done: int, total: int) -> None:
        nonlocal logged_at, logged
        if what != logged or steady_s() - logged_at >= _PROGRESS_INTERVAL_S:
            logged_at, logged = steady_s(), what
            log.info("%s: %d of %d rows", what, done, total)

    try:
        return _copied(await copy_database(source, target, progress))
    except StoreError as error:  # its text may be about the database of the bot that runs
        raise StoreError(str(error).replace("DATABASE_URL", "its URL")) from error


def _copied(done: DatabaseCopy) -> list[Finding]:
    tables = [Finding(table.name, f"{table.rows:,} rows, checksum {table.checksum}") for table in done.tables]
    rows = sum(table.rows for table in done.tables)
    ended = f" Jobs that a killed process had held: {done.leases_ended}." if done.leases_ended else ""
    text = (
        f"{rows:,} rows of {len(done.tables)} tables, each compared with its source.{ended} Set DATABASE_URL "
        "to the target before the bot starts again: what is written to the source from now on is not in the copy."
    )
    return [*tables, Finding("copy", text)]


async def check_backup(backup: Path, now: datetime) -> list[Finding]:
    """Rehearses the restore of a SQLite backup in a temporary folder.

    Raises StoreError for a file that can't be restored.
    """
    return list(_rehearsed(await rehearse(backup, now), now))


def _rehearsed(done: Rehearsal, now: datetime) -> Iterator[Finding]:
    yield Finding("backup", f"{done.backup}; the schema of its copy was upgraded if it was older.")
    if done.newest is None:
        yield Finding("jobs", "none.")
    else:
        counts = ", ".join(f"{state}: {count:,}" for state, count in done.jobs.items())
        days = max(0.0, (now - done.newest).total_seconds() / 86_400)
        yield Finding(
            "jobs", f"{counts}; the newest was ordered {done.newest:%Y-%m-%d %H:%M} UTC, {days:.1f} days ago."
        )
        spent = (
            f"what was spent after that is missing from its budgets: it was {show_usd(done.usual)} a day on "
            f"average in the {USUAL.days} days before. Lower them with `/operator budgets` after a restore."
        )
        yield Finding("budgets", spent, is_warning=True)
    if done.ended:
        ended = (
            f"a restore ends {done.ended:,} jobs in progress as `outcome_unknown`, uncharged; with earlier ones, "
            f"{show_usd(done.held)} then stay reserved until you reconcile them. With --resume they continue."
        )
        yield Finding("restore", ended, is_warning=True)
    else:
        yield Finding("restore", "no job is in progress, so a restore ends none.")
    for problem in done.wrong:
        yield Finding("check", f"{problem}.", is_wrong=True)
    if not done.wrong:
        yield Finding("check", "no damage; all sums of the ledger are right; all jobs ended as they should.")


def _shown(url: PostgresUrl) -> str:
    """The URL without its passwords, for a command line."""
    return shlex.quote(url.render_without_password())
