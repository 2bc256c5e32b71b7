"""Encodes a video as H.264 in an MP4, so that it looks, sounds and lasts like its source.

What phones may ignore is applied: pictures are turned upright and stretched to square pixels, full range becomes
limited, HDR becomes SDR. Other colours keep their tags, frames their times. Only the sandboxed process of
`transcode_worker.py` may call this.
"""

import errno
from pathlib import Path
from typing import Final

import av
from av.audio.stream import AudioStream
from av.container import OutputContainer
from av.video.stream import VideoStream

from bot.media.frame_encoder import FrameEncoder, bits_per_s_for
from bot.media.video_source import VideoFacts, decoded, open_source, packets_of, present, sound_of, video_of

SOUND_CODEC: Final = "aac"
AAC_RATES = {8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000}  # samples per second
_SOUND_BITS_PER_S = 128_000
_SOUND_SHARE = 0.25  # of the bytes at most
_MIN_SOUND_BITS_PER_S = 20_000  # below this it is noise, and the picture needs the bytes


def remux(source: Path, target: Path) -> bool:
    """Moves picture and sound to a new MP4, as they are. Returns whether it could; the MP4 may be no better."""
    with open_source(source) as reader:
        video, sound = video_of(reader), sound_of(reader)
        if video.codec.name != "h264" or (sound and sound.codec.name != SOUND_CODEC):
            return False
        try:
            with mp4_writer(target) as writer:  # closing it writes as well
                streams = present(video, sound)
                copies = {stream.index: writer.add_stream_from_template(stream) for stream in streams}
                for packet in packets_of(reader, streams):
                    copy_packet(packet, copies[packet.stream_index], writer)
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
    with open_source(source) as reader, mp4_writer(target) as writer:
        video, sound = video_of(reader), sound_of(reader)
        sound_bytes = min(facts.sound_bytes, _SOUND_SHARE * budget_bytes)
        copies_sound = sound is not None and sound.codec.name == SOUND_CODEC and sound_bytes == facts.sound_bytes
        if not copies_sound:
            sound_bytes = 0.0 if sound is None else sound_bytes_for(budget_bytes, seconds)
            sound = sound if sound_bytes else None
        bits_per_s = bits_per_s_for(budget_bytes - sound_bytes, seconds)
        frames = FrameEncoder(writer, facts, video.time_base or 1 / facts.rate, bits_per_s, uses_all=uses_all)
        samples: _SoundCopier | _SoundEncoder | None = None
        if sound and copies_sound:
            samples = _SoundCopier(writer, sound)
        elif sound:
            samples = _SoundEncoder(writer, sound, int(sound_bytes * 8 / seconds))
        for packet in packets_of(reader, present(video, sound)):
            if packet.stream is video:
                frames.write(decoded(video.decode, packet))
            elif samples:
                samples.write(packet)
        frames.finish()
        if samples:
            samples.finish()


class _SoundEncoder:
    """Encodes sound of any kind as AAC."""

    def __init__(self, writer: OutputContainer, sound: AudioStream, bits_per_s: int) -> None:
        codec = sound.codec_context
        rate = codec.sample_rate if codec.sample_rate in AAC_RATES else 48_000
        self._writer, self._source = writer, sound
        self._stream = writer.add_stream(
            SOUND_CODEC, rate=rate, layout="mono" if codec.channels == 1 else "stereo"
        )
        self._stream.bit_rate = bits_per_s

    def write(self, packet: av.Packet) -> None:
        for samples in decoded(self._source.decode, packet) or ():
            self._writer.mux(self._stream.encode(samples))

    def finish(self) -> None:
        self._writer.mux(self._stream.encode(None))


class _SoundCopier:
    """Moves AAC to another file as it is."""

    def __init__(self, writer: OutputContainer, sound: AudioStream) -> None:
        self._writer, self._stream = writer, writer.add_stream_from_template(sound)

    def write(self, packet: av.Packet) -> None:
        copy_packet(packet, self._stream, self._writer)

    def finish(self) -> None:
        """Nothing is held back."""


def sound_bytes_for(budget_bytes: float, seconds: float) -> float:
    """How many of the bytes encoded sound gets; 0 if that is too few for any."""
    sound_bytes = min(_SOUND_BITS_PER_S / 8 * seconds, _SOUND_SHARE * budget_bytes)
    return 0.0 if sound_bytes * 8 / seconds < _MIN_SOUND_BITS_PER_S else sound_bytes


def mp4_writer(target: Path) -> OutputContainer:
    """A new MP4 that plays while it downloads."""
    return av.open(str(target), "w", format="mp4", options={"movflags": "+faststart"})


def copy_packet(packet: av.Packet, to: VideoStream | AudioStream, writer: OutputContainer) -> None:
    """Moves a packet to another file as it is. Raises: ValueError if it has no time of decoding."""
    if not packet.size:  # only says that the stream ends
        return
    if packet.dts is None:  # Matroska has no times of decoding
        raise ValueError("a packet without a time of decoding")
    packet.stream = to
    writer.mux(packet)
