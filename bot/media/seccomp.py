"""seccomp: a Linux process gives up all system calls but those that computing needs, for good, without privileges.

A call that is not listed fails as if the kernel didn't have it, so that libraries fall back to an older one. Calls
of another architecture (32-bit) end the process. Source: seccomp(2), linux/seccomp.h and linux/filter.h; the
numbers are from asm/unistd_64.h (x86_64) and asm-generic/unistd.h (aarch64).
"""

import ctypes
import errno
import os
import platform
import struct
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bot.operations.linux import SECCOMP_FILTER, ProcessOption, set_process_option

_ALLOW, _FAIL, _KILL_PROCESS = 0x7FFF_0000, 0x0005_0000 | errno.ENOSYS, 0x8000_0000

_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_GREATER, _JUMP_IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_NUMBER_AT, _ARCHITECTURE_AT = 0, 4  # in struct seccomp_data
_ARGUMENTS_AT = (16, 24, 32)  # their lower halves; the upper ones follow
_CLONE_THREAD = 0x0001_0000

_X86_64, _AARCH64 = 0xC000_003E, 0xC000_00B7  # linux/audit.h

_COMPUTING: Mapping[str, tuple[int | None, int | None]] = {
    # input and output on what is open
    "read": (0, 63), "write": (1, 64), "readv": (19, 65), "writev": (20, 66), "pread64": (17, 67),
    "pwrite64": (18, 68), "lseek": (8, 62), "close": (3, 57), "fstat": (5, 80), "newfstatat": (262, 79),
    "statx": (332, 291), "dup": (32, 23), "dup2": (33, None), "dup3": (292, 24),
    "poll": (7, None), "ppoll": (271, 73), "select": (23, None), "pselect6": (270, 72),
    # memory
    "brk": (12, 214), "mmap": (9, 222), "munmap": (11, 215), "mremap": (25, 216), "mprotect": (10, 226),
    "madvise": (28, 233), "membarrier": (324, 283),
    # threads
    "futex": (202, 98), "set_robust_list": (273, 99), "get_robust_list": (274, 100), "rseq": (334, 293),
    "set_tid_address": (218, 96), "gettid": (186, 178), "sched_yield": (24, 124), "sched_getaffinity": (204, 123),
    "sched_getparam": (143, 121), "sched_getscheduler": (145, 120), "getcpu": (309, 168), "exit": (60, 93),
    "exit_group": (231, 94),
    # signals
    "rt_sigaction": (13, 134), "rt_sigprocmask": (14, 135), "rt_sigreturn": (15, 139), "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    # time, chance, and who it is
    "clock_gettime": (228, 113), "clock_getres": (229, 114), "clock_nanosleep": (230, 115), "nanosleep": (35, 101),
    "gettimeofday": (96, 169), "time": (201, None), "times": (100, 153), "getrusage": (98, 165),
    "getitimer": (36, 102), "getrandom": (318, 278), "getpid": (39, 172), "getppid": (110, 173),
    "getuid": (102, 174), "geteuid": (107, 175), "getgid": (104, 176), "getegid": (108, 177), "uname": (63, 160),
    "sysinfo": (99, 179), "arch_prctl": (158, None),
}  # fmt: skip
"""The calls that are always allowed, with their numbers on x86_64 and aarch64."""

_FILES: Mapping[str, tuple[int | None, int | None]] = {
    "open": (2, None), "openat": (257, 56), "stat": (4, None), "lstat": (6, None), "access": (21, None),
    "faccessat": (269, 48), "faccessat2": (439, 439), "readlink": (89, None), "readlinkat": (267, 78),
    "getcwd": (79, 17), "ftruncate": (77, 46), "fsync": (74, 82), "fdatasync": (75, 83), "fadvise64": (221, 223),
    "fallocate": (285, 47), "getdents64": (217, 61),
}  # fmt: skip
"""Those to open files, read and write them; none that makes, renames or removes others."""

_FORKING: Mapping[str, tuple[int | None, int | None]] = {
    "wait4": (61, 260), "setsid": (112, 157), "close_range": (436, 436), "recvfrom": (45, 207),
    "recvmsg": (47, 212), "sendto": (44, 206), "epoll_ctl": (233, 21), "epoll_wait": (232, None),
    "epoll_pwait": (281, 22), "prctl": (157, 167), "setrlimit": (160, 164), "setitimer": (38, 103),
    "landlock_create_ruleset": (444, 444), "landlock_restrict_self": (446, 446),
}  # fmt: skip
"""Those to fork on request, and with which a fork confines itself further."""

_PRLIMIT64, _KILL, _TGKILL, _CLONE, _FCNTL = (302, 261), (62, 129), (234, 131), (56, 220), (72, 25)

_FCNTL_OWN_MAX = 7
"""The highest of fcntl's commands for the file and its locks; 8 (F_SETOWN) has signals sent to other processes."""


@dataclass(frozen=True, slots=True)
class _Architecture:
    """audit: its number in the kernel's records. column: of the tables above."""

    audit: int
    column: int


_ARCHITECTURES = {"x86_64": _Architecture(_X86_64, 0), "aarch64": _Architecture(_AARCH64, 1)}


def is_available() -> bool:
    """Whether this kernel, on this architecture, can restrict system calls."""
    if _architecture() is None:
        return False
    try:
        set_process_option(ProcessOption.SECCOMP, SECCOMP_FILTER, None)
    except OSError as error:
        return error.errno == errno.EFAULT  # it looked for the filter
    return False


def restrict(*, files: bool = False, forks: bool = False) -> None:
    """Denies this thread, and those it starts, every system call that computing doesn't need.

    It can start threads, but no sockets, processes or programs, and can't reach other processes. files: whether it
    may open files. forks: whether it may fork, signal processes, and restrict itself further; its forks inherit
    what it may. Denies nothing where it is not available. `NO_NEW_PRIVILEGES` must be set. Raises: OSError.
    """
    architecture = _architecture()
    if architecture is None or not is_available():
        return
    program = b"".join(_program(architecture, files=files, forks=forks))
    instructions = ctypes.create_string_buffer(program, len(program))
    of_program = _Program(len(program) // 8, ctypes.addressof(instructions))
    # Not by the system call of that name, which systemd's usual filters end a process for.
    set_process_option(ProcessOption.SECCOMP, SECCOMP_FILTER, ctypes.byref(of_program))


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def _program(architecture: _Architecture, *, files: bool, forks: bool) -> Iterator[bytes]:
    """The instructions of the filter, each a struct sock_filter."""
    column, pid = architecture.column, os.getpid()
    yield _instruction(_LOAD, _ARCHITECTURE_AT)
    yield _instruction(_JUMP_IF_EQUAL, architecture.audit, if_true=1)
    yield _instruction(_RETURN, _KILL_PROCESS)
    yield _instruction(_LOAD, _NUMBER_AT)
    allowed = [*_COMPUTING.values(), *(_FILES.values() if files else ())]
    if forks:
        allowed += [*_FORKING.values(), _CLONE, _KILL, _TGKILL, _PRLIMIT64]
    for numbers in allowed:
        if (number := numbers[column]) is not None:
            yield _instruction(_JUMP_IF_EQUAL, number, if_false=1)
            yield _instruction(_RETURN, _ALLOW)
    first, second, third = _ARGUMENTS_AT
    # A thread, but no process:
    yield from _allow_if(_CLONE[column], (first, _JUMP_IF_ANY_BIT, _CLONE_THREAD, True))
    # To itself only:
    for number in (_KILL[column], _TGKILL[column]):
        yield from _allow_if(number, (first, _JUMP_IF_EQUAL, pid, True))
    # To read limits, not to set them (a null pointer, in both halves), which root could raise:
    yield from _allow_if(
        _PRLIMIT64[column], (third, _JUMP_IF_EQUAL, 0, True), (third + 4, _JUMP_IF_EQUAL, 0, True)
    )
    yield from _allow_if(_FCNTL[column], (second, _JUMP_IF_GREATER, _FCNTL_OWN_MAX, False))
    yield _instruction(_RETURN, _FAIL)


def _allow_if(number: int, *tests: tuple[int, int, int, bool]) -> Iterator[bytes]:
    """Allows the call if all tests hold: where the word is, the comparison, with what, and its result."""
    yield _instruction(_JUMP_IF_EQUAL, number, if_false=2 * len(tests) + 1)
    for left, (at, comparison, value, wanted) in zip(reversed(range(len(tests))), tests, strict=True):
        otherwise = 2 * left + 1
        yield _instruction(_LOAD, at)
        yield _instruction(
            comparison, value, if_true=0 if wanted else otherwise, if_false=otherwise if wanted else 0
        )
    yield _instruction(_RETURN, _ALLOW)
    yield _instruction(_LOAD, _NUMBER_AT)


def _instruction(code: int, value: int, *, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _architecture() -> _Architecture | None:
    is_64_bit = sys.maxsize > 1 << 32 and sys.byteorder == "little"
    return _ARCHITECTURES.get(platform.machine()) if sys.platform == "linux" and is_64_bit else None
