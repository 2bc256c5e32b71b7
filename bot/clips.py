"""Makes a finished video fit the channel's upload limit.

Most videos fit as they are and stay untouched. One that doesn't is encoded again at the bit rate that the
limit leaves, smaller in size where that would look better. Pure but for the files; slow: run it in a thread.
"""

import errno
import math
from fractions import Fraction
from pathlib import Path

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from bot.errors import ZoetropeError

_ATTEMPTS = 4
_HEADROOM = 0.92
"""The share of the limit to aim at: the container and the encoder's rate control take some."""
_MIN_BITS_PER_PIXEL = 0.04
"""Below this, H.264 at these sizes shows blocks: fewer pixels look better than worse ones."""


class ClipUnfit(ZoetropeError):
    """The file is no video that can be read, or can't be made small enough."""


def fit(source: Path, to: Path, limit_bytes: int) -> Path:
    """`source` itself where it fits `limit_bytes`, else a smaller H.264 MP4 written to `to`.

    Raises: ClipUnfit; OSError where the disk is full.
    """
    if source.stat().st_size <= limit_bytes:
        return source
    share = _HEADROOM
    for _ in range(_ATTEMPTS):
        try:
            _encode(source, to, limit_bytes * share)
        except (av.FFmpegError, ValueError, StopIteration, IndexError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise  # the disk's fault, not the video's: try again later
            raise ClipUnfit(f"the video can't be read: {error}") from error
        size = to.stat().st_size
        if size <= limit_bytes:
            return to
        # Rate control overshoots most on short clips; aim lower by what it was over, and a little more.
        share *= 0.9 * limit_bytes / size
    raise ClipUnfit(f"the video can't be made to fit {limit_bytes} bytes")


def _encode(source: Path, to: Path, budget_bytes: float) -> None:
    with (
        av.open(str(source)) as video,
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
    with av.open(str(source)) as again:
        packets = again.demux(again.streams.video[0])
        return float(sum((packet.duration or 0) * packet.time_base for packet in packets))


def _size(width: int, height: int, bits_per_frame: float) -> tuple[int, int]:
    """Even sides of the same aspect, with no more pixels than the bits can fill."""
    if not width or not height:
        raise ValueError("no picture size")
    scale = min(1.0, math.sqrt(bits_per_frame / _MIN_BITS_PER_PIXEL / (width * height)))
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)
