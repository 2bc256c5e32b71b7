"""Keeps a second process off a SQLite file, where two bots would work on the same jobs.

The lock is flock(2) on a file next to the database: it ends with the process, even after a crash, and works
between containers that share the folder. The lock file stays; only the lock on it counts. If somebody deletes it
all the same, `ProcessLock.renew` makes it again.
"""

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bot.domain.database_url import sqlite_file
from bot.domain.errors import DatabaseInUse, StoreError
from bot.store import sqlite_files

_HELD_ELSEWHERE = (errno.EAGAIN, errno.EACCES)  # some network file systems return the second


class ProcessLock:
    """The lock on a SQLite file. file: with links resolved; the same file may be reached through several."""

    def __init__(self, file: Path) -> None:
        """Raises DatabaseInUse; other StoreErrors if it can't be locked."""
        self._file = file
        self._path = sqlite_files.beside(file, ".lock")
        self._descriptor = self._locked()

    def renew(self) -> None:
        """Locks again if the lock file was deleted.

        Raises DatabaseInUse if another process was faster, and other StoreErrors if that isn't possible now.
        """
        held = os.fstat(self._descriptor)
        if sqlite_files.identity_of(self._path) != (held.st_dev, held.st_ino):
            before, self._descriptor = self._descriptor, self._locked()
            os.close(before)

    def release(self) -> None:
        """Ends the lock."""
        os.close(self._descriptor)

    def _locked(self) -> int:
        try:
            sqlite_files.make_folders(self._path)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(
                f"The database file {self._file} can't be locked: {self._path} can't be opened "
                f"({error.strerror}). Choose another path in DATABASE_URL, or give this user write access to it."
            ) from error
        try:
            _acquire(descriptor, self._file)
        except BaseException:
            os.close(descriptor)
            raise
        _write_holder(descriptor, self._file)
        return descriptor


@contextmanager
def process_lock(url: str) -> Iterator[ProcessLock | None]:
    """Reserves a SQLite file for this process; does nothing for other databases.

    Raises DatabaseInUse at once if another process has it, without touching the database, and other StoreErrors if
    it can't be locked.
    """
    file = sqlite_file(url)
    if file is None:
        yield None
        return
    sqlite_files.refuse_unreachable(file)
    lock = ProcessLock(file.resolve())
    try:
        yield lock
    finally:
        lock.release()


def _acquire(lock: int, file: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _HELD_ELSEWHERE:
            holder = os.pread(lock, 200, 0).decode(errors="replace").strip()
            who = f" ({holder})" if holder else ""
            raise DatabaseInUse(
                f"The database file {file} is in use by another Zoetrope{who}, and only one process can use a "
                "SQLite file. Stop that one first, or use PostgreSQL, which allows several processes."
            ) from error
        raise StoreError(
            f"The database file {file} is on a file system without locks ({error.strerror}), where it would not "
            "be safe. Move it to a local disk, or use PostgreSQL."
        ) from error


def _write_holder(lock: int, file: Path) -> None:
    """Writes this process's name into the lock file."""
    try:
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        if os.geteuid() == 0 and file.exists():
            # Root made the file for somebody else's database; its owner must be able to open it.
            owner = file.stat()
            os.fchown(lock, owner.st_uid, owner.st_gid)
    except OSError:  # a full disk: the lock works without a name
        return
