"""Takes a video's last frame, and joins it with the video that goes on from there, in sandboxed processes.

See `join_worker.py`; as in `transcode.py`, no other process opens a video.
"""

import asyncio
from contextlib import nullcontext
from pathlib import Path

from bot.media.prepared_frame import MAX_INPUT_BYTES
from bot.media.transcode import run_worker

_WORKER = "bot.media.join_worker"
_FRAME_TIMEOUT_S = 120.0


async def last_frame(video: Path, target: Path, *, timeout_s: float = _FRAME_TIMEOUT_S) -> bytes:
    """The frame that is shown last, as a PNG, which is left in `target`.

    Cancelling ends the process. Raises: VideoUnusable; OSError if the disk is full, or the process did not start,
    was killed from outside or took too long.
    """
    await run_worker(_WORKER, target, MAX_INPUT_BYTES, video, timeout_s=timeout_s)
    return await asyncio.to_thread(target.read_bytes)


async def join(
    first: Path, second: Path, target: Path, limit_bytes: int, *, slots: asyncio.Semaphore | None = None
) -> Path:
    """Writes both as one H.264 MP4 within the limit to `target`; it has sound if one of them has.

    The frame in which the second repeats the first one's last is left out. slots: limits how many processes work
    at once. Cancelling ends the process. Raises: VideoUnusable, VideoTooLarge; OSError as for `last_frame`.
    """
    async with slots or nullcontext():
        await run_worker(_WORKER, target, limit_bytes, first, second)
    return target
