"""Takes the last frame of a video, as a picture. Only the sandboxed process of `join_worker.py` may call this."""

from fractions import Fraction
from pathlib import Path

import av
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from bot.domain.models import PictureLimits
from bot.media.frame_encoder import colour_options
from bot.media.video_geometry import is_sideways
from bot.media.video_source import MATRIX_NAMES, VideoFacts, decoded, inspect, open_source, packets_of, video_of

_MAX_SIDE = PictureLimits().side_max_px  # more would be scaled down all the same
_BT709 = (1, 1, 1)
_EXACT = "bicubic+accurate_rnd+full_chroma_int+full_chroma_inp"
"""swscale's flags against the errors that it usually allows itself."""


def save_last_frame(source: Path, target: Path) -> None:
    """Writes the frame that is shown last as a PNG: upright, in square pixels, in the colours that players show.

    All frames are decoded: where a video is searched for, its last keyframe may be found instead, and its header
    may be wrong about where it ends. Raises: av.FFmpegError, ValueError.
    """
    facts = inspect(source)
    last: VideoFrame | None = None
    with open_source(source) as reader:
        video = video_of(reader)
        for packet in packets_of(reader, [video]):
            for frame in decoded(video.decode, packet) or ():
                if last is None or frame.pts is None or last.pts is None or frame.pts >= last.pts:
                    last = frame
    if last is None:
        raise ValueError("it has no frame")
    target.write_bytes(_png(_shown(last, facts)))


def _shown(frame: VideoFrame, facts: VideoFacts) -> VideoFrame:
    scale = min(1.0, _MAX_SIDE / max(facts.width, facts.height))
    width, height = max(1, round(facts.width * scale)), max(1, round(facts.height * scale))
    if is_sideways(facts.turn):
        width, height = height, width
    options = {"width": str(width), "height": str(height), "out_range": "full", "flags": _EXACT}
    if facts.is_hdr:
        options |= colour_options(facts, _BT709)
    elif not facts.is_rgb:
        options["in_color_matrix"] = MATRIX_NAMES.get(facts.colours[2], "bt709")
    source = {
        "width": str(frame.width),
        "height": str(frame.height),
        "pix_fmt": frame.format.name,
        "time_base": "1/1",
        "colorspace": str(int(frame.colorspace)),
        "range": str(int(frame.color_range)),
    }
    graph = av.filter.Graph()
    steps = [
        graph.add("buffer", **source),
        graph.add("scale", **options),
        *(graph.add(*step.split("=")) for step in facts.turn),
        graph.add("format", "rgb24"),
        # Or the PNG would say that it has the video's transfer function, which players treat as sRGB's.
        graph.add("setparams", color_primaries="unknown", color_trc="unknown"),
        graph.add("buffersink"),
    ]
    graph.link_nodes(*steps).configure()
    frame.pts = 0
    graph.push(frame)
    shown = graph.pull()
    assert isinstance(shown, VideoFrame)  # noqa: S101 - the graph has no sound
    return shown


def _png(picture: VideoFrame) -> bytes:
    encoder = av.CodecContext.create("png", "w")
    assert isinstance(encoder, VideoCodecContext)  # noqa: S101 - PNG is a video codec to FFmpeg
    encoder.width, encoder.height, encoder.pix_fmt = picture.width, picture.height, "rgb24"
    encoder.time_base = Fraction(1)
    return b"".join(bytes(packet) for packet in (*encoder.encode(picture), *encoder.encode(None)))
