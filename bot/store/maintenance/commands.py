"""The operator's `zoetrope db` commands: backup and restore. Each returns one line that says what it did.

PostgreSQL has its own tools, which match the server's version; for it, the error names the command to run.
"""

import asyncio
import shlex
from datetime import datetime
from pathlib import Path

from bot.domain.database_url import PostgresUrl, parse_database_url
from bot.domain.errors import StoreError
from bot.store.engine import Database
from bot.store.maintenance.backup import copy_of
from bot.store.maintenance.migrate import migrate
from bot.store.maintenance.process_lock import process_lock
from bot.store.maintenance.restore import end_jobs_in_progress, restore

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
    """Ends the jobs in progress of a database that was restored by other means. Raises StoreError."""
    with process_lock(url):
        async with Database.open(url) as database:
            await migrate(database)
            return _ended(await end_jobs_in_progress(database, now))


def _shown(url: PostgresUrl) -> str:
    """The URL without its passwords, for a command line."""
    return shlex.quote(url.render_without_password())
