"""SQLite's files and errors: how files are made and replaced, what an error means.

A file is written under a temporary name and renamed once it is complete and on disk, so a crash leaves either the
old state or the new one. Never opens a live database file: closing it would drop SQLite's locks in this process.
Source: https://www.sqlite.org/howtocorrupt.html, 2.2.
"""

import glob
import os
import shlex
from datetime import datetime
from pathlib import Path

from bot.domain.errors import StoreError

SIDE_FILES = ("-wal", "-shm", "-journal")
"""The endings of the files that SQLite keeps next to a database."""

SAVED = "saved"
"""Ends the name of a copy that was saved of a lost file."""

RESTORE = "Stop the bot and restore a backup with `zoetrope db restore FILE`"

DAMAGED = f"is damaged. {RESTORE}; without one, save what is readable with `sqlite3 <file> .recover`."

_CONTINUES = "nothing that was accepted is lost, and the bot continues by itself."

_ADVICE = {
    "not a database": "is not a SQLite database, or its beginning is damaged. Name another file in DATABASE_URL, "
    f"or move this one away. If it was the bot's own: {RESTORE[0].lower()}{RESTORE[1:]}.",
    "malformed": DAMAGED,
    "locked": "was locked by another program for {busy_s:g} seconds. Close that program and try again.",
    "disk is full": f"can't grow: the disk is full. Free some space; {_CONTINUES}",
    "disk I/O": "can't be read or written: the disk is full, missing or broken (`disk I/O error`). Free some "
    f"space, or fix the disk; {_CONTINUES}",
    "readonly": "can't be written: the file, its folder or the disk is read-only for this user. Give this user "
    f"write access; {_CONTINUES}",
}


def beside(file: Path, ending: str) -> Path:
    """The file next to `file` with `ending` added to its name."""
    return file.with_name(f"{file.name}{ending}")


def dated(file: Path, now: datetime, why: str) -> Path:
    """A free name next to `file` for a copy, with the time and the reason. Raises StoreError."""
    stem = f"{file.stem}-{now:%Y%m%d-%H%M%S}-{why}"
    for number in range(1, 1000):
        copy = file.with_name(f"{stem}{'' if number == 1 else f'-{number}'}{file.suffix}")
        refuse_unreachable(copy)
        if not copy.exists():
            return copy
    raise StoreError(f"There are too many copies named {stem}{file.suffix} in {file.parent}. Move some away.")


def saved_copies(file: Path) -> list[Path]:
    """The copies that were saved when this file was lost, oldest first."""
    return sorted(file.parent.glob(f"{glob.escape(file.stem)}-*-{SAVED}{glob.escape(file.suffix)}"))


def identity_of(file: Path) -> tuple[int, int] | None:
    """Tells the file from another one of the same name; None if it doesn't exist."""
    try:
        found = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def refuse_unreachable(path: Path) -> None:
    """Raises StoreError for a path that can't even be looked up, such as one with a name that is too long."""
    try:
        identity_of(path)
    except OSError as error:
        remedy = "Give this user access to it, or choose" if isinstance(error, PermissionError) else "Choose"
        raise StoreError(f"{path} can't be used: {error.strerror}. {remedy} another path.") from error


def make_folders(file: Path) -> None:
    """Creates the file's folders for this user alone; existing ones keep their permissions."""
    for folder in reversed(file.parents):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)


def make_private(file: Path) -> None:
    """Creates an empty file, private to this user. Raises FileExistsError."""
    os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def remove(file: Path) -> None:
    """Removes a database that nobody has open, with the files next to it, if they exist."""
    for ending in ("", *SIDE_FILES):
        beside(file, ending).unlink(missing_ok=True)


def sync_to_disk(file: Path) -> None:
    """Flushes a file, or a folder's names, to disk. Not for an open database."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename_to_new(part: Path, file: Path) -> None:
    """Renames a complete file atomically. Raises FileExistsError if the name is taken."""
    sync_to_disk(part)
    try:
        os.link(part, file)
    except FileExistsError:
        raise
    except OSError:  # no links on this file system
        if file.exists():
            raise FileExistsError(file) from None
        part.rename(file)
    else:
        part.unlink()
    sync_to_disk(file.parent)


def explanation(name: str, message: str, *, busy_s: float) -> str:
    """What a SQLite error message means for the operator. busy_s: how long SQLite waited for a lock."""
    for sign, advice in _ADVICE.items():
        if sign in message:
            return f"{name} {advice.format(busy_s=busy_s)}"
    return f"{name} can't be used: {message}. Check its permissions, and that the disk has free space."


def refuse_unusable_path(path: Path) -> None:
    """Refuses what SQLite would take for a new database or fail on without a reason."""
    for ending in ("", *SIDE_FILES):
        refuse_unreachable(beside(path, ending))
    if path.is_dir():
        raise StoreError(f"DATABASE_URL names the folder {path}. Name a file in it: sqlite:///{path}/zoetrope.db.")
    wal = beside(path, "-wal")
    if path.exists() and path.stat().st_size:
        return
    if copies := saved_copies(path):
        raise StoreError(
            f"The database file {path} is missing or empty, but {copies[-1]} is a copy of it, saved when the file "
            f"was lost. Run `zoetrope db restore {shlex.quote(str(copies[-1]))} --resume`. To start from scratch, "
            "move the copy away."
        )
    if wal.exists() and wal.stat().st_size:
        raise StoreError(
            f"The database file {path} is missing or empty, but {wal} still holds the latest changes. Bring the "
            "file back, or restore a backup with `zoetrope db restore FILE`. To start from scratch, move "
            f"{wal.name} away."
        )
