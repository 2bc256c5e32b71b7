"""Encodes frames as H.264: scaled, upright, in limited range, at the times that they have.

Only sandboxed processes may call this.
"""

from collections.abc import Sequence
from fractions import Fraction

import av
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange

from bot.media.video_geometry import is_sideways, scaled_size
from bot.media.video_source import MATRIX_NAMES, THREADS, Colours, VideoFacts

_MIN_BITS_PER_S, _MAX_BITS_PER_S = 20_000, 200_000_000  # libx264 takes no more than 31 bits
_CRF = "18"  # of what needn't be smaller: the usual value for no visible difference
_MIN_SHARE = Fraction(9, 10)
"""Of frames and time that must be left if some can't be decoded. A tenth of 5 seconds is a hitch, more a gap."""


def bits_per_s_for(budget_bytes: float, seconds: float) -> int:
    """The bit rate of frames that take so many bytes in all."""
    return min(max(int(budget_bytes * 8 / seconds), _MIN_BITS_PER_S), _MAX_BITS_PER_S)


class FrameEncoder:
    """Scales, turns and encodes frames, at the times that they have.

    shown: what all of the result shows, and the source of the first frames. time_base: of the result.
    """

    def __init__(
        self,
        writer: OutputContainer,
        shown: VideoFacts,
        time_base: Fraction,
        bits_per_s: int,
        *,
        uses_all: bool,
    ) -> None:
        self._writer, self._shown, self._source = writer, shown, shown
        self._width, self._height = scaled_size(shown.width, shown.height, bits_per_s / float(shown.rate))
        self._time_base, self._shift = time_base, Fraction(0)
        self._stream = writer.add_stream("libx264", rate=shown.rate)
        self._stream.width, self._stream.height, self._stream.pix_fmt = self._width, self._height, "yuv420p"
        self._stream.codec_context.time_base = self._time_base
        self._stream.thread_count = THREADS
        # Without this flag, the last frame would be shown as long as the average one.
        self._stream.codec_context.flags |= Flags.frame_duration
        rate_control = {"b": str(bits_per_s)} if uses_all else {"crf": _CRF}
        # FFmpeg ends an MP4 when its last frame is decoded: with B-frames, perhaps long before it is shown.
        b_frames = {} if shown.is_steady else {"bf": "0"}
        maximum = {"maxrate": str(bits_per_s), "bufsize": str(bits_per_s)}
        self._stream.options = {"preset": "fast", **rate_control, **maximum, **b_frames}
        target = self._stream.codec_context
        target.color_range = ColorRange.MPEG
        target.color_primaries, target.color_trc, target.colorspace = shown.colours
        self._graph: av.filter.Graph | None = None
        self._count, self._of_source, self._last_tick = 0, 0, -(1 << 62)
        self._first_tick = self._end_tick = 0
        self._is_damaged = False

    @property
    def end_s(self) -> Fraction:
        """When the last frame so far ends."""
        return self._end_tick * self._time_base

    def continue_with(self, source: VideoFacts, shift: Fraction) -> None:
        """From now on the frames are another video's, and are shown so many seconds later than they say."""
        self._source, self._shift, self._graph, self._of_source = source, shift, None, 0

    def write(self, frames: Sequence[VideoFrame] | None) -> None:
        """Encodes the frames of a packet; None if it couldn't be decoded."""
        self._is_damaged = self._is_damaged or frames is None
        for frame in frames or ():
            self._write(frame)

    def _write(self, frame: VideoFrame) -> None:
        """Encodes one frame. Where several fall into one tick, the later ones move on by a tick."""
        self._set_times(frame)
        if self._graph is None:
            self._graph = self._new_graph(frame)
        self._graph.push(frame)
        shown = self._graph.pull()
        assert isinstance(shown, VideoFrame)  # noqa: S101 - the graph has no sound
        shown.pts = self._last_tick = max(shown.pts or 0, self._last_tick + 1)
        self._first_tick = shown.pts if not self._count else self._first_tick
        self._end_tick = shown.pts + (frame.duration or 0)
        self._count += 1
        self._of_source += 1
        self._writer.mux(self._stream.encode(shown))

    def _set_times(self, frame: VideoFrame) -> None:
        """Puts a frame's times onto the result's clock."""
        base = frame.time_base or self._time_base
        if frame.pts is None:  # an elementary stream has no timestamps
            frame.pts = round((self._of_source / self._source.rate + self._shift) / self._time_base)
        elif base != self._time_base or self._shift:
            frame.pts = round((frame.pts * base + self._shift) / self._time_base)
            frame.duration = round((frame.duration or 0) * base / self._time_base)
        frame.time_base = self._time_base

    def finish(self) -> None:
        """Writes the frames that the encoder still holds. Raises: ValueError if too few could be decoded."""
        shown_s = (self._end_tick - self._first_tick) * self._time_base
        is_short = shown_s < _MIN_SHARE * self._shown.duration_s
        if self._is_damaged and (self._count < _MIN_SHARE * self._shown.frame_count or is_short):
            raise ValueError(f"only {self._count} of {self._shown.frame_count} frames can be decoded")
        self._writer.mux(self._stream.encode(None))

    def _new_graph(self, frame: VideoFrame) -> av.filter.Graph:
        """Filters that yield one frame for each. Later frames may differ from this one: `scale` adapts."""
        width, height = self._width, self._height
        if is_sideways(self._source.turn):
            width, height = height, width
        scale = {"width": str(width), "height": str(height), "out_range": "limited"}
        scale |= colour_options(self._source, self._shown.colours)
        source = {
            "width": str(frame.width),
            "height": str(frame.height),
            "pix_fmt": frame.format.name,
            "time_base": str(self._time_base),
            "colorspace": str(int(frame.colorspace)),
            "range": str(int(frame.color_range)),
        }
        graph = av.filter.Graph()
        steps = [
            graph.add("buffer", **source),
            graph.add("scale", **scale),
            *(graph.add(*step.split("=")) for step in self._source.turn),
            graph.add("format", "yuv420p"),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*steps).configure()
        return graph


def colour_options(source: VideoFacts, colours: Colours) -> dict[str, str]:
    """What the filter `scale` needs to show a source's frames in these colours."""
    options = {}
    if source.is_hdr or source.is_rgb or source.colours != colours:
        options["out_color_matrix"] = MATRIX_NAMES.get(colours[2], "bt709")
    if source.is_hdr:
        return options | {"out_primaries": "bt709", "out_transfer": "bt709"}
    if source.colours != colours and not source.is_rgb:
        options["in_color_matrix"] = MATRIX_NAMES.get(source.colours[2], "bt709")
    return options
