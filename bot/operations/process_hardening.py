"""Keeps the process's files and memory private from other users of the machine, and from its own child processes.

New files (database, backups, temporary videos) are readable by this user only, whatever the shell's umask, and a
crash leaves no core file with the keys in it. On Linux only root can read its memory and `/proc/<pid>/environ`.
`exposures` lists what only the operator can fix.
"""

import ctypes
import os
import resource
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

from bot.operations.linux import ProcessOption, set_process_option

_OTHERS = 0o077
_OTHERS_WRITE = 0o022
_STICKY = 0o1000
"""In a directory with this bit, such as /tmp, only its owner can move a file."""


def keep_private() -> None:
    """Makes new files private to this user, turns core files off, and closes the memory to all but root."""
    os.umask(_OTHERS)
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (0, hard))
    if sys.platform == "linux":
        # Source: prctl(2), ptrace(2). Also because the limit doesn't hold for cores that are piped to a collector.
        set_process_option(ProcessOption.DUMPABLE, 0)


def forget_variables(names: Collection[str]) -> None:
    """Removes variables, whatever their case, from the environment: for child processes and in `/proc`.

    Call it before any child process starts.
    """
    getenv = ctypes.CDLL(None).getenv
    getenv.argtypes, getenv.restype = [ctypes.c_char_p], ctypes.c_void_p
    for name in [name for name in os.environ if name.upper() in names]:
        value = getenv(os.fsencode(name))
        if value is not None:
            # Unsetting it only forgets where it is: `/proc/<pid>/environ` shows what stands there.
            ctypes.memset(value, 0, len(ctypes.string_at(value)))
        del os.environ[name]


def exposures(file: Path | None, dotenv: Path = Path(".env")) -> Iterator[str]:
    """One sentence for each thing on this machine that exposes the bot, with the fix. file: the database file."""
    if os.geteuid() == 0:
        yield "the bot runs as root: a malicious picture could take over the machine. Run it as its own user."
    if _mode(dotenv) & _OTHERS:
        yield "other users of this machine can read `.env` and the keys in it. Run `chmod 600 .env`."
    if file is None:
        return
    if _mode(file) & _OTHERS:
        yield f"other users of this machine can read or write {file}. Run `chmod 600 {file}*`."
    folder_mode = _mode(file.parent)
    if folder_mode & _OTHERS_WRITE and not folder_mode & _STICKY:
        yield f"other users of this machine can replace files in {file.parent}. Run `chmod 700 {file.parent}`."


def _mode(path: Path) -> int:
    """The file's permission bits; 0 where it does not exist or can't be read."""
    try:
        return path.stat().st_mode & 0o7777
    except OSError:
        return 0
