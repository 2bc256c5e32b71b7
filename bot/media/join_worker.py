"""A process that joins two videos, or takes a video's last frame; `bot.media.joining` starts it.

`python -m bot.media.join_worker PARENT_PID TARGET LIMIT_BYTES FIRST [SECOND]`. Without a second video, the target
is the last frame of the first one.
"""

import sys
from functools import partial
from pathlib import Path

from bot.media import sandbox, video_join
from bot.media.last_frame import save_last_frame
from bot.media.transcode import ExitCode, VideoTooLarge, is_postable_as_is
from bot.media.transcode_worker import encode_to_limit, exit_code_of, limits, read_errors


def join(first: Path, second: Path, target: Path, limit_bytes: int) -> None:
    """Writes one H.264 MP4 of at most `limit_bytes` to `target`. Raises: VideoUnusable; OSError on a full disk."""
    with read_errors():
        parts = video_join.inspect_parts(first, second)
        both_bytes = first.stat().st_size + second.stat().st_size
        if both_bytes <= limit_bytes and video_join.copy(parts, target) and is_postable_as_is(target, limit_bytes):
            return
        encode = partial(video_join.encode, parts, target)
        encode_to_limit(encode, target, limit_bytes, needs_fewer_bytes=both_bytes > limit_bytes)


def take_last_frame(video: Path, target: Path, limit_bytes: int) -> None:
    """Writes the last frame as a PNG. Raises: VideoUnusable; OSError on a full disk."""
    with read_errors():
        save_last_frame(video, target)
    if target.stat().st_size > limit_bytes:
        raise VideoTooLarge(f"the last frame doesn't fit {limit_bytes} bytes")


def main(target: str, limit_bytes: str, first: str, second: str | None = None) -> ExitCode:
    """Runs in the sandboxed process."""
    if second is None:
        return exit_code_of(lambda: take_last_frame(Path(first), Path(target), int(limit_bytes)))
    return exit_code_of(lambda: join(Path(first), Path(second), Path(target), int(limit_bytes)))


if __name__ == "__main__":
    sandbox.confine(
        limits([Path(video) for video in sys.argv[4:]], Path(sys.argv[2]), int(sys.argv[3])),
        parent_pid=int(sys.argv[1]),
    )
    sys.exit(main(*sys.argv[2:]))
