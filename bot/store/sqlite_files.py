"""The files around a SQLite database: which one an address names, how one is made, and how one takes its place.

A file is written under a passing name and gets its own only when it is whole and on the disk, so that a process
that dies leaves either the old state or the new one. Never opens a database's file itself: closing it would take
away the locks that SQLite holds in this process. Source: https://www.sqlite.org/howtocorrupt.html, 2.2.
"""

import os
from datetime import datetime
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from bot.domain.errors import StoreError

SIDES = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database's file."""


RESTORE = "Stop the bot and restore a backup with `zoetrope db restore FILE`"

DAMAGED = f"is damaged. {RESTORE}; without one, save what is readable with `sqlite3 <file> .recover`."

_GOES_ON = "nothing that was accepted is lost, and the bot goes on by itself."

_ADVICE = {
    "not a database": "is not a SQLite database, or its beginning is damaged. Name another file in DATABASE_URL, "
    f"or move this one away. If it was the bot's: {RESTORE[0].lower()}{RESTORE[1:]}.",
    "malformed": DAMAGED,
    "locked": "was held by another program for {busy_s:g} seconds. Close what has it open, and try again.",
    "disk is full": f"can't grow: the disk is full. Make room; {_GOES_ON}",
    "disk I/O": "can't be read or written: the disk is full, gone or broken (`disk I/O error`). Make room, or "
    f"mend it; {_GOES_ON}",
    "readonly": "can't be written: the file, its folder or the disk is read-only for this user. Give this user "
    f"the right to write there; {_GOES_ON}",
}


def sqlite_path(url: str) -> Path | None:
    """The file that a SQLite database's address names; None for any other address, also a malformed one."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return None
    if parsed.drivername.partition("+")[0] != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    return Path(parsed.database).absolute()


def beside(file: Path, ending: str) -> Path:
    """The file whose name goes on with `ending`."""
    return file.with_name(f"{file.name}{ending}")


def dated(file: Path, now: datetime, why: str) -> Path:
    """A name beside `file` for a copy of it that says when and why it was made; one that is not taken."""
    stem = f"{file.stem}-{now:%Y%m%d-%H%M%S}-{why}"
    for number in range(1, 1000):
        copy = file.with_name(f"{stem}{'' if number == 1 else f'-{number}'}{file.suffix}")
        if not copy.exists():
            return copy
    raise StoreError(f"There are too many copies named {stem}{file.suffix} in {file.parent}. Move some away.")


def make_folders(file: Path) -> None:
    """Makes the folders above the file with rights for this user alone; what is there keeps its own."""
    for folder in reversed(file.parents):
        if not folder.exists():
            folder.mkdir(mode=0o700, exist_ok=True)


def make_private(file: Path) -> None:
    """Makes an empty file for this user's eyes only. Raises FileExistsError."""
    os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def remove(file: Path, *endings: str) -> None:
    """Removes the file and those beside it, where they are there."""
    for ending in ("", *endings):
        beside(file, ending).unlink(missing_ok=True)


def settle(file: Path) -> None:
    """Returns once the file's content, or a folder's names, are on the disk. Not for a database that is open."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def give_name(part: Path, file: Path) -> None:
    """Gives a whole file its own name, in one moment. Raises FileExistsError where that name is taken."""
    settle(part)
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
    settle(file.parent)


def explanation(place: str, said: str, *, busy_s: float) -> str:
    """What `said`, an error of SQLite's, means. place: the database. busy_s: how long a lock was waited for."""
    for sign, advice in _ADVICE.items():
        if sign in said:
            return f"{place} {advice.format(busy_s=busy_s)}"
    return f"{place} can't be used: {said}. Check its rights, and that the disk has room."
