"""Makes a finished video fit the channel's upload limit.

Most videos fit as they are and stay untouched. One that doesn't is encoded again at the bit rate that the
limit leaves, smaller in size where that would look better. That happens in a process of its own, which can be
stopped at any moment and whose crash on a hostile file hurts nobody: `python -m bot.media.transcode PARENT
SOURCE TO LIMIT`.
No other process opens a video.
"""

import asyncio
import contextlib
import errno
import math
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE
from enum import IntEnum
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from bot.domain.errors import ZoetropeError
from bot.media.sandbox import Limits, command, confine, environment

_ATTEMPTS = 4
_HEADROOM = 0.92
"""The share of the limit to aim at: the container and the encoder's rate control take some."""
_MIN_BITS_PER_PIXEL = 0.04
"""Below this, H.264 at these sizes shows blocks: fewer pixels look better than worse ones."""

_THREADS = 4
"""Of the decoder and of the encoder: more take memory by the core and gain little at these sizes."""

_CPU_S, _WALL_S = 600, 1200
_DATA_BYTES = 2 << 30
"""Five seconds of noise in 1080p, more than any model makes, take 32 s of a core and 350 MB."""

_OPENED_AS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,h264,hevc,gif,flv",
}
"""FFmpeg goes by the content: a playlist under a video's name would have it read other files and addresses."""

_CRASHES = frozenset(
    -number
    for number in (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGXCPU)
)
"""Exit codes of a process that the video itself took down, or kept busy for too long."""


class Ending(IntEnum):
    """How the encoding process ended, as its exit code."""

    WELL = 0
    UNFIT = 3
    DISK_FULL = 4


class ClipUnfit(ZoetropeError):
    """The file is no video that can be read, or can't be made small enough."""


async def fits(source: Path, limit_bytes: int) -> bool:
    """Whether the file is small enough as it is."""
    return (await asyncio.to_thread(source.stat)).st_size <= limit_bytes


async def fit(source: Path, to: Path, limit_bytes: int) -> Path:
    """`source` itself where it fits `limit_bytes`, else a smaller H.264 MP4 written to `to`.

    Cancelling it ends the encoding. Raises: ClipUnfit; OSError where the disk is full, or the encoder did not
    start or was stopped from outside.
    """
    if await fits(source, limit_bytes):
        return source
    line = command("bot.media.transcode", str(source), str(to), str(limit_bytes))
    process = await asyncio.create_subprocess_exec(
        *line, stdin=DEVNULL, stdout=DEVNULL, stderr=PIPE, env=environment(), start_new_session=True
    )
    try:
        _, said = await process.communicate()
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    match process.returncode:
        case 0:
            return to
        case Ending.DISK_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case Ending.UNFIT:
            raise ClipUnfit(said.decode(errors="replace").strip()[-300:])
        case code if code in _CRASHES:
            raise ClipUnfit(f"the encoder crashed over it ({code})")
        case code:  # stopped from outside, or never started: no verdict on the video
            raise OSError(f"the encoder ended with {code}: {said.decode(errors='replace').strip()[-300:]}")


def encode_to_fit(source: Path, to: Path, limit_bytes: int) -> None:
    """Writes a smaller H.264 MP4 that fits to `to`. Takes seconds of a core.

    Raises: ClipUnfit; OSError where the disk is full.
    """
    share = _HEADROOM
    for _ in range(_ATTEMPTS):
        try:
            _encode(source, to, limit_bytes * share)
        except (av.FFmpegError, MemoryError, ValueError, StopIteration, IndexError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise  # the disk's fault, not the video's: try again later
            raise ClipUnfit(f"the video can't be read: {error}") from error
        size = to.stat().st_size
        if size <= limit_bytes:
            return
        # Rate control overshoots most on short clips; aim lower by what it was over, and a little more.
        share *= 0.9 * limit_bytes / size
    raise ClipUnfit(f"the video can't be made to fit {limit_bytes} bytes")


def main(arguments: list[str]) -> Ending:
    """What the process does, confined: source, target and limit; how it ended."""
    source, to, limit_bytes = arguments
    try:
        encode_to_fit(Path(source), Path(to), int(limit_bytes))
    except ClipUnfit as error:
        sys.stderr.write(str(error))
        return Ending.UNFIT
    except OSError as error:
        sys.stderr.write(str(error))
        return Ending.DISK_FULL if error.errno == errno.ENOSPC else Ending.UNFIT
    return Ending.WELL


def _encode(source: Path, to: Path, budget_bytes: float) -> None:
    with (
        av.open(str(source), options=_OPENED_AS) as video,
        av.open(str(to), "w", format="mp4", options={"movflags": "+faststart"}) as out,
    ):
        given = video.streams.video[0]
        rate = given.guessed_rate or given.average_rate or Fraction(30)
        seconds = max(0.5, _seconds(source, video, given))
        bits_per_s = max(20_000, int(budget_bytes * 8 / seconds))
        width, height = _size(given.codec_context.width, given.codec_context.height, bits_per_s / float(rate))
        made = out.add_stream("libx264", rate=rate)
        made.width, made.height, made.pix_fmt = width, height, "yuv420p"
        made.bit_rate = bits_per_s
        given.thread_count = made.thread_count = _THREADS
        made.options = {"preset": "fast", "maxrate": str(bits_per_s), "bufsize": str(bits_per_s)}
        for index, frame in enumerate(video.decode(given)):
            scaled = frame.reformat(width=width, height=height, format="yuv420p")
            if scaled.pts is None:  # a bare stream without a container's times
                scaled.pts, scaled.time_base = index, 1 / rate
            out.mux(made.encode(scaled))
        out.mux(made.encode(None))


def _seconds(source: Path, video: InputContainer, stream: VideoStream) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if video.duration:
        return video.duration / av.time_base
    # The header does not say, as in a video that was streamed: count, in a second pass that decodes nothing.
    with av.open(str(source), options=_OPENED_AS) as again:
        packets = again.demux(again.streams.video[0])
        return float(sum((packet.duration or 0) * packet.time_base for packet in packets))


def _size(width: int, height: int, bits_per_frame: float) -> tuple[int, int]:
    """Even sides of the same aspect, with no more pixels than the bits can fill."""
    if not width or not height:
        raise ValueError("no picture size")
    scale = min(1.0, math.sqrt(bits_per_frame / _MIN_BITS_PER_PIXEL / (width * height)))
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)


def _limits(source: Path) -> Limits:
    # A smaller copy is smaller; the first attempt may overshoot.
    file_bytes = 2 * source.stat().st_size
    return Limits(_DATA_BYTES, cpu_s=_CPU_S, wall_s=_WALL_S, file_bytes=file_bytes, opens_files=True)


if __name__ == "__main__":
    confine(_limits(Path(sys.argv[2])), parent=int(sys.argv[1]))
    sys.exit(main(sys.argv[2:]))
