"""A process that converts one video: `python -m bot.media.transcode_worker PARENT_PID SOURCE TARGET LIMIT_BYTES`.

`bot.media.transcode` starts it and reads its exit code. Only here and in `video_encoder.py` PyAV opens a video.
"""

import errno
import sys
from pathlib import Path

import av

from bot.media import sandbox, video_encoder
from bot.media.transcode import WALL_S, ExitCode, VideoTooLarge, VideoUnusable, is_postable_as_is

_ATTEMPTS = 4
_TARGET_SHARE = 0.92  # of the limit; the rest is for the container and for rate control's errors
_CPU_S = 600
_MEMORY_BYTES = 2 << 30
"""Five seconds of 1080p noise, more than any model makes, take 32 s of a core and 350 MB."""


def convert(source: Path, target: Path, limit_bytes: int) -> None:
    """Writes an H.264 MP4 of at most `limit_bytes` to `target`; takes seconds of a core if it has to encode.

    Raises: VideoUnusable; OSError if the disk is full.
    """
    source_bytes = source.stat().st_size
    try:
        if (
            source_bytes <= limit_bytes
            and video_encoder.remux(source, target)
            and is_postable_as_is(target, limit_bytes)
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
        wall_s=WALL_S,
        # A first attempt may overshoot, but hardly ever to twice the limit; nor is a copy twice the original.
        max_file_bytes=2 * max(source.stat().st_size, limit_bytes),
        readable=(source, Path(av.__file__).parents[1]),  # PyAV loads some of its modules late
        writable=(target,),
    )


if __name__ == "__main__":
    sandbox.confine(limits(Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])), parent_pid=int(sys.argv[1]))
    sys.exit(main(*sys.argv[2:]))
