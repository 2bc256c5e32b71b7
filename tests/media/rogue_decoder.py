"""A decoder that misbehaves as the picture tells it: `python -m tests.media.rogue_decoder PARENT_PID`.

Requests come as `bot.media.decode_server` says.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from bot.domain.models import PictureLimits
from bot.media.decode_protocol import HEADER, PICTURE_LIMITS, PROBLEMS, READY, ResponseKind, request_header
from bot.media.decode_server import Work, serve
from bot.media.decode_worker import MAX_REQUEST_BYTES, respond
from bot.media.picture_problems import MAX_PIXELS
from bot.media.sandbox import ResourceLimits

LIMITS = ResourceLimits(memory_bytes=150 << 20, cpu_s=1, wall_s=60, max_file_bytes=0)
HANGING_THREADS = 2
"""A hanging process has this many threads, so that a test can find it."""

SIZE, UNKNOWN_SIZE = (500, 500), (0, 0)

PNG = b"\x89PNG\r\n\x1a\n"


def write(response: bytes) -> None:
    while response:
        response = response[os.write(0, response) :]


def hang() -> None:
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
    time.sleep(600)


def busy_loop() -> None:
    while True:
        pass


def flood(start: bytes = b"") -> None:
    write(start)
    while True:
        os.write(0, b"a" * (1 << 16))


def log_much() -> None:
    os.write(2, bytes(1 << 22))
    write(respond(request_header(PictureLimits()) + b"no picture"))


def fork() -> None:
    with suppress(OSError):  # where the kernel denies it
        os.fork()
    time.sleep(600)


def tell_environment() -> None:
    """Writes all variables to standard error, which the client logs, and exits."""
    sys.stderr.write(repr(dict(os.environ)))
    sys.stderr.flush()
    os._exit(1)


def open_file() -> None:
    try:
        open(__file__, "rb").close()  # noqa: PTH123 - this must fail
    except OSError:
        write(respond(request_header(PictureLimits()) + b"no picture"))


def writer_of(response: bytes) -> Callable[[], None]:
    return lambda: write(response)


MISBEHAVIORS: dict[bytes, Callable[[], None]] = {
    b"hang": hang,
    b"stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    b"busy loop": busy_loop,
    b"crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    b"killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    b"leave": lambda: os._exit(0),
    b"flood": flood,
    b"log much": log_much,
    b"fork": fork,
    b"open a file": open_file,
    b"tell the environment": tell_environment,
    b"half": writer_of(HEADER.pack(ResponseKind.PNG, 0, *SIZE, *UNKNOWN_SIZE, 100, 0) + PNG),
    b"huge frame": lambda: flood(
        HEADER.pack(ResponseKind.PNG, 0, *SIZE, *UNKNOWN_SIZE, PictureLimits().max_bytes + 1, 0) + PNG
    ),
    b"unknown kind": writer_of(HEADER.pack(77, 0, *SIZE, *UNKNOWN_SIZE, 8, 0) + PNG),
    b"unknown reason": writer_of(
        HEADER.pack(ResponseKind.REFUSED, len(PROBLEMS), *UNKNOWN_SIZE, *UNKNOWN_SIZE, 0, 0)
    ),
    b"unknown change": writer_of(HEADER.pack(ResponseKind.PNG, 32, *SIZE, *UNKNOWN_SIZE, 8, 0) + PNG),
    b"impossible picture": writer_of(HEADER.pack(ResponseKind.PNG, 0, *SIZE, 1, MAX_PIXELS + 1, 8, 0) + PNG),
    b"too large": writer_of(HEADER.pack(ResponseKind.PNG, 0, 2001, 500, *UNKNOWN_SIZE, 8, 0) + PNG),
    b"too small": writer_of(HEADER.pack(ResponseKind.PNG, 0, 500, 359, *UNKNOWN_SIZE, 8, 0) + PNG),
    b"no frame": writer_of(HEADER.pack(ResponseKind.JPEG, 0, *SIZE, *UNKNOWN_SIZE, 8, 0) + PNG),
}


def misbehave(request: bytes) -> bytes:
    """Does what the picture says and ends, or responds as an intact decoder does."""
    if misbehavior := MISBEHAVIORS.get(request[PICTURE_LIMITS.size :]):
        misbehavior()
        os._exit(0)
    return respond(request)


if __name__ == "__main__":
    serve(Work(misbehave, LIMITS, READY, MAX_REQUEST_BYTES), int(sys.argv[1]))
