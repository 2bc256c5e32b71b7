"""Brings a backup back in the place of a SQLite database, and settles what a backup can't know.

A backup is older than the world. A job that it shows as waiting may have been made, paid for and posted since, so
nothing that was under way in it is begun again: it ends as `outcome_unknown`, given back to its member, for the
operator to reconcile. The caller has seen to it that nobody else uses the database.
"""

import contextlib
import os
import secrets
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.errors import StoreError
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, JobState
from bot.store.engine import Database
from bot.store.jobs import transitions
from bot.store.maintenance import sqlite_files
from bot.store.maintenance.backup import Copy, copy_of, holds, make_single
from bot.store.maintenance.schema_version import SchemaStatus
from bot.store.schema import IS_ACTIVE, jobs, notices


@dataclass(frozen=True, slots=True)
class Restored:
    """What was done. copy: what stands there now. kept: what stood there before. unknown: jobs that were ended."""

    copy: Copy
    kept: Path | None
    unknown: int


async def restore(backup: Path, file: Path, now: datetime, *, resume: bool) -> Restored:
    """Puts the backup in the file's place; what was there is kept beside it under a dated name.

    resume: nothing ran since the backup was made (a move to another machine), so its jobs go on.
    Dying in between leaves the old database or the new one, whole. Raises StoreError, having changed nothing.
    """
    file = _place_for(backup, file)
    part = sqlite_files.beside(file, ".restoring")
    try:
        sqlite_files.make_folders(part)
        sqlite_files.remove(part, *sqlite_files.SIDES)  # of a try that died
        copy_of(backup, part)
        async with Database.open(f"sqlite:///{part}") as database:
            kept = await database.migrate()
            if kept is not None:  # of the copy: the backup itself is still there
                sqlite_files.remove(kept.path)
            unknown = 0 if resume else await end_what_was_under_way(database, now)
        make_single(part)
        restored = holds(part)
        replaced = _take_its_place(part, file, now)
    except OSError as error:
        raise StoreError(f"{file} can't be restored: {error.strerror}. Nothing was changed.") from error
    finally:
        with contextlib.suppress(OSError):
            sqlite_files.remove(part, *sqlite_files.SIDES)
    return Restored(Copy(file, restored.size_bytes, restored.rows, restored.status), replaced, unknown)


def _place_for(backup: Path, file: Path) -> Path:
    """Where the backup goes: past all links. Raises StoreError for a backup that can't go there."""
    file = file.resolve()
    if file.exists() and backup.exists() and backup.samefile(file):
        raise StoreError(f"{backup} is the database itself; name a backup of it.")
    if holds(backup).status is SchemaStatus.NEWER:
        raise StoreError(f"{backup} was written by a newer version of Zoetrope: install that one first.")
    return file


async def end_what_was_under_way(database: Database, now: datetime) -> int:
    """Ends every job that has not ended, as one whose outcome is unknown; how many those were.

    What was still to be told is looked for in its channel before it is told again.
    """
    async with database.write() as connection:
        rows = await connection.execute(select(jobs.c.id).where(IS_ACTIVE).order_by(jobs.c.id).with_for_update())
        ids = [row.id for row in rows]
        for job_id in ids:
            columns = {
                "state": JobState.FAILED,
                "state_since": now,
                "due_at": now,
                "counted": False,
                "failure": FailureReason.OUTCOME_UNKNOWN,
                "failure_detail": FailureDetail(FailureCause.RESTORED).to_text(),
                "claims": 0,
                "lease_token": None,
                "lease_until": None,
            }
            await transitions.write_state(connection, job_id, columns, now)
        # As if they had been told: their messages are looked for before any is posted.
        untold = update(jobs).where(jobs.c.due_at.is_not(None), jobs.c.attempts == 0)
        await connection.execute(untold.values(attempts=1))
        await _look_before_telling(connection, now)
    return len(ids)


async def _look_before_telling(connection: AsyncConnection, now: datetime) -> None:
    """Gives each notice of before a name of its own, as one has that was claimed: such are looked for first."""
    untold = select(notices.c.id).where(
        notices.c.due_at.is_not(None), notices.c.lease_token.is_(None), notices.c.created_at < now
    )
    for row in (await connection.execute(untold)).all():
        named = {"lease_token": secrets.token_urlsafe(12), "lease_until": None}
        await connection.execute(update(notices).where(notices.c.id == row.id).values(named))


def _take_its_place(part: Path, file: Path, now: datetime) -> Path | None:
    """Keeps the file under a dated name, then puts `part` in its place in one moment; where the old one is."""
    kept = sqlite_files.dated(file, now, "replaced")
    if file.exists():
        owner = file.stat()
        if os.geteuid() == 0:
            os.chown(part, owner.st_uid, owner.st_gid)
        _write_in(file)
        if owner.st_size:
            _link(file, kept)
    wal = sqlite_files.beside(file, "-wal")
    if wal.exists():  # only of a file that is gone, or too damaged to take it in
        _link(wal, sqlite_files.beside(kept, "-wal"))
    # Never left to the new database, which would take it for its own.
    for ending in sqlite_files.SIDES:
        sqlite_files.beside(file, ending).unlink(missing_ok=True)
    sqlite_files.settle(part)
    part.replace(file)
    sqlite_files.settle(file.parent)
    return kept if kept.exists() else None


def _write_in(file: Path) -> None:
    """Has the old database take in what is beside it, so that it is whole as one file.

    Damage is no reason to refuse: it is why there is a restore. A full or ill disk is.
    """
    try:
        with closing(sqlite3.connect(file, timeout=1, isolation_level=None)) as connection:
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    except sqlite3.DatabaseError as error:
        if "malformed" in str(error) or "not a database" in str(error):
            return
        raise StoreError(f"The old database {file} can't be kept: {error}. Nothing was changed.") from error
    if busy:
        raise StoreError(f"Another program has {file} open. Close it first; nothing was changed.")


def _link(file: Path, name: Path) -> None:
    try:
        os.link(file, name)
    except FileExistsError:
        raise
    except OSError:  # no links on this file system
        sqlite_files.make_private(name)
        name.write_bytes(file.read_bytes())
        sqlite_files.settle(name)
