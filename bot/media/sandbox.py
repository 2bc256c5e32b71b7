"""Runs our own modules in processes that may open untrusted files.

Each process limits its own memory, time and files before it reads the first byte. It gets no secrets and dies with
the bot. The kernel enforces the limits; they need no privileges. macOS can't limit memory and has no signal for a
parent's death, so there the time limit ends a process.
"""

import asyncio
import contextlib
import ctypes
import os
import resource
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # source: prctl(2)
_LIBRARY_BYTES = 256 << 20  # address space of shared libraries and their tables, measured at some 60 MB


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """What a process may use.

    memory_bytes: writable memory. cpu_s, wall_s: seconds until the kernel ends it. max_file_bytes: of a file it
    writes. can_open_files: whether it may open files and sockets.
    """

    memory_bytes: int
    cpu_s: int
    wall_s: int
    max_file_bytes: int
    can_open_files: bool


def confine(limits: ResourceLimits, parent_pid: int) -> None:
    """Limits this process permanently.

    Out of time, SIGXCPU or SIGALRM ends it, which need no GIL; out of memory, allocation fails. It ignores SIGTERM
    and SIGINT: a stopping bot, whose process group gets them, waits for this process or kills it.
    """
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # the parent died before the prctl
        sys.exit(1)
    with contextlib.suppress(OSError):
        # When the host runs out of memory, the kernel kills this process first, not the bot.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    _lower_limit(resource.RLIMIT_CORE, 0)
    _lower_limit(resource.RLIMIT_DATA, limits.memory_bytes)
    # Older kernels count only the heap as data; all of them count address space.
    _lower_limit(resource.RLIMIT_AS, limits.memory_bytes + _LIBRARY_BYTES)
    # With equal soft and hard limits the kernel would send SIGKILL, which doesn't tell why.
    _lower_limit(resource.RLIMIT_CPU, limits.cpu_s, hard=limits.cpu_s + 1)
    _lower_limit(resource.RLIMIT_FSIZE, limits.max_file_bytes)
    if not limits.can_open_files:
        _lower_limit(resource.RLIMIT_NOFILE, 0)
    signal.setitimer(signal.ITIMER_REAL, limits.wall_s)


def _lower_limit(kind: int, soft: int, *, hard: int | None = None) -> None:
    """Sets a limit, unless it is lower already."""
    _, current = resource.getrlimit(kind)
    wanted = (soft, soft if hard is None else hard)
    lowered = wanted if current == resource.RLIM_INFINITY else (min(soft, current), min(wanted[1], current))
    try:
        resource.setrlimit(kind, lowered)
    except (ValueError, OSError):
        if sys.platform == "linux":  # macOS defines some limits that it then refuses to set
            raise


def environment() -> dict[str, str]:
    """The environment of a sandboxed process, without the bot's secrets."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH", "HOME", "LANG") if name in os.environ}
    return {**kept, "PYTHONPATH": str(Path(__file__).parents[2])}


def command_line(module: str, *arguments: str) -> tuple[str, ...]:
    """The command that runs one of our modules. Its first argument is our process id, for `confine`."""
    # -P: never import a `bot` that happens to be in the working directory.
    return (sys.executable, "-P", "-m", module, str(os.getpid()), *arguments)


async def start(module: str, *arguments: str, stdin: int, stdout: int) -> Process:
    """Starts a module in a session of its own, its standard error in a pipe."""
    command = command_line(module, *arguments)
    return await asyncio.create_subprocess_exec(
        *command, stdin=stdin, stdout=stdout, stderr=PIPE, env=environment(), start_new_session=True
    )


def kill(process: Process) -> None:
    """Kills a process from `start` and all it started, if it still runs."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
