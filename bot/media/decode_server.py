"""A process that forks one sandboxed child for each picture, with Python and the decoders loaded already.

Starting a process and loading them takes longer than decoding most pictures. So one process does it once, gives up
all that forking doesn't need, and waits for requests. It never reads a byte of a picture: a request brings three
sockets, and the child gets those that the picture and the response go through. It has a single thread, as forking
with several might hang. All its children have the same addresses, which hostile files could find out crash by
crash, so after a crash it takes no further request, and the bot starts another server.

A request is one byte on the server's standard input, a Unix socket, with the ends of three others: for the picture
and its response; for the child's standard error; and for control. The server sends the child's exit code over the
last one, and kills the child when the bot closes that. When the bot closes standard input, or dies, all ends.
"""

import contextlib
import gc
import logging
import os
import selectors
import signal
import socket
import struct
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from bot.media import landlock, sandbox

REQUEST = b"\x05"
SOCKETS = 3
"""How many come with a request."""

EXIT_CODE = struct.Struct("=i")
"""Negative: the number of the signal that ended the child, as in `subprocess`."""

_IDLE_S = 900.0
"""After so long without a picture the server ends, and frees some 40 MB."""

_WAKEUP_BYTES = 4096
_CRASH_SIGNALS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGABRT, signal.SIGFPE, signal.SIGSYS}


@dataclass(frozen=True, slots=True)
class Work:
    """What a child does: it confines itself to `limits`, sends `ready`, reads the file, sends the response.

    decode: turns a file into a response. It gets `max_input_bytes` at most, and one more.
    """

    decode: Callable[[bytes], bytes]
    limits: sandbox.ResourceLimits
    ready: bytes
    max_input_bytes: int


def serve(work: Work, parent_pid: int, *, idle_s: float = _IDLE_S) -> None:
    """Forks a child for each request, until the bot closes standard input or nothing happens for `idle_s`."""
    logging.basicConfig(level=logging.INFO)
    requests = socket.socket(fileno=os.dup(0))
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)  # so that `requests` is the only way to the bot
    server = _Server(work, requests, idle_s)
    landlock.abi()  # children know it then; finding it out may take a process
    sandbox.confine_server(parent_pid)
    gc.freeze()  # a collection in a child must not copy the memory that it shares with the server
    server.run()


def _run_child(work: Work, connection: int, stderr: int, server_pid: int) -> NoReturn:
    """Decodes one picture in a process that was just forked, and ends it."""
    exit_code = 1
    try:
        os.setsid()
        signal.set_wakeup_fd(-1)
        os.dup2(connection, 0)
        os.dup2(stderr, 1)  # a library that prints must not corrupt the response
        os.dup2(stderr, 2)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))  # also the sockets of other pictures
        sandbox.confine_fork(work.limits, server_pid)
        with open(0, "rb", closefd=False) as file, open(0, "wb", closefd=False) as out:
            out.write(work.ready)
            out.flush()
            out.write(work.decode(file.read(work.max_input_bytes + 1)))
        exit_code = 0
    except BaseException:  # noqa: BLE001 - whatever it is, the child must not go on as a second server
        traceback.print_exc()
    finally:
        os._exit(exit_code)


class _Server:
    """Forks children, kills them when asked to, and reports how they ended."""

    def __init__(self, work: Work, requests: socket.socket, idle_s: float) -> None:
        self._work = work
        self._requests: socket.socket | None = requests
        self._idle_s = idle_s
        self._controls: dict[int, socket.socket] = {}
        """By the process id of a child that has not been waited for."""
        self._selector = selectors.DefaultSelector()
        self._selector.register(requests, selectors.EVENT_READ, self._accept)
        self._wakeups = socket.socketpair()
        for end in self._wakeups:
            end.settimeout(0)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)
        signal.set_wakeup_fd(self._wakeups[1].fileno(), warn_on_full_buffer=False)
        self._selector.register(self._wakeups[0], selectors.EVENT_READ, self._reap)

    def run(self) -> None:
        try:
            while self._requests is not None or self._controls:
                events = self._selector.select(None if self._controls else self._idle_s)
                if not events:
                    return
                for key, _ in events:
                    key.data()
        finally:
            for pid in self._controls:
                self._kill(pid)
            for pid in self._controls:  # whoever waits for the server expects that they are gone with it
                os.waitpid(pid, 0)

    def _accept(self) -> None:
        if self._requests is None:  # since the selector returned
            return
        message, fds, _, _ = socket.recv_fds(self._requests, len(REQUEST), SOCKETS)
        if not message:
            raise SystemExit
        if len(fds) != SOCKETS:
            raise OSError(f"a request with {len(fds)} sockets instead of {SOCKETS}")
        connection, stderr, control_fd = fds
        # Told what it is, as asking the kernel is among what was given up.
        control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, control_fd)
        try:
            server_pid, pid = os.getpid(), os.fork()
            if pid == 0:
                _run_child(self._work, connection, stderr, server_pid)
        except OSError as error:  # no memory, or too many processes
            os.write(stderr, str(error).encode())
            _report(control, 1)
        else:
            self._controls[pid] = control
            self._selector.register(control, selectors.EVENT_READ, lambda: self._kill(pid))
        finally:
            os.close(connection)
            os.close(stderr)

    def _kill(self, pid: int) -> None:
        """Kills a child and all that it started. Nothing else can have its id until it is waited for."""
        if pid not in self._controls:  # since the selector returned
            return
        self._ignore(self._controls[pid])
        for kill in (os.kill, os.killpg):  # it may not have a group of its own yet
            with contextlib.suppress(ProcessLookupError):
                kill(pid, signal.SIGKILL)

    def _reap(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while self._wakeups[0].recv(_WAKEUP_BYTES):
                pass
        for pid in list(self._controls):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                control = self._controls.pop(pid)
                self._ignore(control)
                exit_code = os.waitstatus_to_exitcode(status)
                _report(control, exit_code)
                if -exit_code in _CRASH_SIGNALS:
                    self._retire()

    def _ignore(self, control: socket.socket) -> None:
        """Watches it no longer, if it still does: a child may be killed twice before it is waited for."""
        if control in self._selector.get_map():
            self._selector.unregister(control)

    def _retire(self) -> None:
        """Takes no further request. What was asked since is lost, and the bot asks another server."""
        if self._requests is not None:
            self._selector.unregister(self._requests)
            self._requests.close()
            self._requests = None


def _report(control: socket.socket, exit_code: int) -> None:
    with control, contextlib.suppress(OSError):  # the bot may have gone
        control.sendall(EXIT_CODE.pack(exit_code))
