"""Landlock: a Linux process gives up files, TCP and signals to others, for good. Needs no privileges.

How much a kernel's Landlock can deny is its ABI version: 1 files, 4 also TCP, 6 also signals and abstract Unix
sockets. Other sockets, and what is open already, stay usable. A restricted process can't trace processes that are
less restricted, or read their memory, even as root. Source: landlock(7) and linux/landlock.h; the system calls
have the same numbers on every architecture but Alpha.
"""

import ctypes
import os
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from bot.operations.linux import has_filter, system_call

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

_WRITE_FILE, _READ_FILE, _READ_FOLDER, _TRUNCATE = 1 << 1, 1 << 2, 1 << 3, 1 << 14
_FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights of an ABI version, and of those until the next one here; a right that is not named stays allowed."""

_TCP, _TCP_ABI = 0b11, 4  # bind and connect
_SCOPES, _SCOPES_ABI = 0b11, 6  # abstract Unix sockets and signals


class _Ruleset(ctypes.Structure):
    """struct landlock_ruleset_attr; an older kernel takes a longer one if what it doesn't know is zero."""

    _fields_ = (("files", ctypes.c_uint64), ("tcp", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    """struct landlock_path_beneath_attr."""

    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


@cache
def abi() -> int:
    """The ABI version of this kernel's Landlock; 0 without it."""
    if sys.platform != "linux":
        return 0
    # Filters that don't know the system call may end whoever makes it, as systemd's do.
    return _abi_of_a_fork() if has_filter() else _abi()


def _abi() -> int:
    try:
        return system_call(_CREATE_RULESET, None, 0, _CREATE_RULESET_VERSION)
    except OSError:  # not built in, not enabled at boot, or denied by a container
        return 0


def _abi_of_a_fork() -> int:
    pid = os.fork()
    if pid == 0:
        os._exit(_abi())
    _, status = os.waitpid(pid, 0)
    return max(0, os.waitstatus_to_exitcode(status))


def restrict(*, readable: Iterable[Path] = (), writable: Iterable[Path] = ()) -> None:
    """Denies this thread, and those it starts, all files but these. Does nothing without Landlock.

    All of them must exist. readable: files, and folders with all that is in them. Also denies TCP, abstract Unix
    sockets and signals, if the kernel can. `NO_NEW_PRIVILEGES` must be set. Raises: OSError.
    """
    known = abi()
    if not known:
        return
    rights = _FILE_RIGHTS[max(first for first in _FILE_RIGHTS if first <= known)]
    wanted = _Ruleset(
        files=rights, tcp=_TCP if known >= _TCP_ABI else 0, scopes=_SCOPES if known >= _SCOPES_ABI else 0
    )
    ruleset = system_call(_CREATE_RULESET, ctypes.byref(wanted), ctypes.sizeof(wanted), 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ_FILE | _READ_FOLDER if path.is_dir() else _READ_FILE)
        for path in writable:
            _allow(ruleset, path, rights & (_READ_FILE | _WRITE_FILE | _TRUNCATE))
        system_call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: Path, rights: int) -> None:
    file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = _PathBeneath(allowed=rights, parent_fd=file)
        system_call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(file)
