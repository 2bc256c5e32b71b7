"""Tries what a hijacked decoder or encoder would: `python -m tests.media.sandbox_probe PARENT_PID HOW FOLDER`.

Writes a JSON object to its standard output: what it tried, and whether that worked. Each attempt is harmless.
HOW: see `RESTRICTIONS`. FOLDER holds `source`, to be read, `target`, to be written, and `other`, to be let alone.
"""

import ctypes
import fcntl
import json
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from bot.media import decode_protocol, landlock, sandbox, seccomp, transcode_worker
from bot.operations.linux import ProcessOption, set_process_option, system_call

_PROCESS_VM_READV, _PTRACE_SEIZE = 310, 0x4206


def _confine_encoder(parent_pid: int, folder: Path) -> None:
    sandbox.confine(transcode_worker.limits([folder / "source"], folder / "target", 1000), parent_pid)


def _fork_decoder(parent_pid: int) -> None:
    """Goes on in a fork, as decoders do; this process waits for it."""
    sandbox.confine_server(parent_pid)
    server_pid, pid = os.getpid(), os.fork()
    if pid:
        os._exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    sandbox.confine_fork(decode_protocol.LIMITS, server_pid)


def _restrict(restriction: Callable[[], None]) -> None:
    set_process_option(ProcessOption.NO_NEW_PRIVILEGES, 1)
    restriction()


RESTRICTIONS: dict[str, Callable[[int, Path], None]] = {
    "nothing": lambda _pid, _folder: None,
    "server": lambda pid, _folder: sandbox.confine_server(pid),
    "decoder": lambda pid, _folder: _fork_decoder(pid),
    "encoder": _confine_encoder,
    "landlock": lambda _pid, folder: _restrict(
        lambda: landlock.restrict(readable=[folder / "source"], writable=[folder / "target"])
    ),
    "seccomp": lambda _pid, _folder: _restrict(lambda: seccomp.restrict(files=True)),
}


def _read(path: Path) -> Callable[[], object]:
    return path.read_bytes


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)
    os.wait()


def _own_signals_of(fd: int, pid: int) -> None:
    """Has the kernel send a signal to another process when something arrives."""
    fcntl.fcntl(fd, fcntl.F_SETOWN, pid)
    fcntl.fcntl(fd, fcntl.F_SETOWN, 0)


def _read_memory(pid: int) -> None:
    """As a debugger's system call does; the address is invalid, which is looked at after the permission."""
    local = (ctypes.c_size_t * 2)(ctypes.addressof(ctypes.create_string_buffer(1)), 1)
    remote = (ctypes.c_size_t * 2)(1, 1)
    try:
        system_call(_PROCESS_VM_READV, pid, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
    except OSError as error:
        if error.errno != 14:  # EFAULT
            raise


def _raise_limit() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


def _start_thread() -> None:
    done: list[int] = []
    thread = threading.Thread(target=done.append, args=(1,))
    thread.start()
    thread.join()
    assert done


def attempts(parent_pid: int, folder: Path, pipe: int) -> dict[str, Callable[[], object]]:
    """What to try, by name."""
    proc = Path(f"/proc/{parent_pid}")
    return {
        "read its source": _read(folder / "source"),
        "write its target": lambda: (folder / "target").write_bytes(b"video"),
        "start a thread": _start_thread,
        "allocate memory": lambda: bytes(64 << 20),
        "read its limits": lambda: resource.getrlimit(resource.RLIMIT_NOFILE),
        "read another file": _read(folder / "other"),
        "read a file of the system": _read(Path("/etc/passwd")),
        "list a folder": lambda: list(folder.iterdir()),
        "write to its source": lambda: (folder / "source").open("ab").close(),
        "create a file": (folder / "new").touch,
        "rename a file": lambda: (folder / "target").rename(folder / "target"),
        "make a link": lambda: (folder / "link").symlink_to(folder / "other"),
        "change a file's mode": lambda: (folder / "other").chmod(0o600),
        "make a TCP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM).close(),
        "make a UDP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close(),
        "make a Unix socket": lambda: socket.socket(socket.AF_UNIX).close(),
        "start a process": _fork,
        "run a program": lambda: os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0),
        "read the bot's environment": _read(proc / "environ"),
        "read the bot's memory map": _read(proc / "maps"),
        "open the bot's memory": lambda: (proc / "mem").open("rb").close(),
        "copy the bot's memory": lambda: _read_memory(parent_pid),
        "signal the bot": lambda: os.kill(parent_pid, 0),
        "signal its parent": lambda: os.kill(os.getppid(), 0),
        "copy its parent's memory": lambda: _read_memory(os.getppid()),
        "have the bot signalled": lambda: _own_signals_of(pipe, parent_pid),
        "get a handle of the bot": lambda: os.close(os.pidfd_open(parent_pid)),
        "lift its own limits": _raise_limit,
        "become readable to others": lambda: set_process_option(ProcessOption.DUMPABLE, 1),
        "stop its own clock": lambda: signal.setitimer(signal.ITIMER_REAL, 0),
    }


def main(parent_pid: int, how: str, folder: Path) -> None:
    pipe, _ = os.pipe()
    RESTRICTIONS[how](parent_pid, folder)
    results: dict[str, bool] = {}
    for name, attempt in attempts(parent_pid, folder, pipe).items():
        try:
            attempt()
        except OSError as error:
            results[name] = False
            sys.stderr.write(f"{name}: {error}\n")
        else:
            results[name] = True
    sys.stdout.write(json.dumps(results))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
