"""Prepares first frames in sandboxed worker processes, which may crash or be killed without harm to the bot.

Each picture gets a new process, as a hostile file could tamper with later ones. Starting it takes about 140 ms.
Whatever the worker does, only that picture's member sees an error.
"""

import asyncio
import contextlib
import logging
import signal
from asyncio.subprocess import PIPE, Process

from bot.domain.errors import PictureRefused, ZoetropeError
from bot.domain.jobs import Frame
from bot.media import prepared_frame, sandbox
from bot.media.decode_protocol import HEADER, LIMITS, MIME_TYPES, PROBLEMS, READY, Change, ResponseKind
from bot.media.picture_problems import MAX_PIXELS, PictureProblem, UnusablePicture
from bot.media.prepared_frame import PictureChanges, PreparedFrame

_START_TIMEOUT_S = 60.0  # longer than the worker needs to start on a very busy host
_GRACE_S = 5.0
_CHUNK_BYTES = 4096
_MAGIC = {ResponseKind.PNG: b"\x89PNG\r\n\x1a\n", ResponseKind.JPEG: b"\xff\xd8\xff"}
_PROBLEM_OF_SIGNAL: dict[int, PictureProblem] = {
    signal.SIGXCPU: PictureProblem.TOO_SLOW,
    signal.SIGALRM: PictureProblem.TOO_SLOW,
    signal.SIGKILL: PictureProblem.TOO_MUCH_MEMORY,  # sent only by a kernel out of memory, or by an operator
}

_log = logging.getLogger(__name__)


class DecoderNotStarted(ZoetropeError):
    """The worker process did not start: the host or the installation is at fault, not the picture."""


class _InvalidResponse(Exception):
    """A response that no intact worker sends."""


async def prepare_in_subprocess(
    data: bytes, *, module: str = "bot.media.decode_worker", timeout_s: float = LIMITS.wall_s + _GRACE_S
) -> PreparedFrame:
    """Turns a member's file into a first frame, in a process that ends with this call, even a cancelled one.

    timeout_s: for the response. The worker ends itself a little sooner, unless it was stopped (SIGSTOP).
    Raises: PictureRefused; DecoderNotStarted or OSError if the process did not start.
    """
    prepared_frame.check_file_size(len(data))
    process = await sandbox.start(module, stdin=PIPE, stdout=PIPE)
    assert process.stdin is not None  # noqa: S101 - the three are pipes
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    stderr = asyncio.create_task(_first_chunk(process.stderr))
    sending = asyncio.create_task(_send(process.stdin, data))
    try:
        if not await _is_ready(process.stdout):
            sandbox.kill(process)
            raise DecoderNotStarted(f"the picture decoder did not start ({await process.wait()}): {await stderr}")
        async with asyncio.timeout(timeout_s):
            return await _receive(process.stdout)
    except TimeoutError:
        _log.warning("decoding a picture of %d bytes took too long", len(data))
        raise PictureRefused(UnusablePicture(PictureProblem.TOO_SLOW)) from None
    except _InvalidResponse as error:
        _log.warning("invalid response from the decoder of a picture of %d bytes: %s", len(data), error)
        raise PictureRefused(UnusablePicture(PictureProblem.DECODER_CRASHED)) from error
    except asyncio.IncompleteReadError:
        exit_code = await _exit_code(process)
        _log.warning("a picture of %d bytes crashed its decoder (%d): %s", len(data), exit_code, await stderr)
        problem = _PROBLEM_OF_SIGNAL.get(-exit_code, PictureProblem.DECODER_CRASHED)
        raise PictureRefused(UnusablePicture(problem)) from None
    except PictureRefused as refused:
        _log.info("refused a picture of %d bytes: %s", len(data), refused)
        raise
    finally:
        sending.cancel()
        sandbox.kill(process)
        await _drain(process, process.stdout, stderr)


async def _is_ready(stdout: asyncio.StreamReader) -> bool:
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            return await stdout.readexactly(len(READY)) == READY
    except (asyncio.IncompleteReadError, TimeoutError):
        return False


async def _send(stdin: asyncio.StreamWriter, data: bytes) -> None:
    # If the worker exits early, its response or exit code says why.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        stdin.write(data)
        await stdin.drain()
        stdin.close()
        await stdin.wait_closed()


async def _receive(stdout: asyncio.StreamReader) -> PreparedFrame:
    """Reads and validates a response; reads the frame only once its length is known to be allowed."""
    header = HEADER.unpack(await stdout.readexactly(HEADER.size))
    kind, detail, width, height, other_width, other_height, frame_bytes = header
    other_size = (other_width, other_height) if other_width and other_height else None
    if kind == ResponseKind.REFUSED and detail < len(PROBLEMS):
        size = (width, height) if width and height else None
        raise PictureRefused(UnusablePicture(PROBLEMS[detail], size, other_size))
    if (
        kind not in MIME_TYPES
        or detail > max(Change) * 2 - 1
        or other_width * other_height > MAX_PIXELS
        or not prepared_frame.MIN_SIDE <= min(width, height) <= max(width, height) <= prepared_frame.MAX_SIDE
        or frame_bytes > prepared_frame.MAX_FRAME_BYTES
    ):
        raise _InvalidResponse(f"a header of {header}")
    frame = await stdout.readexactly(frame_bytes)
    if not frame.startswith(_MAGIC[kind]):
        raise _InvalidResponse(f"a frame that begins with {frame[:8]!r}")
    changes = PictureChanges(
        scaled_from=other_size,
        scaled_to=(width, height) if other_size else None,
        is_first_of_animation=bool(detail & Change.FIRST_OF_ANIMATION),
        is_flattened_on_white=bool(detail & Change.FLATTENED_ON_WHITE),
        is_later_of_animation=bool(detail & Change.LATER_OF_ANIMATION),
        is_flattened_on_dark=bool(detail & Change.FLATTENED_ON_DARK),
        is_preview_of_raw=bool(detail & Change.PREVIEW_OF_RAW),
    )
    return PreparedFrame(Frame(frame, MIME_TYPES[kind]), width, height, changes)


async def _exit_code(process: Process) -> int:
    """Waits for a process that closed its output; kills one that stays."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GRACE_S):
            return await process.wait()
    sandbox.kill(process)
    return await process.wait()


async def _first_chunk(stream: asyncio.StreamReader) -> str:
    """The start of what the worker logs. All of it is read, as a full pipe would block the worker."""
    start = b""
    while more := await stream.read(_CHUNK_BYTES):
        start += more[: _CHUNK_BYTES - len(start)]
    return start.decode(errors="replace").strip()


async def _drain(process: Process, stdout: asyncio.StreamReader, stderr: asyncio.Task[str]) -> None:
    """Reads the rest of a killed process's output: asyncio closes a pipe only at its end."""
    # A descendant that left the process group may keep the pipes open.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_GRACE_S):
            while await stdout.read(_CHUNK_BYTES):
                pass
            await stderr
    stderr.cancel()
    await process.wait()
