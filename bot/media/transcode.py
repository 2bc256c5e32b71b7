"""Makes any video one that a channel can show: H.264 in an MP4 that plays while it downloads, small enough.

Most already are, and stay as they are. Others are moved to a new MP4 if picture and sound may stay as they are;
else they are encoded again, and if they were too large, at the bit rate that the limit allows.

That happens in a sandboxed process: `python -m bot.media.transcode PARENT_PID SOURCE TARGET LIMIT_BYTES`. It can
be cancelled, and a hostile file can crash nothing else. No other process decodes a video: the bot itself reads a
file's layout (`video_layout.py`), nothing more.
"""

import asyncio
import errno
import os
import signal
import sys
from asyncio.subprocess import DEVNULL
from contextlib import nullcontext
from enum import IntEnum
from pathlib import Path

import av

from bot.domain.errors import ZoetropeError
from bot.media import sandbox, video_encoder
from bot.media.video_layout import plays_inline

_ATTEMPTS = 4
_TARGET_SHARE = 0.92  # of the limit; the rest is for the container and for rate control's errors
_CPU_S, _WALL_S = 600, 1200
_GRACE_S = 5.0
_MEMORY_BYTES = 2 << 30
"""Five seconds of 1080p noise, more than any model makes, take 32 s of a core and 350 MB."""

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
    return await asyncio.to_thread(_is_postable, video, limit_bytes)


async def make_postable(
    source: Path,
    target: Path,
    limit_bytes: int,
    *,
    slots: asyncio.Semaphore | None = None,
    timeout_s: float = _WALL_S + _GRACE_S,
) -> Path:
    """Returns `source` if it can be posted as it is, else `target`, written as an H.264 MP4 within the limit.

    slots: limits how many processes work at once. Cancelling ends the process. timeout_s: the process ends
    itself a little sooner, unless it was stopped or taken over. Raises: VideoIncomplete; VideoUnusable; OSError if
    the disk is full, or the process did not start, was killed from outside or took too long.
    """
    if await is_postable(source, limit_bytes):
        return source
    async with slots or nullcontext():
        await _transcode(source, target, limit_bytes, timeout_s)
    return target


async def _transcode(source: Path, target: Path, limit_bytes: int, timeout_s: float) -> None:
    arguments = str(source), str(target), str(limit_bytes)
    process = await sandbox.start("bot.media.transcode", *arguments, stdin=DEVNULL, stdout=DEVNULL)
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


def _is_postable(video: Path, limit_bytes: int) -> bool:
    return plays_inline(video) and video.stat().st_size <= limit_bytes


def convert(source: Path, target: Path, limit_bytes: int) -> None:
    """Writes an H.264 MP4 of at most `limit_bytes` to `target`; takes seconds of a core if it has to encode.

    Raises: VideoUnusable; OSError if the disk is full.
    """
    source_bytes = source.stat().st_size
    try:
        if (
            source_bytes <= limit_bytes
            and video_encoder.remux(source, target)
            and _is_postable(target, limit_bytes)
        ):
            return
        _encode_to_limit(source, target, limit_bytes, needs_fewer_bytes=source_bytes > limit_bytes)
    except (av.FFmpegError, MemoryError, ValueError, StopIteration, IndexError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise  # not the video's fault: worth another try later
        raise VideoUnusable(f"the video can't be read: {error}") from error


def main(source: str, target: str, limit_bytes: str) -> ExitCode:
    """Runs in the sandboxed process; writes errors to standard error."""
    try:
        convert(Path(source), Path(target), int(limit_bytes))
    except (VideoUnusable, OSError) as error:
        sys.stderr.write(str(error))
        if isinstance(error, VideoTooLarge):
            return ExitCode.VIDEO_TOO_LARGE
        is_disk_full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        return ExitCode.DISK_FULL if is_disk_full else ExitCode.VIDEO_UNUSABLE
    return ExitCode.OK


def _encode_to_limit(source: Path, target: Path, limit_bytes: int, *, needs_fewer_bytes: bool) -> None:
    facts = video_encoder.inspect(source)
    share = _TARGET_SHARE
    for _ in range(_ATTEMPTS):
        video_encoder.encode(source, target, facts, limit_bytes * share, uses_all=needs_fewer_bytes)
        size_bytes = target.stat().st_size
        if size_bytes <= limit_bytes:
            return
        # Rate control overshoots most on short videos: aim lower by the excess, and a little more.
        share *= 0.9 * limit_bytes / size_bytes
    raise VideoTooLarge(f"the video can't be made to fit {limit_bytes} bytes")


def limits(source: Path, target: Path, limit_bytes: int) -> sandbox.ResourceLimits:
    """What a transcoding process may use."""
    return sandbox.ResourceLimits(
        memory_bytes=_MEMORY_BYTES,
        cpu_s=_CPU_S,
        wall_s=_WALL_S,
        # A first attempt may overshoot, but hardly ever to twice the limit; nor is a copy twice the original.
        max_file_bytes=2 * max(source.stat().st_size, limit_bytes),
        readable=(source, Path(av.__file__).parents[1]),  # PyAV loads some of its modules late
        writable=(target,),
    )


if __name__ == "__main__":
    sandbox.confine(limits(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])), parent_pid=int(sys.argv[1]))
    sys.exit(main(*sys.argv[2:]))
