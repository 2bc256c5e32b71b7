"""A process that converts one video: `python -m bot.media.transcode_worker PARENT_PID SOURCE TARGET LIMIT_BYTES`.

`bot.media.transcode` starts it and reads its exit code. PyAV opens a video only in this process and in that of
`join_worker.py`.
"""

import errno
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

import av

from bot.media import sandbox, video_encoder
from bot.media.transcode import WALL_S, ExitCode, VideoTooLarge, VideoUnusable, is_postable_as_is
from bot.media.video_source import inspect

_ATTEMPTS = 4
_TARGET_SHARE = 0.92  # of the limit; the rest is for the container and for rate control's errors
_CPU_S = 600
_MEMORY_BYTES = 2 << 30
"""Five seconds of 1080p noise, more than any model makes, take 32 s of a core and 350 MB."""


def convert(source: Path, target: Path, limit_bytes: int) -> None:
    """Writes an H.264 MP4 of at most `limit_bytes` to `target`; takes seconds of a core if it has to encode.

    Raises: VideoUnusable; OSError if the disk is full.
    """
    with read_errors():
        source_bytes = source.stat().st_size
        if (
            source_bytes <= limit_bytes
            and video_encoder.remux(source, target)
            and is_postable_as_is(target, limit_bytes)
        ):
            return
        encode = partial(video_encoder.encode, source, target, inspect(source))
        encode_to_limit(encode, target, limit_bytes, needs_fewer_bytes=source_bytes > limit_bytes)


@contextmanager
def read_errors() -> Iterator[None]:
    """Turns what reading a video raises into VideoUnusable, and lets through what isn't the video's fault."""
    try:
        yield
    except (av.FFmpegError, MemoryError, ValueError, StopIteration, IndexError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise  # not the video's fault: worth another try later
        raise VideoUnusable(f"the video can't be read: {error}") from error


def exit_code_of(work: Callable[[], None]) -> ExitCode:
    """Does the work of a sandboxed process; writes errors to standard error."""
    try:
        work()
    except (VideoUnusable, OSError) as error:
        sys.stderr.write(str(error))
        if isinstance(error, VideoTooLarge):
            return ExitCode.VIDEO_TOO_LARGE
        is_disk_full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        return ExitCode.DISK_FULL if is_disk_full else ExitCode.VIDEO_UNUSABLE
    return ExitCode.OK


def main(source: str, target: str, limit_bytes: str) -> ExitCode:
    """Runs in the sandboxed process."""
    return exit_code_of(lambda: convert(Path(source), Path(target), int(limit_bytes)))


class Encode(Protocol):
    """Encodes a video."""

    def __call__(self, budget_bytes: float, *, uses_all: bool) -> None:
        """Into about so many bytes, or into less where the picture needs no more, unless `uses_all`."""


def encode_to_limit(encode: Encode, target: Path, limit_bytes: int, *, needs_fewer_bytes: bool) -> None:
    """Encodes until the file is small enough. Raises: VideoTooLarge."""
    share = _TARGET_SHARE
    for _ in range(_ATTEMPTS):
        encode(limit_bytes * share, uses_all=needs_fewer_bytes)
        size_bytes = target.stat().st_size
        if size_bytes <= limit_bytes:
            return
        # Rate control overshoots most on short videos: aim lower by the excess, and a little more.
        share *= 0.9 * limit_bytes / size_bytes
    raise VideoTooLarge(f"the video can't be made to fit {limit_bytes} bytes")


def limits(sources: Sequence[Path], target: Path, limit_bytes: int) -> sandbox.ResourceLimits:
    """What a process that works on videos may use."""
    return sandbox.ResourceLimits(
        memory_bytes=_MEMORY_BYTES,
        cpu_s=_CPU_S,
        wall_s=WALL_S,
        # A first attempt may overshoot, but hardly ever to twice the limit; nor is a copy twice the original.
        max_file_bytes=2 * max(sum(source.stat().st_size for source in sources), limit_bytes),
        readable=(*sources, Path(av.__file__).parents[1]),  # PyAV loads some of its modules late
        writable=(target,),
    )


if __name__ == "__main__":
    sandbox.confine(limits([Path(sys.argv[2])], Path(sys.argv[3]), int(sys.argv[4])), parent_pid=int(sys.argv[1]))
    sys.exit(main(*sys.argv[2:]))
