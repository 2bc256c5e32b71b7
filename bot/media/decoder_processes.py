"""The bot's end of `decode_server.py`: starts the server, has it fork decoders, and ends both.

A decoder is known by its sockets alone. Closing them has it killed, so its process id, which might be another's by
then, isn't needed. Nothing here blocks the event loop.
"""

import asyncio
import contextlib
import socket
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Awaitable, Callable, Iterable

from bot.media import sandbox
from bot.media.decode_server import EXIT_CODE, REQUEST, SOCKETS

_GRACE_S = 5.0
_CHUNK_BYTES = 4096


class ServerEnded(Exception):
    """The server ended before it said what became of a decoder, or takes no more requests: ask another one."""


class ServerProcess:
    """A server that was started. `disconnect` or `kill` ends it, `wait` waits for that."""

    def __init__(self, process: Process, requests: socket.socket) -> None:
        assert process.stderr is not None  # noqa: S101 - `sandbox.start` makes it a pipe
        self._process = process
        self._requests = requests
        self._ended = asyncio.create_task(_exit_of(process, process.stderr))

    @classmethod
    async def start(cls, module: str) -> "ServerProcess":
        """Runs a module that calls `decode_server.serve`. Raises: OSError."""
        requests, theirs = socket.socketpair()
        with theirs, contextlib.ExitStack() as on_error:
            on_error.enter_context(requests)
            requests.settimeout(0)
            process = await sandbox.start(module, stdin=theirs.fileno(), stdout=DEVNULL)
            on_error.pop_all()
        return cls(process, requests)

    def fork(self) -> "DecoderProcess":
        """Has the server fork a decoder. Raises: ServerEnded; OSError."""
        with contextlib.ExitStack() as ours, contextlib.ExitStack() as theirs:
            pairs = [socket.socketpair() for _ in range(SOCKETS)]
            for our, their in pairs:
                ours.enter_context(our).settimeout(0)
                theirs.enter_context(their)
            try:
                socket.send_fds(self._requests, [REQUEST], [their.fileno() for _, their in pairs])
            except OSError as error:
                raise ServerEnded(str(error)) from error
            ours.pop_all()
        return DecoderProcess(self, *(our for our, _ in pairs))

    def disconnect(self) -> None:
        """Has the server kill its decoders and exit."""
        self._requests.close()

    def kill(self) -> None:
        """Kills the server; on Linux, the kernel kills its decoders with it."""
        sandbox.kill(self._process)

    async def wait(self) -> tuple[int, str]:
        """Waits until the server has exited; returns its exit code and the start of what it logged."""
        return await asyncio.shield(self._ended)


class DecoderProcess:
    """A decoder that was asked for. Call `end` in any case."""

    def __init__(
        self, server: ServerProcess, connection: socket.socket, stderr: socket.socket, control: socket.socket
    ) -> None:
        loop = asyncio.get_running_loop()
        self._server = server
        self._sockets = connection, stderr, control
        self._connection, self._control = connection, control
        self._stderr = asyncio.create_task(_start_of(lambda size: loop.sock_recv(stderr, size)))
        self._exit_code = asyncio.create_task(_receive_exit_code(control))
        self._sending: asyncio.Task[None] | None = None

    def send(self, *parts: bytes) -> None:
        """Sends a whole request in the background."""
        self._sending = asyncio.create_task(_send_all(self._connection, parts))

    async def receive(self, size: int) -> bytes:
        """Exactly so many bytes. Raises: EOFError if the decoder closed its output before."""
        received = bytearray(size)
        rest = memoryview(received)
        while rest:
            try:
                count = await asyncio.get_running_loop().sock_recv_into(self._connection, rest)
            except ConnectionResetError:  # it left a part of the file unread
                count = 0
            if not count:
                raise EOFError
            rest = rest[count:]
        return bytes(received)

    async def exit_code(self) -> int:
        """Waits for a decoder that closed its output; has one killed that stays. Raises: ServerEnded."""
        await asyncio.wait({self._exit_code}, timeout=_GRACE_S)
        self._have_killed()
        await self._expect_end()
        return self._exit_code.result()

    async def stderr(self) -> str:
        """The start of what a decoder wrote that has ended."""
        await asyncio.wait({self._stderr}, timeout=_GRACE_S)  # longer, if a descendant has it open
        return self._stderr.result() if self._stderr.done() else ""

    async def end(self) -> None:
        """Has the decoder killed, if it still runs, and returns once it is gone, also if cancelled meanwhile."""
        ending = asyncio.create_task(self._end())
        cancelled: asyncio.CancelledError | None = None
        while not ending.done():
            try:
                await asyncio.wait({ending})
            except asyncio.CancelledError as error:
                cancelled = error
        ending.result()
        if cancelled is not None:
            raise cancelled

    async def _end(self) -> None:
        self._have_killed()
        await self._expect_end()
        tasks = [task for task in (self._stderr, self._exit_code, self._sending) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for each in self._sockets:
            each.close()

    def _have_killed(self) -> None:
        with contextlib.suppress(OSError):  # closed already
            self._control.shutdown(socket.SHUT_WR)

    async def _expect_end(self) -> None:
        await asyncio.wait({self._exit_code}, timeout=_GRACE_S)
        if not self._exit_code.done():
            self._server.kill()  # it doesn't react
            await asyncio.wait({self._exit_code})


async def _exit_of(process: Process, stderr: asyncio.StreamReader) -> tuple[int, str]:
    logged = await _start_of(stderr.read)
    return await process.wait(), logged


async def _send_all(connection: socket.socket, parts: Iterable[bytes]) -> None:
    # If the decoder exits early, its response or exit code says why.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        for part in parts:
            await asyncio.get_running_loop().sock_sendall(connection, part)
        connection.shutdown(socket.SHUT_WR)


async def _receive_exit_code(control: socket.socket) -> int:
    message = await asyncio.get_running_loop().sock_recv(control, EXIT_CODE.size)
    if len(message) != EXIT_CODE.size:
        raise ServerEnded
    exit_code: int = EXIT_CODE.unpack(message)[0]
    return exit_code


async def _start_of(read: Callable[[int], Awaitable[bytes]]) -> str:
    """The start of what a process logs. All of it is read, as a full pipe would block the process."""
    start = b""
    while more := await read(_CHUNK_BYTES):
        start += more[: _CHUNK_BYTES - len(start)]
    return start.decode(errors="replace").strip()
