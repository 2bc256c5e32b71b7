"""A decoder gone wrong in the way that the picture says: `python -m tests.media.rogue_decoder PARENT`."""

import os
import signal
import sys
import time
from collections.abc import Callable

from bot.media.decode_worker import HEADER, PROBLEMS, READY, ResponseKind, respond
from bot.media.first_frame import MAX_FRAME_BYTES, MAX_PIXELS
from bot.media.sandbox import Limits, confine

TIGHT = Limits(memory_bytes=150 << 20, cpu_s=1, wall_s=60, max_file_bytes=0, can_open_files=False)
HANGING_NICENESS = 7
"""How nice a process is that hangs: so a test sees that it does."""

SIZE, UNKNOWN = (500, 500), (0, 0)

PNG = b"\x89PNG\r\n\x1a\n"


def say(answer: bytes) -> None:
    sys.stdout.buffer.write(answer)
    sys.stdout.buffer.flush()


def hang() -> None:
    os.nice(HANGING_NICENESS)
    time.sleep(600)


def spin() -> None:
    while True:
        pass


def flood(start: bytes = b"") -> None:
    say(start)
    while True:
        os.write(1, b"a" * (1 << 16))


def chatter() -> None:
    os.write(2, bytes(1 << 22))
    say(respond(b"no picture"))


def fork() -> None:
    if os.fork() == 0:
        time.sleep(600)
    time.sleep(600)


def reach_out() -> None:
    try:
        open(__file__, "rb").close()  # noqa: PTH123 - it must not work
    except OSError:
        say(respond(b"no picture"))


def nothing_but(answer: bytes) -> Callable[[], None]:
    return lambda: say(answer)


MISBEHAVIORS: dict[bytes, Callable[[], None]] = {
    b"hang": hang,
    b"stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    b"spin": spin,
    b"crash": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    b"killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    b"leave": lambda: os._exit(0),
    b"flood": flood,
    b"chatter": chatter,
    b"fork": fork,
    b"reach out": reach_out,
    b"half": nothing_but(HEADER.pack(ResponseKind.PNG, 0, *SIZE, *UNKNOWN, 100) + PNG),
    b"huge frame": lambda: flood(HEADER.pack(ResponseKind.PNG, 0, *SIZE, *UNKNOWN, MAX_FRAME_BYTES + 1) + PNG),
    b"unknown kind": nothing_but(HEADER.pack(77, 0, *SIZE, *UNKNOWN, 8) + PNG),
    b"unknown reason": nothing_but(HEADER.pack(ResponseKind.REFUSED, len(PROBLEMS), *UNKNOWN, *UNKNOWN, 0)),
    b"unknown change": nothing_but(HEADER.pack(ResponseKind.PNG, 4, *SIZE, *UNKNOWN, 8) + PNG),
    b"impossible picture": nothing_but(HEADER.pack(ResponseKind.PNG, 0, *SIZE, 1, MAX_PIXELS + 1, 8) + PNG),
    b"too large": nothing_but(HEADER.pack(ResponseKind.PNG, 0, 2001, 500, *UNKNOWN, 8) + PNG),
    b"too small": nothing_but(HEADER.pack(ResponseKind.PNG, 0, 500, 359, *UNKNOWN, 8) + PNG),
    b"no frame": nothing_but(HEADER.pack(ResponseKind.JPEG, 0, *SIZE, *UNKNOWN, 8) + PNG),
}


def main() -> None:
    confine(TIGHT, int(sys.argv[1]))
    say(READY)
    data = sys.stdin.buffer.read()
    if misbehavior := MISBEHAVIORS.get(data):
        misbehavior()
    else:
        say(respond(data))


if __name__ == "__main__":
    main()
