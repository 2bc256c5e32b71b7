"""Encodes a video as H.264 in an MP4, so that it looks, sounds and lasts like its source.

What phones may ignore is applied: pictures are turned upright and stretched to square pixels, full range becomes
limited, HDR becomes SDR. Other colours keep their tags, frames their times. Only the sandboxed process of
`transcode_worker.py` may call this.
"""

import errno
import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Final, TypeVar

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.container import InputContainer, OutputContainer
from av.video.frame import VideoFrame
from av.video.reformatter import ColorRange
from av.video.stream import VideoStream

from bot.media.video_geometry import is_sideways, scaled_size, square_pixels, upright_filters

_MIN_BITS_PER_S, _MAX_BITS_PER_S = 20_000, 200_000_000  # libx264 takes no more than 31 bits
_CRF = "18"  # of what needn't be smaller: the usual value for no visible difference
_MIN_SHARE = Fraction(9, 10)
"""Of frames and time that must be left if some can't be decoded. A tenth of 5 seconds is a hitch, more a gap."""
_THREADS = 4  # of the decoder and of the encoder; more take memory per core and gain little at these sizes

_BT709, _UNSPECIFIED, _BT601 = 1, 2, 6  # codes of primaries, transfer and matrix in ITU-T H.273
_USUAL_WITH_MATRIX = {1: (1, 1), 5: (5, 6), 6: (6, 6), 7: (7, 7), 9: (9, 14)}  # primaries and transfer
_GUESSED_AS_BT601 = {"vp9", "av1", "mjpeg"}
_MIN_BT709_HEIGHT = 720  # of others whose matrix has to be guessed
_HDR_TRANSFERS = {16, 18}  # PQ and HLG there

_SOUND_CODEC: Final = "aac"
_AAC_RATES = {8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000}  # samples per second
_SOUND_BITS_PER_S = 128_000
_SOUND_SHARE = 0.25  # of the bytes at most
_MIN_SOUND_BITS_PER_S = 20_000  # below this it is noise, and the picture needs the bytes

_INPUT_OPTIONS = {
    "protocol_whitelist": "file",
    "format_whitelist": "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,h264,hevc,gif,flv",
}
"""FFmpeg detects the format by content: a playlist named like a video would make it read other files and URLs."""

_Decoded = TypeVar("_Decoded", VideoFrame, AudioFrame)


@dataclass(frozen=True, slots=True)
class VideoFacts:
    """What a video shows, by its packets and its first frame, not by its header.

    duration_s: from the first frame's start to the last frame's end. is_steady: whether all frames are shown about
    equally long. width, height: upright, in square pixels. turn: filters that turn it upright. sound_bytes: 0
    without sound.
    """

    duration_s: Fraction
    frame_count: int
    is_steady: bool
    width: float
    height: float
    turn: tuple[str, ...]
    is_hdr: bool
    is_rgb: bool
    sound_bytes: int

    @property
    def rate(self) -> Fraction:
        """Frames per second, on average."""
        return min(max(self.frame_count / self.duration_s, Fraction(1)), Fraction(240)).limit_denominator(10_000)


def inspect(source: Path) -> VideoFacts:
    """Demultiplexes the whole video and decodes its first frame. Raises: av.FFmpegError, ValueError."""
    with _reader(source) as reader:
        video, sound = _video(reader), _sound(reader)
        first: VideoFrame | None = None
        starts, lengths, sound_bytes = [], [], 0
        for packet in _packets(reader, _present(video, sound)):
            if packet.stream is sound:
                sound_bytes += packet.size
                continue
            if first is None:
                first = next(iter(_decoded(video.decode, packet) or ()), None)
            if packet.size:
                lengths.append((packet.duration or 0) * packet.time_base)
                if packet.pts is not None:  # an elementary stream has no timestamps
                    starts.append(packet.pts * packet.time_base)
        if first is None:
            raise ValueError("it has no frame")
        duration_s, is_steady = _timing(starts, lengths)
        width, height = square_pixels(first.width, first.height, video.sample_aspect_ratio)
        turn = upright_filters(first)
        if is_sideways(turn):
            width, height = height, width
        return VideoFacts(
            duration_s=duration_s,
            frame_count=len(lengths),
            is_steady=is_steady,
            width=width,
            height=height,
            turn=turn,
            is_hdr=video.codec_context.color_trc in _HDR_TRANSFERS,
            is_rgb=first.format.is_rgb,
            sound_bytes=sound_bytes,
        )


def remux(source: Path, target: Path) -> bool:
    """Moves picture and sound to a new MP4, as they are. Returns whether it could; the MP4 may be no better."""
    with _reader(source) as reader:
        video, sound = _video(reader), _sound(reader)
        if video.codec.name != "h264" or (sound and sound.codec.name != _SOUND_CODEC):
            return False
        try:
            with _writer(target) as writer:  # closing it writes as well
                streams = _present(video, sound)
                copies = {stream.index: writer.add_stream_from_template(stream) for stream in streams}
                for packet in _packets(reader, streams):
                    _copy(packet, copies[packet.stream_index], writer)
        except (av.FFmpegError, ValueError) as error:
            if getattr(error, "errno", None) == errno.ENOSPC:
                raise
            return False  # an MP4 can't hold these packets
    return True


def encode(source: Path, target: Path, facts: VideoFacts, budget_bytes: float, *, uses_all: bool) -> None:
    """Encodes once, into about `budget_bytes`, or into less where the picture needs no more, unless `uses_all`.

    Frames that can't be decoded are left out, as players do. Raises: av.FFmpegError; ValueError, also if too few
    are left.
    """
    seconds = max(0.5, float(facts.duration_s))
    with _reader(source) as reader, _writer(target) as writer:
        video, sound = _video(reader), _sound(reader)
        sound_bytes = min(facts.sound_bytes, _SOUND_SHARE * budget_bytes)
        copies_sound = sound is not None and sound.codec.name == _SOUND_CODEC and sound_bytes == facts.sound_bytes
        if not copies_sound:
            sound_bytes = min(_SOUND_BITS_PER_S / 8 * seconds, _SOUND_SHARE * budget_bytes)
            if sound is None or sound_bytes * 8 / seconds < _MIN_SOUND_BITS_PER_S:
                sound, sound_bytes = None, 0
        bits_per_s = int((budget_bytes - sound_bytes) * 8 / seconds)
        bits_per_s = min(max(bits_per_s, _MIN_BITS_PER_S), _MAX_BITS_PER_S)
        frames = _FrameEncoder(writer, video, facts, bits_per_s, uses_all=uses_all)
        samples: _SoundCopier | _SoundEncoder | None = None
        if sound and copies_sound:
            samples = _SoundCopier(writer, sound)
        elif sound:
            samples = _SoundEncoder(writer, sound, int(sound_bytes * 8 / seconds))
        for packet in _packets(reader, _present(video, sound)):
            if packet.stream is video:
                frames.write(_decoded(video.decode, packet))
            elif samples:
                samples.write(packet)
        frames.finish()
        if samples:
            samples.finish()


class _FrameEncoder:
    """Scales, turns and encodes the frames of one video, at the times that they have."""

    def __init__(
        self, writer: OutputContainer, video: VideoStream, facts: VideoFacts, bits_per_s: int, *, uses_all: bool
    ) -> None:
        self._writer, self._facts = writer, facts
        self._width, self._height = scaled_size(facts.width, facts.height, bits_per_s / float(facts.rate))
        self._time_base = video.time_base or 1 / facts.rate
        self._stream = writer.add_stream("libx264", rate=facts.rate)
        self._stream.width, self._stream.height, self._stream.pix_fmt = self._width, self._height, "yuv420p"
        self._stream.codec_context.time_base = self._time_base
        self._stream.thread_count = _THREADS
        # Without this flag, the last frame would be shown as long as the average one.
        self._stream.codec_context.flags |= Flags.frame_duration
        rate_control = {"b": str(bits_per_s)} if uses_all else {"crf": _CRF}
        # FFmpeg ends an MP4 when its last frame is decoded: with B-frames, perhaps long before it is shown.
        b_frames = {} if facts.is_steady else {"bf": "0"}
        maximum = {"maxrate": str(bits_per_s), "bufsize": str(bits_per_s)}
        self._stream.options = {"preset": "fast", **rate_control, **maximum, **b_frames}
        self._set_colours(video.codec_context)
        self._graph: av.filter.Graph | None = None
        self._count, self._last_tick = 0, -(1 << 62)
        self._first_tick = self._end_tick = 0
        self._is_damaged = False

    def write(self, decoded: Sequence[VideoFrame] | None) -> None:
        """Encodes the frames of a packet; None if it couldn't be decoded."""
        self._is_damaged = self._is_damaged or decoded is None
        for frame in decoded or ():
            self._write(frame)

    def _write(self, frame: VideoFrame) -> None:
        """Encodes one frame. Where several fall into one tick, the later ones move on by a tick."""
        if frame.pts is None:  # an elementary stream has no timestamps
            frame.pts, frame.time_base = round(self._count / self._facts.rate / self._time_base), self._time_base
        if self._graph is None:
            self._graph = self._new_graph(frame)
        self._graph.push(frame)
        shown = self._graph.pull()
        assert isinstance(shown, VideoFrame)  # noqa: S101 - the graph has no sound
        shown.pts = self._last_tick = max(shown.pts or 0, self._last_tick + 1)
        self._first_tick = shown.pts if not self._count else self._first_tick
        self._end_tick = shown.pts + (frame.duration or 0)
        self._count += 1
        self._writer.mux(self._stream.encode(shown))

    def finish(self) -> None:
        """Writes the frames that the encoder still holds. Raises: ValueError if too few could be decoded."""
        shown_s = (self._end_tick - self._first_tick) * self._time_base
        is_short = shown_s < _MIN_SHARE * self._facts.duration_s
        if self._is_damaged and (self._count < _MIN_SHARE * self._facts.frame_count or is_short):
            raise ValueError(f"only {self._count} of {self._facts.frame_count} frames can be decoded")
        self._writer.mux(self._stream.encode(None))

    def _set_colours(self, source: av.VideoCodecContext) -> None:
        target = self._stream.codec_context
        target.color_range = ColorRange.MPEG
        tags = (_BT709,) * 3 if self._facts.is_hdr else _colour_tags(source, is_rgb=self._facts.is_rgb)
        target.color_primaries, target.color_trc, target.colorspace = tags

    def _new_graph(self, frame: VideoFrame) -> av.filter.Graph:
        """Filters that yield one frame for each. Later frames may differ from this one: `scale` adapts."""
        width, height = self._width, self._height
        if is_sideways(self._facts.turn):
            width, height = height, width
        scale = {"width": str(width), "height": str(height), "out_range": "limited"}
        if self._facts.is_hdr or self._facts.is_rgb:
            scale["out_color_matrix"] = "bt709"
        if self._facts.is_hdr:
            scale |= {"out_primaries": "bt709", "out_transfer": "bt709"}
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
            *(graph.add(*step.split("=")) for step in self._facts.turn),
            graph.add("format", "yuv420p"),
            graph.add("buffersink"),
        ]
        graph.link_nodes(*steps).configure()
        return graph


class _SoundEncoder:
    """Encodes sound of any kind as AAC."""

    def __init__(self, writer: OutputContainer, sound: AudioStream, bits_per_s: int) -> None:
        codec = sound.codec_context
        rate = codec.sample_rate if codec.sample_rate in _AAC_RATES else 48_000
        self._writer, self._source = writer, sound
        self._stream = writer.add_stream(
            _SOUND_CODEC, rate=rate, layout="mono" if codec.channels == 1 else "stereo"
        )
        self._stream.bit_rate = bits_per_s

    def write(self, packet: av.Packet) -> None:
        for samples in _decoded(self._source.decode, packet) or ():
            self._writer.mux(self._stream.encode(samples))

    def finish(self) -> None:
        self._writer.mux(self._stream.encode(None))


class _SoundCopier:
    """Moves AAC to another file as it is."""

    def __init__(self, writer: OutputContainer, sound: AudioStream) -> None:
        self._writer, self._stream = writer, writer.add_stream_from_template(sound)

    def write(self, packet: av.Packet) -> None:
        _copy(packet, self._stream, self._writer)

    def finish(self) -> None:
        """Nothing is held back."""


def _reader(source: Path) -> InputContainer:
    # Not `options`, which are for each stream: with them, some formats crash PyAV 16.1.
    return av.open(str(source), container_options=_INPUT_OPTIONS)


def _writer(target: Path) -> OutputContainer:
    return av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"})


def _video(reader: InputContainer) -> VideoStream:
    """The video, rather than a cover picture."""
    video = reader.streams.best("video")
    if not isinstance(video, VideoStream) or not _has_codec(video):
        raise ValueError("no picture that FFmpeg can decode")
    if not video.codec_context.width or not video.codec_context.height:
        raise ValueError("no picture")
    video.thread_count = _THREADS
    return video


def _sound(reader: InputContainer) -> AudioStream | None:
    sound = reader.streams.best("audio")
    if not isinstance(sound, AudioStream) or not _has_codec(sound):
        return None
    return sound if sound.codec_context.channels else None


def _has_codec(stream: VideoStream | AudioStream) -> bool:
    """Whether FFmpeg knows the codec; else PyAV's stream has None for its context, whatever it declares."""
    context: object = stream.codec_context
    return context is not None


def _present(video: VideoStream, sound: AudioStream | None) -> list[VideoStream | AudioStream]:
    return [video, sound] if sound else [video]


def _packets(reader: InputContainer, streams: Sequence[VideoStream | AudioStream]) -> Iterator[av.Packet]:
    """Their packets, on a clock that begins with the first of them: the file's may have begun hours before.

    It never begins earlier than the file's, where only what a player skips is.
    """
    begin_s = max(Fraction(0), min((stream.start_time or 0) * (stream.time_base or 0) for stream in streams))
    for packet in reader.demux(*streams):
        ticks = round(begin_s / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - ticks
        packet.dts = None if packet.dts is None else packet.dts - ticks
        yield packet


def _decoded(decode: Callable[[av.Packet], list[_Decoded]], packet: av.Packet) -> list[_Decoded] | None:
    """The frames, or the samples, of a packet; None if it can't be decoded."""
    try:
        return decode(packet)
    except MemoryError:
        raise
    except av.FFmpegError:
        return None


def _copy(packet: av.Packet, to: VideoStream | AudioStream, writer: OutputContainer) -> None:
    if not packet.size:  # only says that the stream ends
        return
    if packet.dts is None:  # Matroska has no times of decoding
        raise ValueError("a packet without a time of decoding")
    packet.stream = to
    writer.mux(packet)


def _colour_tags(source: av.VideoCodecContext, *, is_rgb: bool) -> tuple[int, int, int]:
    """Codes of the primaries, transfer and matrix that a source is shown with.

    Chromium heeds none of a video's unless all three are there: it guesses by codec and height, which encoding may
    change. So what is missing is filled in: by the matrix, or else by Chromium's guess.
    """
    matrix = _BT709 if is_rgb else source.colorspace
    if matrix == _UNSPECIFIED:
        is_bt601 = source.codec.canonical_name in _GUESSED_AS_BT601 or source.height < _MIN_BT709_HEIGHT
        matrix = _BT601 if is_bt601 else _BT709
    primaries, transfer = source.color_primaries, source.color_trc
    usual = _USUAL_WITH_MATRIX.get(matrix, (_UNSPECIFIED, _UNSPECIFIED))
    return (
        usual[0] if primaries == _UNSPECIFIED else primaries,
        usual[1] if transfer == _UNSPECIFIED else transfer,
        matrix,
    )


def _timing(starts: list[Fraction], lengths: list[Fraction]) -> tuple[Fraction, bool]:
    """How many seconds frames with these times last, and whether each of them lasts about equally long.

    starts: in any order; empty if the frames have none.
    """
    duration_s, longest_s = sum(lengths, start=Fraction(0)), max(lengths)
    if len(starts) == len(lengths):
        end_s = max(start + length for start, length in zip(starts, lengths, strict=True))
        duration_s = end_s - min(starts)
        longest_s = max(after - before for before, after in itertools.pairwise([*sorted(starts), end_s]))
    duration_s = max(duration_s, Fraction(1, 240))
    return duration_s, longest_s * len(lengths) <= 1.5 * duration_s
