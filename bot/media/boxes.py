"""Reads the boxes of an MP4: where they are in the file, and what a track's headers say. Pure, but for the file.

What is read of a file is the caller's to bound. Source: ISO/IEC 14496-12.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

_MAX_BOXES = 10_000  # outside any other


class Malformed(ValueError):
    """The boxes contradict each other; nothing follows from them."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box of the file. body: where its content begins."""

    kind: bytes
    body: int
    end: int


@dataclass(frozen=True, slots=True)
class Track:
    """A track.

    number: its id. handler: what it is of. scale: ticks per second. header_ticks: its length by its media header.
    header_movie_ticks: by its own header, in ticks of the movie. samples: the boxes of its table of samples.
    """

    number: int
    handler: bytes
    scale: int
    header_ticks: int
    header_movie_ticks: int
    samples: dict[bytes, memoryview]
    edits: list[tuple[int, ...]]


def top_level(file: BinaryIO, size_bytes: int) -> Iterator[Box]:
    """The boxes of the file; the last may end after it. Raises: Malformed, also if there are too many."""
    start = 0
    for _ in range(_MAX_BOXES):
        header = read(file, start, 16) if start < size_bytes else b""
        if len(header) < 8:  # noqa: PLR2004  no room for a box
            return
        length, kind = struct.unpack_from(">I4s", header)
        body = start + 8
        if length == 1:
            if len(header) < 16:  # noqa: PLR2004
                return
            length, body = struct.unpack_from(">Q", header, 8)[0], start + 16
        elif length == 0:  # to the end of the file
            length = size_bytes - start
        if length < body - start:
            raise Malformed
        yield Box(kind, body, start + length)
        start += length
    raise Malformed


def read(file: BinaryIO, start: int, size: int) -> bytes:
    """That part of a file, shorter if the file ends before it."""
    file.seek(start)
    return file.read(size)


def children(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    """The boxes inside a box, with their contents."""
    start = 0
    while start + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        if not 8 <= length <= len(data) - start:  # noqa: PLR2004
            raise Malformed
        yield kind, data[start + 8 : start + length]
        start += length


def named(boxes: Sequence[tuple[bytes, memoryview]], kind: bytes) -> memoryview:
    """The content of the first box of that kind. Raises: Malformed if there is none."""
    found = next((content for name, content in boxes if name == kind), None)
    if found is None:
        raise Malformed
    return found


def read_track(data: memoryview) -> Track:
    """What the headers in a trak box say. Raises: Malformed, struct.error, IndexError."""
    boxes = dict(children(data))
    media = dict(children(required(boxes, b"mdia")))
    information = dict(children(required(media, b"minf")))
    scale, ticks = scale_and_duration(required(media, b"mdhd"))
    header = required(boxes, b"tkhd")
    number, _, movie_ticks = struct.unpack_from(">IIQ" if header[0] else ">III", header, 20 if header[0] else 12)
    edits: list[tuple[int, ...]] = []
    if b"edts" in boxes:
        elst = required(dict(children(boxes[b"edts"])), b"elst")
        edits = table(elst, ">QqI" if elst[0] else ">IiI")
    return Track(
        number=number,
        handler=bytes(required(media, b"hdlr")[8:12]),
        scale=scale,
        header_ticks=ticks,
        header_movie_ticks=movie_ticks,
        samples=dict(children(required(information, b"stbl"))),
        edits=edits,
    )


def required(boxes: dict[bytes, memoryview], kind: bytes) -> memoryview:
    """The content of a box of that kind. Raises: Malformed if there is none."""
    if kind not in boxes:
        raise Malformed
    return boxes[kind]


def table(data: memoryview, item: str, at: int = 4) -> list[tuple[int, ...]]:
    """A table whose count of entries stands at `at`."""
    count = struct.unpack_from(">I", data, at)[0]
    size = struct.calcsize(item)
    start = at + 4
    if count * size > len(data) - start:
        raise Malformed
    return list(struct.iter_unpack(item, data[start : start + count * size]))


def scale_and_duration(header: memoryview) -> tuple[int, int]:
    """Ticks per second, and the duration in ticks, of an mvhd or mdhd box."""
    scale, duration = struct.unpack_from(">IQ" if header[0] else ">II", header, 20 if header[0] else 12)
    if scale == 0:
        raise Malformed
    return scale, duration
