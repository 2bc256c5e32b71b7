"""Breaks good picture files, each in one of the ways that a format can be broken; the same seed breaks the same.

A format's parts (segments, chunks, boxes, blocks) are found well enough to cut along them; where they can't be,
any byte will do.
"""

import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

PICTURES = Path(__file__).parents[1] / "pictures"

Part = tuple[int, int]
"""Where a part of a file begins and ends."""

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_EDGES = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def samples() -> list[bytes]:
    """The good files, in an order that stays."""
    return [path.read_bytes() for path in sorted(PICTURES.iterdir()) if path.suffix != ".md"]


def parts(data: bytes) -> list[Part]:
    """The parts of a file, as its format has them; none where it is none of those."""
    if data.startswith(b"\xff\xd8"):
        return _jpeg_segments(data)
    if data.startswith(_PNG_MAGIC):
        return _lengths(data, 8, lambda at: 12 + int.from_bytes(data[at : at + 4], "big"))
    if data[4:8] == b"ftyp":
        return _lengths(data, 0, lambda at: int.from_bytes(data[at : at + 4], "big"))
    if data.startswith(b"RIFF"):
        return _lengths(data, 12, lambda at: 8 + (int.from_bytes(data[at + 4 : at + 8], "little") + 1) // 2 * 2)
    if data[:4] in {b"II*\0", b"MM\0*"}:
        return _tiff_entries(data)
    return []


def _lengths(data: bytes, at: int, length: Callable[[int], int]) -> list[Part]:
    found = []
    while at + 8 <= len(data) and length(at) >= 8:
        found.append((at, min(len(data), at + length(at))))
        at += length(at)
    return found


def _jpeg_segments(data: bytes) -> list[Part]:
    found, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        found.append((at, min(end, len(data))))
        at = end
    return found


def _tiff_entries(data: bytes) -> list[Part]:
    order = "<" if data[:2] == b"II" else ">"
    at = struct.unpack_from(order + "I", data, 4)[0] if len(data) >= 8 else len(data)
    if at + 2 > len(data):
        return []
    (count,) = struct.unpack_from(order + "H", data, at)
    starts = range(at + 2, at + 2 + 12 * count, 12)
    return [(start, start + 12) for start in starts if start + 12 <= len(data)]


def mutant(seed: int, number: int, files: list[bytes]) -> bytes:
    """The broken file of this seed and number."""
    chance = random.Random(f"{seed}/{number}")  # noqa: S311 - repeatable
    data = chance.choice(files)
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        data = chance.choice(MUTATIONS)(chance, data, files)
    # Most readers stop at a wrong sum, and what stands behind would never be tried.
    return _with_true_sums(data) if data.startswith(_PNG_MAGIC) and chance.random() < 0.8 else data


def _somewhere(chance: random.Random, data: bytes) -> int:
    """A place in the file; the front, where headers are, more often."""
    return chance.randrange(max(1, min(len(data), chance.choice((64, 512, 4096, 1 << 24)))))


def _flip_bits(chance: random.Random, data: bytes, _: list[bytes]) -> bytes:
    broken = bytearray(data)
    for _number in range(chance.choice((1, 3, 20)) if data else 0):
        broken[_somewhere(chance, data)] ^= 1 << chance.randrange(8)
    return bytes(broken)


def _run_of_bytes(chance: random.Random, data: bytes, _: list[bytes]) -> bytes:
    at, length = _somewhere(chance, data), chance.choice((1, 4, 32, 1000))
    put = chance.choice((bytes(length), b"\xff" * length, chance.randbytes(length), b""))
    return data[:at] + put + data[at + chance.choice((0, length)) :]


def _cut_off(chance: random.Random, data: bytes, _: list[bytes]) -> bytes:
    return data[: _somewhere(chance, data)] if chance.random() < 0.5 else data[: chance.randrange(len(data) + 1)]


def _number(chance: random.Random, data: bytes, _: list[bytes]) -> bytes:
    """An edge of a number's range where a length, a count, a side or an offset may stand."""
    found = parts(data)
    at = (
        chance.choice(found)[0] + chance.randrange(12)
        if found and chance.random() < 0.7
        else _somewhere(chance, data)
    )
    width = chance.choice((1, 2, 4))
    number = chance.choice(_EDGES) & (1 << 8 * width) - 1
    return data[:at] + number.to_bytes(width, chance.choice(("big", "little"))) + data[at + width :]


def _move_part(chance: random.Random, data: bytes, _: list[bytes]) -> bytes:
    """A part dropped, doubled, many times over, or in the place of another."""
    if not (found := parts(data)):
        return _run_of_bytes(chance, data, [])
    (start, end), (other, other_end) = chance.choice(found), chance.choice(found)
    match chance.randrange(4):
        case 0:
            return data[:start] + data[end:]
        case 1:
            return data[:end] + data[start:end] + data[end:]
        case 2:
            return data[:end] + data[start:end] * min(500, 100_000 // max(1, end - start)) + data[end:]
        case _:
            return data[:other] + data[start:end] + data[other_end:]


def _splice(chance: random.Random, data: bytes, files: list[bytes]) -> bytes:
    """A part, or the rest, of another file."""
    other = chance.choice(files)
    if (here := parts(data)) and (there := parts(other)) and chance.random() < 0.6:
        (_, at), (start, end) = chance.choice(here), chance.choice(there)
        return data[:at] + other[start:end] + data[at:]
    return data[: _somewhere(chance, data)] + other[_somewhere(chance, other) :]


MUTATIONS: tuple[Callable[[random.Random, bytes, list[bytes]], bytes], ...] = (
    _flip_bits, _run_of_bytes, _cut_off, _number, _number, _move_part, _splice,
)  # fmt: skip


def _with_true_sums(data: bytes) -> bytes:
    fixed = bytearray(data)
    for start, end in parts(data):
        if end - start >= 12:
            fixed[end - 4 : end] = zlib.crc32(fixed[start + 4 : end - 4]).to_bytes(4, "big")
    return bytes(fixed)
