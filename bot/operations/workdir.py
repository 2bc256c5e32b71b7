"""A folder for files on their way, gone with the process that made it, however that ended.

A process that is killed can't tidy up. So each folder holds a lock for as long as its process lives, and the next
start removes those that nobody holds. Source: flock(2), whose locks end with the process.
"""

import fcntl
import logging
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

log = logging.getLogger(__name__)

_PREFIX = "zoetrope-work-"
_LOCK = ".lock"
_FRESH_S = 60.0
"""A younger folder may just be on its way to its lock."""


@contextmanager
def workdir(parent: Path | None = None) -> Iterator[Path]:
    """A fresh folder for this process alone, in `parent` (the system's folder for temporary files)."""
    parent = parent or Path(tempfile.gettempdir())
    for left in parent.glob(f"{_PREFIX}*"):
        _remove_if_left(left)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent) as name:
        folder = Path(name)
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder


def _remove_if_left(folder: Path) -> None:
    """Removes a folder whose process is gone; another user's, or one just being made, is left alone."""
    try:
        found = folder.lstat()
        # Anybody may make a folder of this name here, or a link, and lay what they like for a lock into it.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return
        if time.time() - found.st_mtime < _FRESH_S:
            return
        with os.fdopen(os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK), "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
    except OSError:
        return
    log.info("removed the temporary files of a process that was killed")
