"""Has a picture made into a first frame by a process of its own, which may be killed without hurting anything.

A process for each picture: one that was led astray by a file could not be trusted with the next. Starting it costs
about a seventh of a second. Whatever becomes of it, the member of that picture is told, and nobody else notices.
"""

import asyncio
import contextlib
import logging
import os
import signal
from asyncio.subprocess import PIPE, Process

from bot.domain.errors import PictureRefused, ZoetropeError
from bot.domain.jobs import Frame
from bot.media.decode_worker import HEADER, LIMITS, MIMES, READY, REPORTED, Change, Kind
from bot.media.first_frame import (
    MAX_FRAME_BYTES,
    MAX_PIXELS,
    MAX_SIDE,
    MIN_SIDE,
    PictureChanges,
    PictureProblem,
    PreparedFrame,
    Size,
    UnusablePicture,
    refuse_too_large,
)
from bot.media.sandbox import command, environment

_START_S = 60.0
"""A host has to be very busy for the process not to be ready by then."""

_GRACE_S = 5.0

_SAID_BYTES = 4096
_MAGIC = {Kind.PNG: b"\x89PNG\r\n\x1a\n", Kind.JPEG: b"\xff\xd8\xff"}
_OVERTIME = frozenset({-signal.SIGXCPU, -signal.SIGALRM})

_log = logging.getLogger(__name__)


class DecoderBroken(ZoetropeError):
    """The decoding process could not be started: no picture is to blame, the host or the installation is."""


class _Untrue(Exception):
    """An answer that no decoder in its right mind gives."""


async def prepare_in_subprocess(
    data: bytes, *, module: str = "bot.media.decode_worker", within_s: float = LIMITS.wall_s + _GRACE_S
) -> PreparedFrame:
    """Makes `data`, a file as the member sent it, into a first frame, in its own process.

    module: the program that decodes. within_s: seconds that it has for its answer; it ends itself a little sooner,
    and only one that was stopped is ended from here. Cancelling it ends the process.
    Raises: PictureRefused; DecoderBroken or OSError where the process did not start.
    """
    refuse_too_large(len(data))
    process = await asyncio.create_subprocess_exec(
        *command(module), stdin=PIPE, stdout=PIPE, stderr=PIPE, env=environment(), start_new_session=True
    )
    assert process.stderr is not None  # noqa: S101 - asked for above
    said = asyncio.create_task(_start_of(process.stderr))
    try:
        return await _answer(process, data, said, within_s)
    finally:
        _kill(process)
        await _let_go(process, said)


async def _answer(process: Process, data: bytes, said: asyncio.Task[str], within_s: float) -> PreparedFrame:
    assert process.stdout is not None  # noqa: S101 - asked for by the caller
    try:
        async with asyncio.timeout(_START_S):
            ready = await process.stdout.readexactly(len(READY)) == READY
    except (asyncio.IncompleteReadError, TimeoutError):
        ready = False
    if not ready:
        _kill(process)
        raise DecoderBroken(f"the picture decoder did not start ({await process.wait()}): {await said}")
    giving = asyncio.create_task(_give(process, data))
    try:
        async with asyncio.timeout(within_s):
            conformed = await _read(process.stdout)
    except TimeoutError:
        _log.warning("a picture of %d bytes held its decoder for too long", len(data))
        raise _refused(PictureProblem.TOO_SLOW) from None
    except _Untrue as error:
        _log.warning("the decoder of a picture of %d bytes gave no true answer: %s", len(data), error)
        raise _refused(PictureProblem.DECODER_CRASHED) from error
    except asyncio.IncompleteReadError:
        code = await _ended(process)
        _log.warning("a picture of %d bytes took its decoder down (%s): %s", len(data), code, await said)
        raise _refused(_problem_of(code)) from None
    except PictureRefused as refused:
        _log.info("a picture of %d bytes was refused: %s", len(data), refused)
        raise
    finally:
        giving.cancel()
    return conformed


async def _give(process: Process, data: bytes) -> None:
    assert process.stdin is not None  # noqa: S101 - asked for by the caller
    # Gone in the middle of it, the process has said why, or its end does.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(data)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()


async def _read(answers: asyncio.StreamReader) -> PreparedFrame:
    """Reads an answer, each part only when its length was found to be possible."""
    number, detail, width, height, other_width, other_height, frame_bytes = HEADER.unpack(
        await answers.readexactly(HEADER.size)
    )
    size, other = _size(width, height), _size(other_width, other_height)
    if number == Kind.REFUSED:
        raise PictureRefused(_refusal(detail, size, other))
    if number not in MIMES or frame_bytes > MAX_FRAME_BYTES:
        raise _Untrue(f"a header of {number}, {frame_bytes}")
    changes = _changes(detail, size, other)
    frame = await answers.readexactly(frame_bytes)
    small, large = sorted((width, height))
    if small < MIN_SIDE or large > MAX_SIDE or not frame.startswith(_MAGIC[number]):
        raise _Untrue(f"a frame of {width}×{height} that begins with {frame[:8]!r}")
    return PreparedFrame(Frame(frame, MIMES[number]), width, height, changes)


def _size(width: int, height: int) -> Size | None:
    return (width, height) if width and height else None


def _refusal(number: int, size: Size | None, enough: Size | None) -> UnusablePicture:
    if number >= len(REPORTED):
        raise _Untrue(f"a refusal for the reason {number}")
    return UnusablePicture(REPORTED[number], size, enough)


def _changes(flags: int, size: Size | None, before: Size | None) -> PictureChanges:
    if flags > Change.FIRST_OF_ANIMATION | Change.LAID_ON_WHITE:
        raise _Untrue(f"changes of {flags}")
    if before is not None and before[0] * before[1] > MAX_PIXELS:
        raise _Untrue(f"a picture of {before[0]}×{before[1]}")
    return PictureChanges(
        scaled_from=before,
        scaled_to=None if before is None else size,
        is_first_of_animation=bool(flags & Change.FIRST_OF_ANIMATION),
        is_laid_on_white=bool(flags & Change.LAID_ON_WHITE),
    )


async def _ended(process: Process) -> int:
    """How a process that closed its output ended."""
    try:
        async with asyncio.timeout(_GRACE_S):
            return await process.wait()
    except TimeoutError:
        _kill(process)
        return await process.wait()


async def _let_go(process: Process, said: asyncio.Task[str]) -> None:
    """Reads what is left in the pipes of a process that was killed: only at its end is a pipe closed."""
    assert process.stdout is not None  # noqa: S101 - asked for by the caller
    with contextlib.suppress(TimeoutError):  # what fled from its process group may hold the other end
        async with asyncio.timeout(_GRACE_S):
            while await process.stdout.read(_SAID_BYTES):
                pass
            await said
    said.cancel()
    await process.wait()


def _problem_of(code: int) -> PictureProblem:
    if code in _OVERTIME:
        return PictureProblem.TOO_SLOW
    # Nobody but the kernel out of memory, or an operator, sends this one.
    return PictureProblem.TOO_MUCH_MEMORY if code == -signal.SIGKILL else PictureProblem.DECODER_CRASHED


def _refused(problem: PictureProblem) -> PictureRefused:
    return PictureRefused(UnusablePicture(problem))


async def _start_of(stream: asyncio.StreamReader) -> str:
    """The start of what the process says on the side; all of it is read, so that it never waits for a reader."""
    start = b""
    while more := await stream.read(_SAID_BYTES):
        start += more[: _SAID_BYTES - len(start)]
    return start.decode(errors="replace").strip()


def _kill(process: Process) -> None:
    """Ends the process and whatever it may have started."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
