"""Tells whether a fragmented MP4 that ends between two fragments has all of them.

No box is cut off in such a file, so only what the file promises can tell: a length in its headers, or the list of
fragments that many writers put at the end (`mfra`). A segment index, which says how many bytes follow, is read by
`video_layout.py`. Some writers promise nothing until they are done: FFmpeg's `empty_moov` and browsers' recorders
leave the length at zero, and FFmpeg's `dash` writes an index of each fragment alone. Such a file is taken to be
whole; a player couldn't tell either.
Source: ISO/IEC 14496-12, 8.8.
"""

import struct
from collections.abc import Sequence
from typing import BinaryIO

from bot.media.boxes import Box, Track, children, named, read, scale_and_duration, table

_MAX_FRAGMENT_BYTES = 256 << 10  # of all fragments' headers; a five-second video's have 3 KB
_TOLERANCE_S = 0.25  # roundings, and a track that ends later than the one that was measured
_UNKNOWN_TICKS = {0xFFFFFFFF, (1 << 64) - 1}

_BASE_DATA_OFFSET, _DESCRIPTION, _DURATION = 1, 2, 8  # flags of a tfhd box
_DATA_OFFSET, _FIRST_FLAGS = 1, 4  # of a trun box; the fields of each sample follow
_SAMPLE_DURATION, _SAMPLE_FIELDS = 0x100, (0x100, 0x200, 0x400, 0x800)

_Boxes = Sequence[tuple[bytes, memoryview]]


def lacks_fragments(file: BinaryIO, boxes: Sequence[Box], movie: _Boxes, tracks: Sequence[Track]) -> bool:
    """Whether a file has fewer fragments than it promises. boxes: of the file. movie: the boxes in its moov.

    False if it isn't fragmented, promises nothing, or has more fragments than can be counted.
    Raises: Malformed, struct.error, IndexError.
    """
    extensions = next((list(children(content)) for kind, content in movie if kind == b"mvex"), None)
    if extensions is None:
        return False
    fragments = [box for box in boxes if box.kind == b"moof"]
    lists = [box for box in boxes if box.kind == b"mfra"]
    if sum(box.end - box.body for box in (*fragments, *lists)) > _MAX_FRAGMENT_BYTES:
        return False
    ends = {track.number: _listed_ticks(track) for track in tracks}
    if not fragments:
        return not any(ends.values())
    if any(len(_listed_fragments(_content(file, box))) > len(fragments) for box in lists):
        return True
    defaults = {number: ticks for number, _, ticks in (_three(box) for kind, box in extensions if kind == b"trex")}
    for fragment in fragments:
        for kind, content in children(_content(file, fragment)):
            if kind == b"traf":
                _add_fragment(list(children(content)), defaults, ends)
    shown_s = max((ends[track.number] / track.scale for track in tracks), default=0.0)
    delay_s = max((_delay_ticks(track) for track in tracks), default=0) / _movie_scale(movie)
    return shown_s + delay_s + _TOLERANCE_S < _promised_s(movie, extensions, tracks)


def _content(file: BinaryIO, box: Box) -> memoryview:
    return memoryview(read(file, box.body, box.end - box.body))


def _listed_ticks(track: Track) -> int:
    """How long the samples in the table of contents last; fragments follow those."""
    return (
        sum(count * ticks for count, ticks in table(track.samples[b"stts"], ">II"))
        if b"stts" in track.samples
        else 0
    )


def _listed_fragments(mfra: memoryview) -> set[int]:
    """Where the fragments are that have a random access point, each counted once."""
    found = set[int]()
    for kind, content in children(mfra):
        if kind == b"tfra":
            lengths, count = struct.unpack_from(">II", content, 8)
            time = ">QQ" if content[0] else ">II"
            size = struct.calcsize(time) + 3 + sum(lengths >> shift & 3 for shift in (0, 2, 4))
            entries = content[16 : 16 + count * size]
            found.update(
                struct.unpack_from(time, entries, at)[1] for at in range(0, len(entries) - size + 1, size)
            )
    return found


def _three(trex: memoryview) -> tuple[int, int, int]:
    """A track's id, its description and the usual duration of its samples."""
    number, description, ticks = struct.unpack_from(">III", trex, 4)
    return number, description, ticks


def _add_fragment(boxes: _Boxes, defaults: dict[int, int], ends: dict[int, int]) -> None:
    """Moves the end of a fragment's track. defaults: the usual duration of a sample, by track."""
    header = named(boxes, b"tfhd")
    flags, number = struct.unpack_from(">II", header)
    at = 8 + 8 * bool(flags & _BASE_DATA_OFFSET) + 4 * bool(flags & _DESCRIPTION)
    usual_ticks = struct.unpack_from(">I", header, at)[0] if flags & _DURATION else defaults.get(number, 0)
    end = ends.get(number, 0)
    for kind, content in boxes:
        if kind == b"tfdt":
            end = struct.unpack_from(">Q" if content[0] else ">I", content, 4)[0]
        elif kind == b"trun":
            end += _run_ticks(content, usual_ticks)
    ends[number] = max(end, ends.get(number, 0))


def _run_ticks(trun: memoryview, usual_ticks: int) -> int:
    flags, count = struct.unpack_from(">II", trun)
    if not flags & _SAMPLE_DURATION:
        return int(count * usual_ticks)
    at = 8 + 4 * bool(flags & _DATA_OFFSET) + 4 * bool(flags & _FIRST_FLAGS)
    fields = sum(bool(flags & field) for field in _SAMPLE_FIELDS)
    numbers = struct.unpack_from(f">{(len(trun) - at) // 4}I", trun, at)
    return sum(numbers[: count * fields : fields])


def _delay_ticks(track: Track) -> int:
    return sum(ticks for ticks, start, _ in track.edits if start < 0)


def _movie_scale(movie: _Boxes) -> int:
    return scale_and_duration(named(movie, b"mvhd"))[0]


def _promised_s(movie: _Boxes, extensions: _Boxes, tracks: Sequence[Track]) -> float:
    """The longest time that a header names. All ones stand for unknown, zero for that of no fragment."""
    movie_scale, movie_ticks = scale_and_duration(named(movie, b"mvhd"))
    promised = [(movie_ticks, movie_scale)]
    for kind, content in extensions:
        if kind == b"mehd":
            promised.append((struct.unpack_from(">Q" if content[0] else ">I", content, 4)[0], movie_scale))
    for track in tracks:
        promised += [(track.header_movie_ticks, movie_scale), (track.header_ticks, track.scale)]
    return max((ticks / scale for ticks, scale in promised if ticks not in _UNKNOWN_TICKS), default=0.0)
