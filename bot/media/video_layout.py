"""Reads how an MP4 or WebM file is laid out: whether all of it is there, and whether phones play it as it is.

Nothing is decoded: this reads the headers of the boxes and the movie's table of contents (ISO/IEC 14496-12), a
few KB of a usual video, in less than a millisecond. A hostile file costs at most some 50 ms and 20 MB: all that is
read has a maximum size, and no loop or list grows with a number in the file. So it needs no sandbox. Whatever
looks unusual is not judged to be fine; FFmpeg then reads it, in a process of its own.
"""

import itertools
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from bot.domain.errors import ZoetropeError
from bot.media.boxes import (
    Malformed,
    Track,
    children,
    named,
    read,
    read_track,
    required,
    scale_and_duration,
    table,
    top_level,
)
from bot.media.video_fragments import lacks_fragments

_MAX_MOOV_BYTES = 256 << 10  # the table of contents of some minutes; a five-second video's has 5 KB
_MAX_INDEX_BYTES = 64 << 10  # of all segment indexes: 5,000 fragments
_HEADER_TOLERANCE_S = 0.25  # between a header's duration and the frames': roundings, and sound that ends later

_MP4_BOXES = frozenset(
    {
        b"ftyp", b"styp", b"moov", b"mdat", b"moof", b"mfra", b"sidx", b"ssix", b"prft", b"emsg", b"pdin",
        b"meta", b"udta", b"uuid", b"free", b"skip", b"wide",
    }
)  # fmt: skip
"""The kinds of boxes outside any other. Anything else was appended to the file, which no player minds."""

_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067  # element ids, RFC 8794 and RFC 9559

_PROFILES_OF_420 = {66, 77}  # Baseline, Main: always 8-bit 4:2:0
_HIGH_PROFILE = 100  # 8-bit 4:2:0, or gray; the profiles above it have more bits or more chroma
_FOUR_TWO_ZERO = 1  # chroma_format_idc
_AAC_OBJECT_TYPES = {0x40, 0x66, 0x67, 0x68}  # of MPEG-4 and of MPEG-2: ISO/IEC 14496-1, objectTypeIndication


class VideoIncomplete(ZoetropeError):
    """The file ends before its video does; the text says what is missing. Worth another download."""


def plays_inline(path: Path) -> bool:
    """Whether browsers and phones play the file in a message, while it downloads.

    That is an MP4 in one piece that begins with its table of contents, has H.264 of 8 bits and 4:2:0, has AAC or
    no sound, and whose headers are true about its length. Raises: VideoIncomplete; OSError.
    """
    with path.open("rb") as file:
        size_bytes = os.fstat(file.fileno()).st_size
        head = file.read(8)
        if int.from_bytes(head[:4], "big") == _EBML:
            _require_whole_webm(file, size_bytes)
            return False
        if head[4:] != b"ftyp":
            return False
        try:
            return _mp4_plays_inline(file, size_bytes)
        except (struct.error, IndexError, ValueError):  # malformed
            return False


def _mp4_plays_inline(file: BinaryIO, size_bytes: int) -> bool:
    boxes = list(top_level(file, size_bytes))
    kinds = [box.kind for box in boxes]
    last = boxes[-1]
    if last.end > size_bytes and last.kind in _MP4_BOXES:
        missing_bytes = last.end - size_bytes
        raise VideoIncomplete(f"the video's last box, {last.kind.decode()}, lacks {missing_bytes} bytes")
    if b"moov" not in kinds:
        if b"meta" in kinds:  # HEIC and AVIF have their items there, and no movie
            return False
        raise VideoIncomplete("the video has no table of contents")
    is_fragmented = b"moof" in kinds
    is_begun = last.end <= size_bytes and _is_begun_box(read(file, last.end, 8))
    if is_fragmented and (last.kind == b"moof" or is_begun):
        raise VideoIncomplete("the video's last fragment has no data")
    moov = boxes[kinds.index(b"moov")]
    indexes = [box for box in boxes if box.kind == b"sidx"]
    if moov.end - moov.body > _MAX_MOOV_BYTES or sum(box.end - box.body for box in indexes) > _MAX_INDEX_BYTES:
        return False
    content = list(children(memoryview(read(file, moov.body, moov.end - moov.body))))
    tracks = [read_track(data) for kind, data in content if kind == b"trak"]
    ends = [_samples(track)[1] for track in tracks]
    ends += [_end_of_index(read(file, box.body, box.end - box.body), box.end) for box in indexes]
    data_end = max(ends, default=0)
    if data_end > size_bytes:
        raise VideoIncomplete(f"the video lacks {data_end - size_bytes} bytes of what its table of contents lists")
    if lacks_fragments(file, boxes, content, tracks):
        raise VideoIncomplete("the video's last fragments are missing")
    is_fast_start = b"mdat" in kinds and kinds.index(b"moov") < kinds.index(b"mdat") and not is_fragmented
    is_quicktime = read(file, boxes[0].body, 4) == b"qt  "
    return is_fast_start and not is_quicktime and _movie_plays_inline(named(content, b"mvhd"), tracks)


def _is_begun_box(rest: bytes) -> bool:
    """Whether what follows the last box of a file is the beginning of another: of its length, then its kind."""
    return rest[:1] == b"\0" and (len(rest) <= 4 or any(kind.startswith(rest[4:]) for kind in _MP4_BOXES))  # noqa: PLR2004


def _end_of_index(sidx: bytes, at: int) -> int:
    """Where the last fragment of a segment index, which itself ends at `at`, ends."""
    is_wide = sidx[0] > 0
    offset = struct.unpack_from(">Q" if is_wide else ">I", sidx, 20 if is_wide else 16)[0]
    head = 30 if is_wide else 22
    count = struct.unpack_from(">H", sidx, head)[0]
    fragments = struct.iter_unpack(">III", sidx[head + 2 : head + 2 + 12 * count])
    return int(at + offset + sum(size & 0x7FFFFFFF for size, _, _ in fragments))


def _movie_plays_inline(mvhd: memoryview, tracks: list[Track]) -> bool:
    scale, ticks = scale_and_duration(mvhd)
    shown = [track for track in tracks if track.handler in {b"vide", b"soun"}]  # not a timecode or a title
    return (
        sum(track.handler == b"vide" for track in shown) == 1
        and all(map(_track_plays_inline, shown))
        and abs(max(_shown_s(track, scale) for track in shown) - ticks / scale) <= _HEADER_TOLERANCE_S
        and min(_delay_s(track, scale) for track in shown) <= _HEADER_TOLERANCE_S  # else it begins with nothing
    )


def _shown_s(track: Track, movie_scale: int) -> float:
    """How many seconds of a track are shown, by its samples and what its edit list leaves of them.

    Raises: Malformed if a header says otherwise.
    """
    decoded_ticks, shown_ticks = _media_ticks(track)
    # Some players go by the times of decoding, some by the header.
    error_ticks = max(abs(track.header_ticks - shown_ticks), abs(decoded_ticks - shown_ticks))
    if error_ticks > _HEADER_TOLERANCE_S * track.scale:
        raise Malformed
    media_s = shown_ticks / track.scale
    if not track.edits:
        return media_s
    edited_s = sum(ticks for ticks, start, _ in track.edits if start >= 0) / movie_scale
    if edited_s > media_s + _HEADER_TOLERANCE_S:
        raise Malformed
    return edited_s + _delay_s(track, movie_scale)


def _delay_s(track: Track, movie_scale: int) -> float:
    """How many seconds after the others a track begins, by its edit list."""
    return sum(ticks for ticks, start, _ in track.edits if start < 0) / movie_scale


def _media_ticks(track: Track) -> tuple[int, int]:
    """How long the samples last by the times at which they are decoded, and by those at which they are shown."""
    runs = table(required(track.samples, b"stts"), ">II")
    if sum(count for count, _ in runs) != _samples(track)[0]:
        raise Malformed
    shifts = iter(table(track.samples[b"ctts"], ">Ii") if b"ctts" in track.samples else [])
    decoded_ticks, starts, ends = 0, [], []
    shifted, shift = 0, 0
    for run, ticks in runs:
        count = run
        while count:
            while not shifted:
                shifted, shift = next(shifts, (count, 0))
            # Within both runs, the first sample is shown first and the last one last.
            step = min(count, shifted)
            starts.append(decoded_ticks + shift)
            decoded_ticks += step * ticks
            ends.append(decoded_ticks + shift)
            count, shifted = count - step, shifted - step
    return decoded_ticks, max(ends) - min(starts)


def _samples(track: Track) -> tuple[int, int]:
    """How many samples the table lists, and where the last of them ends in the file."""
    boxes = track.samples
    bytes_until, count = _sample_sizes(required(boxes, b"stsz"))
    offsets = table(boxes[b"stco"], ">I") if b"stco" in boxes else table(required(boxes, b"co64"), ">Q")
    runs = table(required(boxes, b"stsc"), ">III")
    chunk_counts = [after[0] - run[0] for run, after in itertools.pairwise([*runs, (len(offsets) + 1, 0, 0)])]
    per_chunk = itertools.chain.from_iterable(
        itertools.repeat(run[1], chunks) for run, chunks in zip(runs, chunk_counts, strict=True)
    )
    first = end = 0
    for (offset,), samples in zip(offsets, per_chunk, strict=False):
        last = min(first + samples, count)
        end = max(end, offset + bytes_until(last) - bytes_until(first))
        first = last
    return first, end


def _sample_sizes(stsz: memoryview) -> tuple[Callable[[int], int], int]:
    """A function that says how many bytes the first n samples have, and the number of samples."""
    size, count = struct.unpack_from(">II", stsz, 4)
    if size:
        return lambda n: n * size, count
    sums = [0, *itertools.accumulate(size for (size,) in table(stsz, ">I", at=8))]
    return sums.__getitem__, count


def _track_plays_inline(track: Track) -> bool:
    formats = list(children(required(track.samples, b"stsd")[8:]))
    if len(formats) != 1:
        return False
    [(kind, entry)] = formats
    if track.handler == b"soun":
        return kind == b"mp4a" and _is_aac(bytes(required(dict(children(entry[28:])), b"esds")))
    return kind == b"avc1" and _is_8_bit_420(bytes(required(dict(children(entry[78:])), b"avcC")))


def _is_aac(esds: bytes) -> bool:
    """Whether an elementary stream descriptor (ISO/IEC 14496-1) is of AAC; MP3 and others may stand there too."""
    content = _descriptor(esds[4:], tag=3)
    flags = content[2]
    skipped = 3 + (2 if flags & 0x80 else 0) + (1 + content[3] if flags & 0x40 else 0) + (2 if flags & 0x20 else 0)
    return _descriptor(content[skipped:], tag=4)[0] in _AAC_OBJECT_TYPES


def _descriptor(data: bytes, tag: int) -> bytes:
    """What follows a descriptor's tag and its length, whose last byte is the first one under 128."""
    length_end = next((at for at, byte in enumerate(data[:5]) if at and byte < 128), None)  # noqa: PLR2004
    if length_end is None or data[0] != tag:
        raise Malformed
    return data[length_end + 1 :]


def _is_8_bit_420(avcc: bytes) -> bool:
    """Whether an H.264 decoder configuration (ISO/IEC 14496-15) is of a profile that every phone decodes."""
    profile = avcc[1]
    if profile in _PROFILES_OF_420:
        return True
    if profile != _HIGH_PROFILE or not avcc[5] & 31:
        return False
    # A sequence parameter set, ITU-T H.264 7.3.2.1.1: a byte of NAL header, profile, constraints, level, then its
    # id, chroma_format_idc and two bit depths less 8, each as an Exp-Golomb code.
    bits = "".join(f"{byte:08b}" for byte in avcc[12:32].replace(b"\0\0\3", b"\0\0"))
    values = []
    for _ in range(4):
        zeros = bits.index("1")
        values.append(int(bits[zeros : 2 * zeros + 1], 2) - 1)
        bits = bits[2 * zeros + 1 :]
    return values[1:] == [_FOUR_TWO_ZERO, 0, 0]


def _require_whole_webm(file: BinaryIO, size_bytes: int) -> None:
    """Requires all of a WebM whose segment says how long it is; a recorder's live stream doesn't."""
    try:
        file.seek(4)
        file.seek(_vint(file) or 0, os.SEEK_CUR)
        element = file.read(4)
        length = _vint(file)
    except IndexError as error:
        raise VideoIncomplete("the video ends in its header") from error
    except (ValueError, OverflowError, OSError):  # malformed, or a header of exabytes
        return
    end = file.tell() + (length or 0)
    if int.from_bytes(element, "big") == _SEGMENT and end > size_bytes:
        raise VideoIncomplete(f"the video's segment lacks {end - size_bytes} bytes")


def _vint(file: BinaryIO) -> int | None:
    """A variable-size integer of EBML (RFC 8794); None for one that means unknown."""
    first = file.read(1)[0]
    extra = 8 - first.bit_length()
    if extra > 7:  # noqa: PLR2004  a first byte of zero is not allowed
        raise ValueError
    width = 7 * (extra + 1)
    value = int.from_bytes(bytes([first]) + file.read(extra), "big") & ((1 << width) - 1)
    return None if value == (1 << width) - 1 else value
