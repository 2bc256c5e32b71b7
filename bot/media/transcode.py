"""Makes a video small enough for the channel's upload limit.

Most already are. Others are encoded again at the bit rate that the limit allows, with fewer pixels where that
looks better, in a sandboxed process: `python -m bot.media.transcode PARENT_PID SOURCE TARGET LIMIT_BYTES`. It can
be cancelled, and a hostile file can crash nothing else. No other process opens a video.
"""

import asyncio
import errno
import math
import os
import signal
import sys
from asyncio.subprocess import DEVNULL
from enum import IntEnum
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from bot.domain.errors import ZoetropeError
from bot.media import sandbox

_ATTEMPTS = 4
_TARGET_SHARE = 0.92  # of the limit; the rest is for the container and for rate control's errors
_MIN_BITS_PER_PIXEL = 0.04  # below this, H.264 shows blocks at these sizes, and fewer pixels look better
_THREADS = 4  # of the decoder and of the encoder; more take memory per core and gain little at these sizes

_CPU_S, _WALL_S = 600, 1200
_MEMORY_BYTES = 2 << 30
"""Five seconds of 1080p noise, more than any model makes, take 32 s of a core and 350 MB."""

_INPUT_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,h264,hevc,gif,flv",
}
"""FFmpeg detects the format by content: a playlist named like a video would make it read other files and URLs."""

_CRASH_SIGNALS = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGXCPU}
"""Signals that the video itself caused, by a crash or by using up the CPU time."""


class ExitCode(IntEnum):
    """Exit codes of the transcoding process."""

    OK = 0
    VIDEO_UNUSABLE = 3
    DISK_FULL = 4


class VideoUnusable(ZoetropeError):
    """The file is not a readable video, or can't be made small enough."""


async def is_within_limit(source: Path, limit_bytes: int) -> bool:
    """Whether the file is already small enough."""
    return (await asyncio.to_thread(source.stat)).st_size <= limit_bytes


async def transcode_to_limit(source: Path, target: Path, limit_bytes: int) -> Path:
    """Returns `source` if it is small enough, else `target`, written as a smaller H.264 MP4.

    Cancelling ends the process. Raises: VideoUnusable; OSError if the disk is full or the process did not start or
    was killed from outside.
    """
    if await is_within_limit(source, limit_bytes):
        return source
    arguments = str(source), str(target), str(limit_bytes)
    process = await sandbox.start("bot.media.transcode", *arguments, stdin=DEVNULL, stdout=DEVNULL)
    try:
        _, stderr = await process.communicate()
    finally:
        sandbox.kill(process)
        await process.wait()
    message = stderr.decode(errors="replace").strip()[-300:]
    match process.returncode:
        case ExitCode.OK:
            return target
        case ExitCode.DISK_FULL:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        case ExitCode.VIDEO_UNUSABLE:
            raise VideoUnusable(message)
        case int(code) if -code in _CRASH_SIGNALS:
            raise VideoUnusable(f"the video crashed the encoder ({code})")
        case code:  # killed from outside, or not started: says nothing about the video
            raise OSError(f"the encoder exited with {code}: {message}")


def encode_to_limit(source: Path, target: Path, limit_bytes: int) -> None:
    """Writes a smaller H.264 MP4 to `target`; takes seconds of a core.

    Raises: VideoUnusable; OSError if the disk is full.
    """
    share = _TARGET_SHARE
    for _ in range(_ATTEMPTS):
        try:
            _encode(source, target, limit_bytes * share)
        except (av.FFmpegError, MemoryError, ValueError, StopIteration, IndexError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise  # not the video's fault: worth another try later
            raise VideoUnusable(f"the video can't be read: {error}") from error
        size_bytes = target.stat().st_size
        if size_bytes <= limit_bytes:
            return
        # Rate control overshoots most on short videos: aim lower by the excess, and a little more.
        share *= 0.9 * limit_bytes / size_bytes
    raise VideoUnusable(f"the video can't be made to fit {limit_bytes} bytes")


def main(source: str, target: str, limit_bytes: str) -> ExitCode:
    """Runs in the sandboxed process; writes errors to standard error."""
    try:
        encode_to_limit(Path(source), Path(target), int(limit_bytes))
    except (VideoUnusable, OSError) as error:
        sys.stderr.write(str(error))
        is_disk_full = isinstance(error, OSError) and error.errno == errno.ENOSPC
        return ExitCode.DISK_FULL if is_disk_full else ExitCode.VIDEO_UNUSABLE
    return ExitCode.OK


def _encode(source: Path, target: Path, budget_bytes: float) -> None:
    with (
        av.open(str(source), options=_INPUT_OPTIONS) as reader,
        av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"}) as writer,
    ):
        decoded = reader.streams.video[0]
        rate = decoded.guessed_rate or decoded.average_rate or Fraction(30)
        bits_per_s = max(20_000, int(budget_bytes * 8 / max(0.5, _duration_s(source, reader, decoded))))
        width, height = _scaled_size(decoded.codec_context, bits_per_s / float(rate))
        encoded = writer.add_stream("libx264", rate=rate)
        encoded.width, encoded.height, encoded.pix_fmt = width, height, "yuv420p"
        encoded.bit_rate = bits_per_s
        decoded.thread_count = encoded.thread_count = _THREADS
        encoded.options = {"preset": "fast", "maxrate": str(bits_per_s), "bufsize": str(bits_per_s)}
        for index, frame in enumerate(reader.decode(decoded)):
            scaled = frame.reformat(width=width, height=height, format="yuv420p")
            if scaled.pts is None:  # an elementary stream has no timestamps
                scaled.pts, scaled.time_base = index, 1 / rate
            writer.mux(encoded.encode(scaled))
        writer.mux(encoded.encode(None))


def _duration_s(source: Path, reader: InputContainer, stream: VideoStream) -> float:
    if stream.duration and stream.time_base:
        return float(stream.duration * stream.time_base)
    if reader.duration:
        return reader.duration / av.time_base
    # A streamed file has no duration in its header: sum up the packets' in a second pass, without decoding.
    with av.open(str(source), options=_INPUT_OPTIONS) as second_reader:
        packets = second_reader.demux(second_reader.streams.video[0])
        return float(sum((packet.duration or 0) * packet.time_base for packet in packets))


def _scaled_size(codec: av.VideoCodecContext, bits_per_frame: float) -> tuple[int, int]:
    """Even sides of the same aspect ratio, with no more pixels than the bits allow."""
    if not codec.width or not codec.height:
        raise ValueError("no picture size")
    scale = min(1.0, math.sqrt(bits_per_frame / _MIN_BITS_PER_PIXEL / (codec.width * codec.height)))
    return max(2, int(codec.width * scale) // 2 * 2), max(2, int(codec.height * scale) // 2 * 2)


if __name__ == "__main__":
    # A first attempt may overshoot, but hardly ever to twice the original.
    max_file_bytes = 2 * Path(sys.argv[2]).stat().st_size
    limits = sandbox.ResourceLimits(_MEMORY_BYTES, _CPU_S, _WALL_S, max_file_bytes, can_open_files=True)
    sandbox.confine(limits, parent_pid=int(sys.argv[1]))
    sys.exit(main(*sys.argv[2:]))
