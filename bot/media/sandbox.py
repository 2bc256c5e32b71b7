"""Runs our own modules in processes that may open untrusted files.

Before it reads the first byte, each process limits its own memory and time, and gives up all files but those that
it works on, the network, other processes and most system calls. It gets no secrets and dies with the bot. The
kernel enforces this, without privileges. The limits hold on every Linux; `missing_protections` names what else a
system can't do. macOS can't limit memory and has no signal for a parent's death, so there the time limit ends a
process.
"""

import asyncio
import contextlib
import os
import resource
import signal
import sys
import sysconfig
from asyncio.subprocess import PIPE, Process
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bot.media import landlock, seccomp
from bot.operations.linux import ProcessOption, set_process_option

_LIBRARY_BYTES = 256 << 20  # address space of shared libraries and their tables, measured at some 60 MB


@dataclass(frozen=True, slots=True)
class ResourceLimits:
    """What a process may use.

    memory_bytes: writable memory. cpu_s, wall_s: seconds until the kernel ends it. max_file_bytes: of a file it
    writes. readable, writable: the only files that it may open, besides Python's own library; a folder stands for
    all that is in it. Writable ones, which it may also read, are created.
    """

    memory_bytes: int
    cpu_s: int
    wall_s: int
    max_file_bytes: int
    readable: tuple[Path, ...] = ()
    writable: tuple[Path, ...] = ()


def confine(limits: ResourceLimits, parent_pid: int) -> None:
    """Limits this process permanently. It must not have started a thread yet.

    Out of time, SIGXCPU or SIGALRM ends it, which need no GIL; out of memory, allocation fails. It ignores SIGTERM
    and SIGINT: a stopping bot, whose process group gets them, waits for this process or kills it.
    """
    _require_one_thread()
    confine_fork(limits, parent_pid)


def confine_server(parent_pid: int) -> None:
    """Limits a process that reads nothing from strangers, but forks those that do: see `confine_fork`.

    It gives up files, the network, programs, and processes that it didn't fork. It must not have started a thread
    yet, nor start one later.
    """
    _require_one_thread()
    _depend_on(parent_pid)
    _lower_limit(resource.RLIMIT_CORE, 0)
    if sys.platform == "linux":
        _hide_memory()
        landlock.restrict()
    seccomp.restrict(forks=True)


def confine_fork(limits: ResourceLimits, parent_pid: int) -> None:
    """As `confine`, for a fork of a process that called `confine_server`. It can't open anything any more."""
    _depend_on(parent_pid)
    _lower_limit(resource.RLIMIT_CORE, 0)
    _lower_limit(resource.RLIMIT_DATA, limits.memory_bytes)
    # Older kernels count only the heap as data; all of them count address space.
    _lower_limit(resource.RLIMIT_AS, limits.memory_bytes + _LIBRARY_BYTES)
    # With equal soft and hard limits the kernel would send SIGKILL, which doesn't tell why.
    _lower_limit(resource.RLIMIT_CPU, limits.cpu_s, hard=limits.cpu_s + 1)
    _lower_limit(resource.RLIMIT_FSIZE, limits.max_file_bytes)
    signal.setitimer(signal.ITIMER_REAL, limits.wall_s)
    for path in limits.writable:
        path.touch()
    opens_files = bool(limits.readable or limits.writable)
    if sys.platform == "linux":
        _hide_memory()
        # Libraries load some of Python's modules when they are first used.
        library = (Path(sysconfig.get_path("stdlib")),) if opens_files else ()
        landlock.restrict(readable=(*limits.readable, *library), writable=limits.writable)
    if not opens_files:
        _lower_limit(resource.RLIMIT_NOFILE, 0)
    seccomp.restrict(files=opens_files)


def _depend_on(parent_pid: int) -> None:
    """Dies with its parent, before it when memory runs out, and not of the signals that stop it."""
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, signal.SIG_IGN)
    if sys.platform == "linux":
        set_process_option(ProcessOption.PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent_pid:  # the parent died before the prctl
        sys.exit(1)
    with contextlib.suppress(OSError):
        # When the host runs out of memory, the kernel kills this process first, not the bot.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _hide_memory() -> None:
    """Hides this process's memory, which holds somebody's picture, also from collectors of core files."""
    set_process_option(ProcessOption.DUMPABLE, 0)
    set_process_option(ProcessOption.NO_NEW_PRIVILEGES, 1)


def _require_one_thread() -> None:
    """Other threads would keep their access to files, and a fork would wait for ever for locks that they held."""
    if sys.platform == "linux" and len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208 - names of threads, not paths
        raise RuntimeError("a process with several threads can't be confined")


class Protection(StrEnum):
    """What a system offers to confine processes with. CONFINEMENT: any of it, beyond limits."""

    CONFINEMENT = "confinement"
    LANDLOCK = "landlock"
    SECCOMP = "seccomp"


def missing_protections() -> Iterator[Protection]:
    """What this system doesn't offer."""
    return protections_lacking(sys.platform, landlock.abi(), has_seccomp=seccomp.is_available())


def protections_lacking(platform: str, landlock_abi: int, *, has_seccomp: bool) -> Iterator[Protection]:
    """What a system with these features doesn't offer. landlock_abi: 0 without Landlock."""
    if platform != "linux":
        yield Protection.CONFINEMENT
        return
    if not landlock_abi:
        yield Protection.LANDLOCK
    if not has_seccomp:
        yield Protection.SECCOMP


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
