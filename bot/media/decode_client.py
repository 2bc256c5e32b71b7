"""Prepares first frames in sandboxed processes, which may crash or be killed without harm to the bot.

Each picture gets a new process, as a hostile file could tamper with later ones. A server, started for the first
picture and again when it has ended, forks it within milliseconds (`decode_server.py`). Whatever a process does,
only its picture's member sees an error.
"""

import asyncio
import contextlib
import contextvars
import logging
import signal
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from bot.domain.errors import PictureRefused, ZoetropeError
from bot.domain.jobs import Frame
from bot.domain.models import PictureLimits
from bot.media import prepared_frame
from bot.media.decode_protocol import (
    HEADER,
    LIMITS,
    MIME_TYPES,
    PROBLEMS,
    READY,
    Change,
    ResponseKind,
    request_header,
)
from bot.media.decoder_processes import DecoderProcess, ServerEnded, ServerProcess
from bot.media.picture_problems import MAX_PIXELS, PictureProblem, UnusablePicture
from bot.media.prepared_frame import PictureChanges, PreparedFrame

_START_TIMEOUT_S = 60.0  # longer than the server needs to start on a very busy host
_GRACE_S = 5.0
_ATTEMPTS = 2
_MAGIC = {ResponseKind.PNG: b"\x89PNG\r\n\x1a\n", ResponseKind.JPEG: b"\xff\xd8\xff"}
_PROBLEM_OF_SIGNAL: dict[int, PictureProblem] = {
    signal.SIGXCPU: PictureProblem.TOO_SLOW,
    signal.SIGALRM: PictureProblem.TOO_SLOW,
    signal.SIGKILL: PictureProblem.TOO_MUCH_MEMORY,  # sent only by a kernel out of memory, or by an operator
}

_T = TypeVar("_T")

_log = logging.getLogger(__name__)


class DecoderNotStarted(ZoetropeError):
    """No decoder process started: the host or the installation is at fault, not the picture."""


class _InvalidResponse(Exception):
    """A response that no intact worker sends."""


class DecodeClient:
    """Decodes pictures, until it is closed. module: runs `decode_server.serve`.

    timeout_s: for a response. The decoder ends itself a little sooner, unless it was stopped (SIGSTOP).
    """

    def __init__(
        self, module: str = "bot.media.decode_worker", *, timeout_s: float = LIMITS.wall_s + _GRACE_S
    ) -> None:
        self._module = module
        self._timeout_s = timeout_s
        self._server: ServerProcess | None = None
        self._starting = asyncio.Lock()
        self._watches: dict[ServerProcess, asyncio.Task[None]] = {}
        self._warming_up: asyncio.Task[None] | None = None
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends all processes, and returns once they are gone."""
        self._is_closed = True
        if self._warming_up is not None:
            await self._warming_up
        async with self._starting:
            self._server = None
        watches = dict(self._watches)
        for server in watches:
            server.disconnect()
        if watches:
            _, late = await asyncio.wait(watches.values(), timeout=_GRACE_S)
            for server in (server for server, watch in watches.items() if watch in late):
                server.kill()
            await asyncio.wait(watches.values())

    def expect_picture(self) -> None:
        """Starts the server in the background, if none runs: a picture is about to be fetched."""
        if self._server is None and not self._starting.locked() and not self._is_closed:
            self._warming_up = asyncio.create_task(self._warm_up())

    async def _warm_up(self) -> None:
        with contextlib.suppress(DecoderNotStarted, OSError):  # the picture's own attempt raises it again
            await self._running_server()

    async def prepare(self, data: bytes, limits: PictureLimits = PictureLimits()) -> PreparedFrame:
        """Turns a member's file into a first frame, in a process that ends with this call, even a cancelled one.

        limits: of the model. Raises: PictureRefused; DecoderNotStarted or OSError if no process started.
        """
        prepared_frame.check_file_size(len(data))
        for attempt in range(_ATTEMPTS):
            server = await self._running_server()
            try:
                return await self._decode(server.fork(), data, limits)
            except ServerEnded as error:
                # It had nothing to do for long, or replaces itself after a crash, or somebody killed it.
                if self._server is server:
                    self._server = None
                if attempt + 1 == _ATTEMPTS:
                    raise await _not_started(server) from error
        raise AssertionError("not reached")

    async def _running_server(self) -> ServerProcess:
        async with self._starting:
            if self._is_closed:
                raise DecoderNotStarted("the bot is stopping")
            if self._server is None:
                self._server = server = await _detached(ServerProcess.start(self._module))
                self._watches[server] = _detached(self._watch(server))
            return self._server

    async def _watch(self, server: ServerProcess) -> None:
        exit_code, stderr = await server.wait()
        server.disconnect()
        del self._watches[server]
        if self._server is server:
            self._server = None
        if exit_code:
            _log.warning("the server of the picture decoders exited (%d): %s", exit_code, stderr)

    async def _decode(self, decoder: DecoderProcess, data: bytes, limits: PictureLimits) -> PreparedFrame:
        try:
            decoder.send(request_header(limits), data)
            await _be_ready(decoder)
            async with asyncio.timeout(self._timeout_s):
                return await _receive(decoder, limits)
        except TimeoutError:
            _log.warning("decoding a picture of %d bytes took too long", len(data))
            raise PictureRefused(UnusablePicture(PictureProblem.TOO_SLOW)) from None
        except _InvalidResponse as error:
            _log.warning("invalid response from the decoder of a picture of %d bytes: %s", len(data), error)
            raise PictureRefused(UnusablePicture(PictureProblem.DECODER_CRASHED)) from error
        except EOFError:
            exit_code = await decoder.exit_code()
            stderr = await decoder.stderr()
            _log.warning("a picture of %d bytes crashed its decoder (%d): %s", len(data), exit_code, stderr)
            problem = _PROBLEM_OF_SIGNAL.get(-exit_code, PictureProblem.DECODER_CRASHED)
            raise PictureRefused(UnusablePicture(problem)) from None
        except PictureRefused as refused:
            _log.info("refused a picture of %d bytes: %s", len(data), refused)
            raise
        finally:
            await decoder.end()


def _detached(work: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
    """Starts what outlives the command that needs it first, without that command's context variables."""
    return contextvars.Context().run(asyncio.create_task, work)


async def _not_started(server: ServerProcess) -> DecoderNotStarted:
    try:
        async with asyncio.timeout(_GRACE_S):
            exit_code, stderr = await server.wait()
    except TimeoutError:
        return DecoderNotStarted("the picture decoder did not start")
    return DecoderNotStarted(f"the picture decoder did not start ({exit_code}): {stderr}")


async def _be_ready(decoder: DecoderProcess) -> None:
    """Waits until any failure is the picture's fault. Raises: ServerEnded; DecoderNotStarted."""
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            if await decoder.receive(len(READY)) == READY:
                return
    except TimeoutError:
        raise DecoderNotStarted("the picture decoder did not start in time") from None
    except EOFError:
        pass
    exit_code = await decoder.exit_code()
    raise DecoderNotStarted(f"the picture decoder did not start ({exit_code}): {await decoder.stderr()}")


async def _receive(decoder: DecoderProcess, limits: PictureLimits) -> PreparedFrame:
    """Reads and validates a response; reads the frame only once its length is known to be allowed."""
    header = HEADER.unpack(await decoder.receive(HEADER.size))
    kind, detail, width, height, other_width, other_height, frame_bytes, thumbnail_bytes = header
    other_size = (other_width, other_height) if other_width and other_height else None
    if kind == ResponseKind.REFUSED and detail < len(PROBLEMS):
        size = (width, height) if width and height else None
        raise PictureRefused(UnusablePicture(PROBLEMS[detail], size, other_size, limits=limits))
    if (
        kind not in MIME_TYPES
        or detail > max(Change) * 2 - 1
        or other_width * other_height > MAX_PIXELS
        or not limits.side_min_px <= min(width, height) <= max(width, height) <= limits.side_max_px
        or frame_bytes > limits.max_bytes
        or thumbnail_bytes > prepared_frame.MAX_THUMBNAIL_BYTES
    ):
        raise _InvalidResponse(f"a header of {header}")
    frame, thumbnail = await decoder.receive(frame_bytes), await decoder.receive(thumbnail_bytes)
    for data, expected in ((frame, kind), (thumbnail, ResponseKind.JPEG)):
        if not data.startswith(_MAGIC[expected]):
            raise _InvalidResponse(f"a picture that begins with {data[:8]!r}")
    changes = PictureChanges(
        scaled_from=other_size,
        scaled_to=(width, height) if other_size else None,
        is_first_of_animation=bool(detail & Change.FIRST_OF_ANIMATION),
        is_flattened_on_white=bool(detail & Change.FLATTENED_ON_WHITE),
        is_later_of_animation=bool(detail & Change.LATER_OF_ANIMATION),
        is_flattened_on_dark=bool(detail & Change.FLATTENED_ON_DARK),
        is_preview_of_raw=bool(detail & Change.PREVIEW_OF_RAW),
    )
    return PreparedFrame(Frame(frame, MIME_TYPES[kind], thumbnail), width, height, changes)
