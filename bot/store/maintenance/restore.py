"""Restores a backup in place of a SQLite database, and ends the jobs that were in progress.

A backup is out of date: a job that waits in it may have been made, paid for and posted since. So no such job
resumes; it ends as `outcome_unknown`, uncharged, for the operator to reconcile. The caller ensures that nobody
else uses the database.
"""

import contextlib
import os
import secrets
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.exc import DBAPIError

from bot.domain.database_url import sqlite_url
from bot.domain.errors import StoreError
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, JobState
from bot.store import sqlite_files
from bot.store.engine import Connection, Database
from bot.store.jobs import transitions
from bot.store.jobs.rows import state_columns
from bot.store.maintenance.backup import Copy, copy_of, inspect_file, make_single
from bot.store.maintenance.migrate import migrate
from bot.store.maintenance.schema_version import SchemaStatus
from bot.store.schema import IS_ACTIVE, jobs, notifications


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done. copy: the restored file. kept: the file it replaced. unknown: how many jobs were ended."""

    copy: Copy
    kept: Path | None
    unknown: int


async def restore(backup: Path, file: Path, now: datetime, *, resume: bool) -> Restored:
    """Replaces the file with the backup; keeps the old file next to it under a dated name.

    resume: nothing ran since the backup (as in a move to another machine), so its jobs go on.
    A crash leaves either the old database or the new one intact. Raises StoreError, having changed nothing.
    """
    file = _target_for(backup, file)
    part = sqlite_files.beside(file, ".restoring")
    try:
        sqlite_files.make_folders(part)
        sqlite_files.remove(part)  # of a try that crashed
        async with upgraded_copy(backup, part) as database:
            unknown = 0 if resume else await end_jobs_in_progress(database, now)
        restored = inspect_file(part)
        replaced = _replace(part, file, now)
    except OSError as error:
        raise StoreError(f"{file} can't be restored: {error.strerror}. Nothing was changed.") from error
    finally:
        with contextlib.suppress(OSError):
            sqlite_files.remove(part)
    return Restored(replace(restored, path=file), replaced, unknown)


@asynccontextmanager
async def upgraded_copy(backup: Path, part: Path) -> AsyncIterator[Database]:
    """Copies a backup to the new file `part` and opens it with this version's schema; leaves a single file."""
    copy_of(backup, part)
    async with Database.open(sqlite_url(part)) as database:
        kept = await migrate(database)
        if kept is not None:  # of a copy: the backup itself still exists
            sqlite_files.remove(kept.path)
        yield database
    make_single(part)


def _target_for(backup: Path, file: Path) -> Path:
    """The file to replace, with links resolved. Raises StoreError if the backup can't go there."""
    sqlite_files.refuse_unreachable(backup)
    file = file.resolve()
    if file.exists() and backup.exists() and backup.samefile(file):
        raise StoreError(f"{backup} is the database itself, not a backup.")
    inspect_backup(backup)
    return file


def inspect_backup(backup: Path) -> Copy:
    """Describes a backup that can be restored.

    Raises StoreError, in words about a backup rather than the bot's own database.
    """
    found = _inspected(backup)
    if found.status is SchemaStatus.NEWER:
        raise StoreError(f"{backup} was written by a newer version of Zoetrope: install that one first.")
    return found


def _inspected(backup: Path) -> Copy:
    try:
        return inspect_file(backup)
    except StoreError as error:
        cause = error.__cause__
        if not isinstance(cause, sqlite3.DatabaseError | DBAPIError):
            raise
        said = cause.orig if isinstance(cause, DBAPIError) else cause
        if getattr(said, "sqlite_errorcode", None) == sqlite3.SQLITE_BUSY:
            raise StoreError(
                f"{backup} is in use by another program. Close that one first. Nothing was changed."
            ) from error
        raise StoreError(
            f"{backup} isn't a backup of Zoetrope, or it is damaged ({said}). Choose a file that `zoetrope db "
            "backup` or an upgrade made. Nothing was changed."
        ) from error


async def end_jobs_in_progress(database: Database, now: datetime) -> int:
    """Ends every job in progress with an unknown outcome; returns how many.

    Each notification that is still to be sent is searched for in its channel first.
    """
    async with database.write() as connection:
        active = select(jobs.c.id, jobs.c.result_url, jobs.c.cost_usd).where(IS_ACTIVE).order_by(jobs.c.id)
        found = (await connection.execute(active.with_for_update())).all()
        columns = state_columns(JobState.FAILED, now) | {
            "charged": False,
            "failure_reason": FailureReason.OUTCOME_UNKNOWN,
            "failure_detail": FailureDetail(FailureCause.RESTORED).to_text(),
        }
        del columns["attempts"]  # they say whether a message may have been posted
        for row in found:
            is_known = row.result_url is not None or row.cost_usd is not None
            held = {} if is_known else {"cost_unknown_since": now}
            await transitions.write_state(connection, row.id, columns | held, now)
        # A job with an attempt has its message searched for before any is posted.
        unannounced = update(jobs).where(jobs.c.due_at.is_not(None), jobs.c.attempts == 0)
        await connection.execute(unannounced.values(attempts=1))
        await _search_before_sending(connection, now)
    return len(found)


async def _search_before_sending(connection: Connection, now: datetime) -> None:
    """Gives each older notification a token, as if it had been claimed: its message is searched for first."""
    unsent = select(notifications.c.id).where(
        notifications.c.due_at.is_not(None),
        notifications.c.lease_token.is_(None),
        notifications.c.created_at < now,
    )
    for notification_id in (await connection.scalars(unsent)).all():
        named = {"lease_token": secrets.token_urlsafe(12), "lease_until": None}
        await connection.execute(update(notifications).where(notifications.c.id == notification_id).values(named))


def _replace(part: Path, file: Path, now: datetime) -> Path | None:
    """Keeps the file under a dated name, then atomically puts `part` in its place; returns the old file's path."""
    kept = sqlite_files.dated(file, now, "replaced")
    if file.exists():
        owner = file.stat()
        if os.geteuid() == 0:
            os.chown(part, owner.st_uid, owner.st_gid)
        _checkpoint(file)
        if owner.st_size:
            _link(file, kept)
    wal = sqlite_files.beside(file, "-wal")
    if wal.exists():  # only if the file is gone or too damaged for a checkpoint
        _link(wal, sqlite_files.beside(kept, "-wal"))
    # The new database must not read the old one's files.
    for ending in sqlite_files.SIDE_FILES:
        sqlite_files.beside(file, ending).unlink(missing_ok=True)
    sqlite_files.sync_to_disk(part)
    part.replace(file)
    sqlite_files.sync_to_disk(file.parent)
    return kept if kept.exists() else None


def _checkpoint(file: Path) -> None:
    """Merges the old database's `-wal` file into it. Ignores damage, since that is what restores are for."""
    try:
        with closing(sqlite3.connect(file, timeout=1, isolation_level=None)) as connection:
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.DatabaseError as error:
        if "malformed" in str(error) or "not a database" in str(error):
            return
        raise StoreError(f"The old database {file} can't be kept: {error}. Nothing was changed.") from error
    if busy:
        raise StoreError(f"Another program has {file} open. Close it first. Nothing was changed.")


def _link(file: Path, name: Path) -> None:
    try:
        os.link(file, name)
    except FileExistsError:
        raise
    except OSError:  # no links on this file system
        sqlite_files.make_private(name)
        name.write_bytes(file.read_bytes())
        sqlite_files.sync_to_disk(name)
