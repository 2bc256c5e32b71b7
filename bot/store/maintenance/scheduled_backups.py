"""The folder of scheduled backups: when the next is due, how it is made, which old ones go.

Whether one is due is read from the names in the folder, so it survives restarts. Only files with this pattern
count, and no others are ever deleted: `zoetrope-backup-20260131-120000.db`, the time in UTC. Blocks; runs in a
thread.
"""

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bot.domain.errors import StoreError
from bot.store import sqlite_files
from bot.store.maintenance.backup import Copy, copy_of

_TIME = "%Y%m%d-%H%M%S"
_WRITTEN_TIME = r"\d{8}-\d{6}"
_CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far ahead of the clock the latest backup may be, as clocks are corrected by a little all the time."""


@dataclass(frozen=True, slots=True)
class ScheduledBackup:
    """A backup in the folder. made_at: by its name."""

    path: Path
    made_at: datetime


class ScheduledBackups:
    """The backups of one SQLite file in one folder."""

    def __init__(self, file: Path, folder: Path, *, every: timedelta, keep: int) -> None:
        """every: the time between two backups. keep: how many of them to keep."""
        self._file = file
        self._folder = folder.absolute()
        self._lock = _lock_file(self._folder, file)
        self._every = every
        self._keep = keep
        name = re.escape(file.stem) + "-backup-"
        self._name = re.compile(rf"{name}({_WRITTEN_TIME})\.db")
        # What a process that died left: the temporary file of `copy_of`, with SQLite's files beside it.
        self._leftover = re.compile(rf"\.{name}{_WRITTEN_TIME}\.db\.\d+\.part(?:-wal|-shm|-journal)?")

    def is_due(self, now: datetime) -> bool:
        """Whether no backup was made in the last interval. Raises StoreError if the folder can't be read.

        One that is dated in the future was made while the clock was wrong; it doesn't stop others.
        """
        latest = max((one.made_at for one in self._found() if one.made_at <= now + _CLOCK_TOLERANCE), default=None)
        return latest is None or now - latest >= self._every

    def run(self, now: datetime, stopping: Callable[[], bool]) -> Copy | None:
        """Makes a backup if one is due, and then deletes the oldest ones; None if none is due.

        stopping: is asked now and then, and ends the backup with a StoreError that leaves nothing behind.
        Raises StoreError; if no backup could be made, no old one is deleted.
        """
        with self._locked() as is_alone:
            if not is_alone or not self.is_due(now):
                return None
            self._remove(path for path in self._files() if self._leftover.fullmatch(path.name))
            target = self._folder / f"{self._file.stem}-backup-{now.astimezone(UTC):{_TIME}}.db"
            made = copy_of(self._file, target, stopping=stopping)
            self._remove(self._outdated(now, made.path))
            return made

    def _outdated(self, now: datetime, made: Path) -> list[Path]:
        """All but the newest. Those dated in the future go first: for the next ones they would never be old."""
        others = [one for one in self._found() if one.path != made]
        others.sort(key=lambda one: (one.made_at <= now, one.made_at), reverse=True)
        return [one.path for one in others[self._keep - 1 :]]

    def _found(self) -> Iterator[ScheduledBackup]:
        for path in self._files():
            if match := self._name.fullmatch(path.name):
                with suppress(ValueError):  # no such day: not one of ours
                    yield ScheduledBackup(path, datetime.strptime(match[1], _TIME).replace(tzinfo=UTC))

    def _files(self) -> list[Path]:
        try:
            return [path for path in self._folder.iterdir() if path.is_file() and not path.is_symlink()]
        except OSError as error:
            raise StoreError(
                f"BACKUP_DIR {self._folder} can't be read: {error.strerror}. Create the folder, or give this user "
                "access to it."
            ) from error

    def _remove(self, paths: Iterator[Path] | list[Path]) -> None:
        for path in paths:
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise StoreError(f"The old backup {path} can't be deleted: {error.strerror}.") from error

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Whether no other process works on this folder's backups of this name; then none does until the end."""
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StoreError(
                f"BACKUP_DIR {self._folder} can't be written: {error.strerror}. Create the folder, or give this "
                "user access to it."
            ) from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            if other := folder_owner(self._folder, self._file):
                raise StoreError(f"BACKUP_DIR {self._folder} has the backups of {other}. Name another folder.")
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, os.fsencode(self._file.absolute()), 0)
            yield True
        finally:
            os.close(descriptor)


def folder_owner(folder: Path, file: Path) -> Path | None:
    """Another database file of the same name whose backups are in the folder; None if there is none any more.

    The two would take each other's backups for their own, so both would have too few.
    """
    with suppress(OSError):
        other = Path(os.fsdecode(_lock_file(folder, file).read_bytes()))
        if other.is_file() and not (file.exists() and other.samefile(file)):
            return other
    return None


def _lock_file(folder: Path, file: Path) -> Path:
    """It has the path of the file whose backups are beside it."""
    return folder / f".{file.stem}-backup.lock"


def folder_problem(folder: Path) -> str | None:
    """Why backups can't be written to the folder; None if they can."""
    probe = folder / f".{os.getpid()}.part"
    try:
        sqlite_files.make_private(probe)
        probe.unlink()
    except OSError as error:
        return str(error.strerror)
    return None
