"""Makes any video one that a channel can show: H.264 in an MP4 that plays while it downloads, small enough.

Most already are, and stay as they are. Others are moved to a new MP4 if picture and sound may stay as they are;
else they are encoded again, and if they were too large, at the bit rate that the limit allows.

That happens in a sandboxed process (`transcode_worker.py`). It can be cancelled, and a hostile file can crash
nothing else. No other process decodes a video: the bot itself reads a file's layout (`video_layout.py`), nothing
more, and never loads PyAV.
"""

import asyncio
import errno
import os
import signal
from asyncio.subprocess import DEVNULL
from contextlib import nullcontext
from enum import IntEnum
from pathlib import Path

from bot.domain.errors import ZoetropeError
from bot.media import sandbox
from bot.media.video_layout import plays_inline

WALL_S = 1200
"""How long the process may take."""

_GRACE_S = 5.0
_CRASH_SIGNALS = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGXCPU}
"""Signals that the video itself caused, by a crash or by using up the CPU time."""


class ExitCode(IntEnum):
    """Exit codes of the transcoding process."""

    OK = 0
    VIDEO_UNUSABLE = 3
    DISK_FULL = 4
    VIDEO_TOO_LARGE = 5


class VideoUnusable(ZoetropeError):
    """The file is not a readable video."""


class VideoTooLarge(VideoUnusable):
    """The video is fine, but can't be made small enough."""


async def is_postable(video: Path, limit_bytes: int) -> bool:
    """Whether the file can be posted as it is: small enough, and playing in browsers and on phones.

    Raises: VideoIncomplete; OSError.
    """
    return await asyncio.to_thread(is_postable_as_is, video, limit_bytes)


def is_postable_as_is(video: Path, limit_bytes: int) -> bool:
    """`is_postable`, in this thread."""
    return plays_inline(video) and video.stat().st_size <= limit_bytes


async def make_postable(
    source: Path,
    target: Path,
    limit_bytes: int,
    *,
    slots: asyncio.Semaphore | None = None,
    timeout_s: float = WALL_S + _GRACE_S,
) -> Path:
    """Returns `source` if it can be posted as it is, else `target`, written as an H.264 MP4 within the limit.

    slots: limits how many processes work at once. Cancelling ends the process. timeout_s: the process ends
    itself a little sooner, unless it was stopped or taken over. Raises: VideoIncomplete; VideoUnusable; OSError if
    the disk is full, or the process did not start, was killed from outside or took too long.
    """
    if await is_postable(source, limit_bytes):
        return source
    async with slots or nullcontext():
        await run_worker("bot.media.transcode_worker", source, target, limit_bytes, timeout_s=timeout_s)
    return target


async def run_worker(module: str, *arguments: object, timeout_s: float = WALL_S + _GRACE_S) -> None:
    """Runs one of our modules that work on videos, and raises what its exit code means: see `make_postable`."""
    process = await sandbox.start(module, *map(str, arguments), stdin=DEVNULL, stdout=DEVNULL)
    try:
        async with asyncio.timeout(timeout_s):
            _, stderr = await process.communicate()
    finally:
        sandbox.kill(process)
        await process.wait()
    message = stderr.decode(errors="replace").strip()[-300:]
    match process.returncode:
        case ExitCode.OK:
            return
        case ExitCode.DISK_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case ExitCode.VIDEO_UNUSABLE:
            raise VideoUnusable(message)
        case ExitCode.VIDEO_TOO_LARGE:
            raise VideoTooLarge(message)
        case int(code) if -code in _CRASH_SIGNALS:
            raise VideoUnusable(f"the video crashed the encoder ({code})")
        case code:  # killed from outside, or not started: says nothing about the video
            raise OSError(f"the encoder exited with {code}: {message}")
