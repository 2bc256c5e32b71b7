"""Writes the sound of several videos, one after the other, as one track without a gap.

Where a video has no sound, the track is silent. Only sandboxed processes may call this.
"""

from fractions import Fraction
from typing import Final

from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import OutputContainer

_RATE: Final = 48_000  # samples per second
_FORM: Final = "s16"
_LAYOUT: Final = "stereo"
_BYTES = 4  # of a sample: two channels of 16 bits
_PIECE = 1024  # samples in a frame of AAC


class SoundTrack:
    """A track of AAC in an MP4."""

    def __init__(self, writer: OutputContainer, bits_per_s: int) -> None:
        self._writer = writer
        self._stream = writer.add_stream("aac", rate=_RATE, layout=_LAYOUT)
        self._stream.bit_rate = bits_per_s
        self._samples = bytearray()
        self._written = 0  # samples that were encoded
        self._begin = 0  # the first sample that the present video may write
        self._shift = Fraction(0)
        self._resampler = self._new_resampler()

    def continue_with(self, begin_s: Fraction, shift: Fraction) -> None:
        """From now on the sound is another video's, begins at `begin_s`, and is that much later than it says."""
        self._add(self._resampler.resample(None))
        self._begin, self._shift, self._resampler = round(begin_s * _RATE), shift, self._new_resampler()
        self._cut(self._begin)
        self.be_silent_until(begin_s)

    def write(self, frame: AudioFrame) -> None:
        """Adds decoded samples at their time."""
        self._add(self._resampler.resample(frame))

    def be_silent_until(self, end_s: Fraction) -> None:
        """Adds silence up to a time, if the track ends before."""
        missing = round(end_s * _RATE) - self._end
        self._samples += bytes(max(0, missing) * _BYTES)

    def flush(self, keep_s: Fraction) -> None:
        """Encodes what is earlier than that time, so that little is held in memory."""
        count = min(len(self._samples) // _BYTES, round(keep_s * _RATE) - self._written)
        self._encode(count // _PIECE * _PIECE)

    def finish(self, end_s: Fraction) -> None:
        """Ends the track at that time."""
        self._add(self._resampler.resample(None))
        self._cut(round(end_s * _RATE))
        self.be_silent_until(end_s)
        self._encode(len(self._samples) // _BYTES)
        self._writer.mux(self._stream.encode(None))

    @property
    def _end(self) -> int:
        return self._written + len(self._samples) // _BYTES

    def _new_resampler(self) -> AudioResampler:
        return AudioResampler(_FORM, _LAYOUT, _RATE)

    def _cut(self, end: int) -> None:
        """Drops what is later than a sample."""
        del self._samples[max(0, end - self._written) * _BYTES :]

    def _add(self, frames: list[AudioFrame]) -> None:
        for frame in frames:
            start = self._end
            if frame.pts is not None and frame.time_base:
                start = round((frame.pts * frame.time_base + self._shift) * _RATE)
            data = bytes(frame.planes[0])[: frame.samples * _BYTES]
            # What is earlier than the video, or than what is there already, is left out.
            late = max(self._begin, self._end) - start
            if late > 0:
                data = data[late * _BYTES :]
            elif data:
                self._samples += bytes(-late * _BYTES) if -late < _RATE * 60 else b""
            self._samples += data

    def _encode(self, count: int) -> None:
        for at in range(0, count, _PIECE):
            size = min(_PIECE, count - at)
            piece = AudioFrame(_FORM, _LAYOUT, size)
            piece.planes[0].update(bytes(self._samples[at * _BYTES : (at + size) * _BYTES]))
            piece.sample_rate, piece.pts, piece.time_base = _RATE, self._written + at, Fraction(1, _RATE)
            self._writer.mux(self._stream.encode(piece))
        del self._samples[: count * _BYTES]
        self._written += count
