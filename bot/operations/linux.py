"""System calls of Linux that Python's library doesn't offer."""

import ctypes
import os
from enum import IntEnum


class ProcessOption(IntEnum):
    """What `set_process_option` sets. Source: prctl(2), linux/prctl.h."""

    PARENT_DEATH_SIGNAL = 1
    DUMPABLE = 4
    SECCOMP = 22
    NO_NEW_PRIVILEGES = 38


_GET_SECCOMP = 21
SECCOMP_FILTER = 2
"""The mode in which filters restrict a process's system calls. Source: seccomp(2)."""


def set_process_option(option: ProcessOption, value: int, pointer: object = 0) -> None:
    """Sets an option of this process. Raises: OSError."""
    _call("prctl", option, value, pointer, 0, 0)


def has_filter() -> bool:
    """Whether a filter restricts this process's system calls, for example a container's or systemd's."""
    try:
        return _call("prctl", _GET_SECCOMP, 0, 0, 0, 0) == SECCOMP_FILTER
    except OSError:  # a kernel without seccomp
        return False


def system_call(number: int, *arguments: object) -> int:
    """Makes a system call; returns its result. Raises: OSError.

    arguments: integers, None for a null pointer, or ctypes' references.
    """
    return _call("syscall", number, *arguments)


def _call(function: str, *arguments: object) -> int:
    # Both functions are variadic and read whole registers; of a plain int ctypes sets only the lower half.
    words = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    result = int(ctypes.CDLL(None, use_errno=True)[function](*words))
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{os.strerror(number)} ({function} {arguments[0]})")
    return result
