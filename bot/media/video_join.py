"""Joins two videos to one: the second goes on from the first one's last frame.

The second one's first frame repeats that last frame, so only one of the two is kept: nothing stands still at the
seam. Only the sandboxed process of `join_worker.py` may call this.
"""

import errno
import itertools
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
from av.video.stream import VideoStream

from bot.media.frame_encoder import FrameEncoder, bits_per_s_for
from bot.media.sound_track import SoundTrack
from bot.media.video_encoder import mp4_writer, sound_bytes_for
from bot.media.video_source import (
    VideoFacts,
    decoded,
    inspect,
    open_source,
    packets_of,
    present,
    sound_of,
    video_of,
)

_FINE = Fraction(1, 90_000)
"""The clock of joined videos whose own clocks differ: what MPEG uses, which all usual rates divide."""

_IDR, _SPS, _PPS = 5, 7, 8  # kinds of NAL units: ITU-T H.264, table 7-1
_LENGTH_BYTES = 4  # before each NAL unit, in all but exotic files


@dataclass(frozen=True, slots=True)
class Parts:
    """Two videos and what they show. next_s: when the second one's second frame is shown, by its own clock."""

    first: Path
    second: Path
    first_facts: VideoFacts
    second_facts: VideoFacts
    next_s: Fraction

    @property
    def joined(self) -> VideoFacts:
        """What both show together, in the size and the colours of the first."""
        first, second = self.first_facts, self.second_facts
        frame_s = 1 / second.rate
        is_even = first.is_steady and second.is_steady and abs(first.rate - second.rate) < first.rate / 100
        return replace(
            first,
            duration_s=first.duration_s + max(second.duration_s - frame_s, frame_s),
            frame_count=first.frame_count + second.frame_count - 1,
            is_steady=is_even,
            sound_bytes=first.sound_bytes + second.sound_bytes,
        )


def inspect_parts(first: Path, second: Path) -> Parts:
    """Reads both videos. Raises: av.FFmpegError; ValueError, also if the second one has a single frame."""
    return Parts(first, second, inspect(first), inspect(second), _second_frame_s(second))


def encode(parts: Parts, target: Path, budget_bytes: float, *, uses_all: bool) -> None:
    """Encodes both as one MP4; see `video_encoder.encode`. It has sound if one of them has.

    Raises: av.FFmpegError, ValueError.
    """
    shown = parts.joined
    seconds = float(shown.duration_s)
    with mp4_writer(target) as writer:
        sound_bytes = sound_bytes_for(budget_bytes, seconds) if shown.sound_bytes else 0.0
        bits_per_s = bits_per_s_for(budget_bytes - sound_bytes, seconds)
        frames = FrameEncoder(writer, shown, _time_base(parts), bits_per_s, uses_all=uses_all)
        # Sources are told apart by `continue_with`; `shown` says how the first one is read only if it is like it.
        frames.continue_with(parts.first_facts, Fraction(0))
        sound = SoundTrack(writer, int(sound_bytes * 8 / seconds)) if sound_bytes else None
        _add(parts.first, frames, sound)
        shift = frames.end_s - parts.next_s
        if sound is not None:
            sound.continue_with(frames.end_s, shift)
        frames.continue_with(parts.second_facts, shift)
        _add(parts.second, frames, sound, skipped=1)
        frames.finish()
        if sound is not None:
            sound.finish(frames.end_s)


def copy(parts: Parts, target: Path) -> bool:
    """Joins both as they are, if a decoder can't tell them from one video. Returns whether it could.

    That needs the same parameter sets: players read those of a file's header alone. FFmpeg reads others as it
    goes, so what it decodes says nothing about browsers. Sound is never copied: AAC begins with samples that only
    an edit list hides, which a joined track has at its beginning only.
    """
    first, second = _Track.of(parts.first), _Track.of(parts.second)
    if first is None or second is None or not first.continues_in(second, parts):
        return False
    frame = first.ticks
    shift = first.times[-1] - second.times[0]
    try:
        with (
            open_source(parts.first) as one,
            open_source(parts.second) as other,
            mp4_writer(target) as writer,
        ):
            out = writer.add_stream_from_template(video_of(one))
            for reader, ticks, count in ((one, 0, len(first.times) - 1), (other, shift, len(second.times))):
                video = video_of(reader)
                for packet in itertools.islice(packets_of(reader, [video]), count):
                    packet.pts, packet.dts = (packet.pts or 0) + ticks, (packet.dts or 0) + ticks
                    packet.duration, packet.stream = frame, out
                    writer.mux(packet)
    except (av.FFmpegError, ValueError) as error:
        if getattr(error, "errno", None) == errno.ENOSPC:
            raise
        return False
    return _plays_as(target, len(first.times) + len(second.times) - 1, frame * first.time_base)


@dataclass(frozen=True, slots=True)
class _Track:
    """The packets of a video of H.264 without sound, shown at a steady rate.

    look: all that a decoder has to know besides the packets. times: when they are shown, sorted. first_dts,
    last_dts: when the first packet and the last but one are decoded. ends_last: the packet that comes last is
    shown last, so that it may be left out. opens_anew, is_idr_before_end: whether the first packet, and the last
    but one, are IDR pictures.
    """

    look: tuple[object, ...]
    time_base: Fraction
    ticks: int
    times: list[int]
    first_dts: int
    last_dts: int
    ends_last: bool
    opens_anew: bool
    is_idr_before_end: bool

    @classmethod
    def of(cls, source: Path) -> "_Track | None":
        """None if the video isn't of that kind, or its packets bring parameter sets of their own."""
        with open_source(source) as reader:
            video = video_of(reader)
            header = video.codec_context.extradata or b""
            is_plain = (
                video.codec.name == "h264" and video.codec_context.codec_tag == "avc1" and not sound_of(reader)
            )
            if not is_plain or len(header) < 7 or header[4] & 3 != _LENGTH_BYTES - 1:  # noqa: PLR2004
                return None
            packets = [packet for packet in packets_of(reader, [video]) if packet.size]
            kinds = [_nal_kinds(bytes(packet)) for packet in packets]
            times = [packet.pts for packet in packets if packet.pts is not None]
            decode_times = [packet.dts for packet in packets if packet.dts is not None]
            if (
                len(packets) < 3  # noqa: PLR2004
                or not len(times) == len(decode_times) == len(packets)
                or any(_SPS in kind or _PPS in kind for kind in kinds)
                or any(packet.is_discard or packet.is_corrupt for packet in packets)
            ):
                return None
            in_order = sorted(times)
            steps = {after - before for before, after in itertools.pairwise(in_order)}
            if len(steps) != 1 or min(steps) <= 0:
                return None
            return cls(
                _look_of(video, header),
                video.time_base or Fraction(1),
                steps.pop(),
                in_order,
                decode_times[0],
                decode_times[-2],
                times[-1] == in_order[-1],
                _IDR in kinds[0],
                _IDR in kinds[-2],
            )

    def continues_in(self, other: "_Track", parts: Parts) -> bool:
        """Whether the other one's packets may follow in place of this one's last."""
        shift = self.times[-1] - other.times[0]
        return (
            self.look == other.look
            and (self.time_base, self.ticks) == (other.time_base, other.ticks)
            and not (parts.first_facts.turn or parts.second_facts.turn)
            and self.ends_last
            and other.opens_anew
            # Two IDR pictures in a row need different numbers (7.4.3, idr_pic_id), which both may lack.
            and not self.is_idr_before_end
            and other.first_dts + shift > self.last_dts
        )


def _look_of(video: VideoStream, header: bytes) -> tuple[object, ...]:
    context = video.codec_context
    colours = (context.color_range, context.color_primaries, context.color_trc, context.colorspace)
    return (header, context.width, context.height, context.pix_fmt, video.sample_aspect_ratio, *colours)


def _nal_kinds(packet: bytes) -> set[int]:
    """The kinds of the NAL units in a packet, each of which is preceded by its length."""
    kinds, at = set(), 0
    while at + _LENGTH_BYTES < len(packet):
        kinds.add(packet[at + _LENGTH_BYTES] & 31)
        at += _LENGTH_BYTES + int.from_bytes(packet[at : at + _LENGTH_BYTES], "big")
    return kinds


def _plays_as(video: Path, count: int, frame_s: Fraction) -> bool:
    """Whether all frames can be decoded, one after the other."""
    try:
        with open_source(video) as reader:
            stream = video_of(reader)
            base = stream.time_base or Fraction(1)
            times = [(frame.pts or 0) * base for frame in reader.decode(stream)]
    except (av.FFmpegError, ValueError):
        return False
    steps = {after - before for before, after in itertools.pairwise(times)}
    return len(times) == count and steps == {frame_s}


def _add(source: Path, frames: FrameEncoder, sound: SoundTrack | None, *, skipped: int = 0) -> None:
    """Adds a video's frames, without the first `skipped`, and its sound."""
    with open_source(source) as reader:
        video = video_of(reader)
        heard = None if sound is None else sound_of(reader)
        left = skipped
        for packet in packets_of(reader, present(video, heard)):
            if packet.stream is not video:
                assert heard is not None  # noqa: S101 - only then there are such packets
                assert sound is not None  # noqa: S101
                for samples in decoded(heard.decode, packet) or ():
                    sound.write(samples)
                continue
            pictures = decoded(video.decode, packet)
            if pictures is not None and left:
                pictures, left = pictures[left:], left - min(left, len(pictures))
            frames.write(pictures)
            if sound is not None:
                if heard is None:
                    sound.be_silent_until(frames.end_s)
                sound.flush(frames.end_s - 1)


def _second_frame_s(source: Path) -> Fraction:
    with open_source(source) as reader:
        video = video_of(reader)
        pictures = (
            picture for packet in packets_of(reader, [video]) for picture in decoded(video.decode, packet) or ()
        )
        times = [(picture.pts, picture.time_base) for picture in itertools.islice(pictures, 2)]
    if len(times) < 2:  # noqa: PLR2004
        raise ValueError("it has a single frame")
    pts, base = times[1]
    return Fraction(0) if pts is None or base is None else pts * base


def _time_base(parts: Parts) -> Fraction:
    bases: list[Fraction | None] = []
    for source in (parts.first, parts.second):
        with open_source(source) as reader:
            bases.append(video_of(reader).time_base)
    return bases[0] if bases[0] and bases[0] == bases[1] else _FINE
