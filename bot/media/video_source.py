"""Reads a video: what it shows, its packets and its frames. Only sandboxed processes may call this."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TypeVar

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from bot.media.video_geometry import is_sideways, square_pixels, upright_filters

THREADS = 4
"""Of a decoder and of an encoder; more take memory per core and gain little at these sizes."""

_BT709, _UNSPECIFIED, _BT601 = 1, 2, 6  # codes of primaries, transfer and matrix in ITU-T H.273
_USUAL_WITH_MATRIX = {1: (1, 1), 5: (5, 6), 6: (6, 6), 7: (7, 7), 9: (9, 14)}  # primaries and transfer
_GUESSED_AS_BT601 = {"vp9", "av1", "mjpeg"}
_MIN_BT709_HEIGHT = 720  # of others whose matrix has to be guessed
_HDR_TRANSFERS = {16, 18}  # PQ and HLG there

MATRIX_NAMES = {1: "bt709", 4: "fcc", 5: "bt470", 6: "smpte170m", 7: "smpte240m", 9: "bt2020"}
"""How the filter `scale` calls the matrices."""

Colours = tuple[int, int, int]
"""Codes of primaries, transfer and matrix in ITU-T H.273."""

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
    without sound. colours: that a copy without HDR is shown with.
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
    colours: Colours

    @property
    def rate(self) -> Fraction:
        """Frames per second, on average."""
        return min(max(self.frame_count / self.duration_s, Fraction(1)), Fraction(240)).limit_denominator(10_000)


def inspect(source: Path) -> VideoFacts:
    """Demultiplexes the whole video and decodes its first frame. Raises: av.FFmpegError, ValueError."""
    with open_source(source) as reader:
        video, sound = video_of(reader), sound_of(reader)
        first: VideoFrame | None = None
        starts, lengths, sound_bytes = [], [], 0
        for packet in packets_of(reader, present(video, sound)):
            if packet.stream is sound:
                sound_bytes += packet.size
                continue
            if first is None:
                first = next(iter(decoded(video.decode, packet) or ()), None)
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
        is_hdr, is_rgb = video.codec_context.color_trc in _HDR_TRANSFERS, first.format.is_rgb
        return VideoFacts(
            duration_s=duration_s,
            frame_count=len(lengths),
            is_steady=is_steady,
            width=width,
            height=height,
            turn=turn,
            is_hdr=is_hdr,
            is_rgb=is_rgb,
            sound_bytes=sound_bytes,
            colours=(_BT709,) * 3 if is_hdr else _colour_tags(video.codec_context, is_rgb=is_rgb),
        )


def open_source(source: Path) -> InputContainer:
    """Opens a video of a kind that may be one. Raises: av.FFmpegError."""
    # Not `options`, which are for each stream: with them, some formats crash PyAV 16.1.
    return av.open(str(source), container_options=_INPUT_OPTIONS)


def video_of(reader: InputContainer) -> VideoStream:
    """The video, rather than a cover picture. Raises: ValueError if there is none."""
    video = reader.streams.best("video")
    if not isinstance(video, VideoStream) or not _has_codec(video):
        raise ValueError("no picture that FFmpeg can decode")
    if not video.codec_context.width or not video.codec_context.height:
        raise ValueError("no picture")
    video.thread_count = THREADS
    return video


def sound_of(reader: InputContainer) -> AudioStream | None:
    """The sound, if FFmpeg can decode it."""
    sound = reader.streams.best("audio")
    if not isinstance(sound, AudioStream) or not _has_codec(sound):
        return None
    return sound if sound.codec_context.channels else None


def _has_codec(stream: VideoStream | AudioStream) -> bool:
    """Whether FFmpeg knows the codec; else PyAV's stream has None for its context, whatever it declares."""
    context: object = stream.codec_context
    return context is not None


def present(video: VideoStream, sound: AudioStream | None) -> list[VideoStream | AudioStream]:
    """The streams that there are."""
    return [video, sound] if sound else [video]


def packets_of(reader: InputContainer, streams: Sequence[VideoStream | AudioStream]) -> Iterator[av.Packet]:
    """Their packets, on a clock that begins with the first of them: the file's may have begun hours before.

    It never begins earlier than the file's, where only what a player skips is.
    """
    begin_s = max(Fraction(0), min((stream.start_time or 0) * (stream.time_base or 0) for stream in streams))
    for packet in reader.demux(*streams):
        ticks = round(begin_s / packet.time_base)
        packet.pts = None if packet.pts is None else packet.pts - ticks
        packet.dts = None if packet.dts is None else packet.dts - ticks
        yield packet


def decoded(decode: Callable[[av.Packet], list[_Decoded]], packet: av.Packet) -> list[_Decoded] | None:
    """The frames, or the samples, of a packet; None if it can't be decoded."""
    try:
        return decode(packet)
    except MemoryError:
        raise
    except av.FFmpegError:
        return None


def _colour_tags(source: av.VideoCodecContext, *, is_rgb: bool) -> Colours:
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
