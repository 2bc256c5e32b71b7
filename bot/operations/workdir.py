"""A per-process temporary directory that is removed even after a crash.

A killed process can't clean up. So each directory holds a lock for as long as its process lives, and the next
start removes directories whose lock is free. Source: flock(2), whose locks end with the process.
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
"""A younger directory may not have its lock yet."""


@contextmanager
def workdir(parent: Path | None = None) -> Iterator[Path]:
    """A fresh directory for this process alone, in `parent` (default: the system's temporary directory)."""
    parent = parent or Path(tempfile.gettempdir())
    for abandoned in parent.glob(f"{_PREFIX}*"):
        _remove_if_abandoned(abandoned)
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=parent) as name:
        folder = Path(name)
        with (folder / _LOCK).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield folder


def _remove_if_abandoned(folder: Path) -> None:
    """Removes a directory whose process is gone; skips other users' and brand-new ones."""
    try:
        found = folder.lstat()
        # Anyone can create a directory or link of this name here, with anything as its lock file.
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
            return
        if time.time() - found.st_mtime < _FRESH_S:
            return
        with os.fdopen(os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK), "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder)
    except OSError:
        return
    log.info("removed temporary files left by a killed process")
