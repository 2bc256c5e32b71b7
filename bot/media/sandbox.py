"""Limits for a process of ours that opens a stranger's file, set by that process before it reads the first byte.

Whatever the file makes a decoder do, the process stays small, ends by itself, writes no files beyond what it is
for, knows no secret and dies with the bot. The limits are the kernel's and need no rights. What a system lacks is
left out: macOS keeps no limit on memory and has no signal for a parent's death, so there the clock ends it.
"""

import contextlib
import ctypes
import os
import resource
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
"""Source: prctl(2)."""

_MAPPED_BYTES = 256 << 20
"""What a process of ours maps beside its data: the libraries and their tables, some 60 MB as measured."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a process may use.

    data_bytes: memory it may write to. cpu_s, wall_s: seconds until it is ended. file_bytes: the longest file it
    may write. opens_files: whether it may open any file or socket beside those it has when confined.
    """

    data_bytes: int
    cpu_s: int
    wall_s: int
    file_bytes: int
    opens_files: bool


def confine(limits: Limits, parent: int) -> None:
    """Confines this process for the rest of its life. `parent`: the process id of the bot that started it.

    Past its time it is ended by SIGXCPU or SIGALRM, which need no lock of the interpreter; past its memory,
    allocating fails. SIGTERM and SIGINT, meant for the bot when they reach all its processes, are ignored: it lets
    its work end in peace and kills this process where it must.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    _end_with(parent)
    with contextlib.suppress(OSError):
        # Should the host run out of memory, the kernel takes this process and not the bot.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_DATA, limits.data_bytes)
    # Older kernels count only the heap as data; address space is counted by all.
    _limit(resource.RLIMIT_AS, limits.data_bytes + _MAPPED_BYTES)
    # Where both limits are the same, the kernel sends SIGKILL, which would not tell why.
    _limit(resource.RLIMIT_CPU, limits.cpu_s, hard=limits.cpu_s + 1)
    _limit(resource.RLIMIT_FSIZE, limits.file_bytes)
    if not limits.opens_files:
        _limit(resource.RLIMIT_NOFILE, 0)
    signal.setitimer(signal.ITIMER_REAL, limits.wall_s)


def environment() -> dict[str, str]:
    """What such a process is told: no more than it needs, it has no business with our keys."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2])}


def command(module: str, *arguments: str) -> tuple[str, ...]:
    """The command line that runs `module` of ours; its first argument is the process that starts it."""
    # -P: not whatever lies in the working directory under this package's name.
    return (sys.executable, "-P", "-m", module, str(os.getpid()), *arguments)


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the signal was asked for
        sys.exit(1)


def _limit(kind: int, value: int, *, hard: int | None = None) -> None:
    """Lowers a limit for good; one that is lower already stays."""
    _, given = resource.getrlimit(kind)
    wanted = (value, value if hard is None else hard)
    lowered = wanted if given == resource.RLIM_INFINITY else (min(wanted[0], given), min(wanted[1], given))
    if sys.platform == "linux":
        resource.setrlimit(kind, lowered)
    else:
        with contextlib.suppress(ValueError, OSError):  # macOS refuses some that it has a name for
            resource.setrlimit(kind, lowered)
