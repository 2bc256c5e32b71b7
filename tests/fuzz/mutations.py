"""Mutates valid picture files in typical ways, repeatably by seed.

Formats are parsed just enough to mutate whole parts: segments, chunks, boxes, entries.
"""

import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

PICTURES = Path(__file__).parents[1] / "pictures"

Part = tuple[int, int]
"""Start and end of a part of a file."""

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_BOUNDARIES = (
    0,
    1,
    2,
    3,
    7,
    8,
    127,
    128,
    255,
    256,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
)


def samples() -> list[bytes]:
    """The valid files, in a fixed order."""
    return [path.read_bytes() for path in sorted(PICTURES.iterdir()) if path.suffix != ".md"]


def parts(data: bytes) -> list[Part]:
    """The parts of a file; none if its format is not parsed."""
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
    """The mutated file of this seed and number."""
    rng = random.Random(f"{seed}/{number}")  # noqa: S311 - repeatable
    data = rng.choice(files)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        data = rng.choice(MUTATIONS)(rng, data, files)
    # Most readers stop at a wrong checksum, and would never reach what follows.
    return _with_valid_checksums(data) if data.startswith(_PNG_MAGIC) and rng.random() < 0.8 else data


def _random_offset(rng: random.Random, data: bytes) -> int:
    """A random offset; more often near the start, where headers are."""
    return rng.randrange(max(1, min(len(data), rng.choice((64, 512, 4096, 1 << 24)))))


def _flip_bits(rng: random.Random, data: bytes, _: list[bytes]) -> bytes:
    broken = bytearray(data)
    for _number in range(rng.choice((1, 3, 20)) if data else 0):
        broken[_random_offset(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(broken)


def _replace_bytes(rng: random.Random, data: bytes, _: list[bytes]) -> bytes:
    at, length = _random_offset(rng, data), rng.choice((1, 4, 32, 1000))
    put = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length), b""))
    return data[:at] + put + data[at + rng.choice((0, length)) :]


def _truncate(rng: random.Random, data: bytes, _: list[bytes]) -> bytes:
    return data[: _random_offset(rng, data)] if rng.random() < 0.5 else data[: rng.randrange(len(data) + 1)]


def _write_number(rng: random.Random, data: bytes, _: list[bytes]) -> bytes:
    """Writes a boundary value where a length, count, side or offset may be."""
    found = parts(data)
    at = rng.choice(found)[0] + rng.randrange(12) if found and rng.random() < 0.7 else _random_offset(rng, data)
    width = rng.choice((1, 2, 4))
    number = rng.choice(_BOUNDARIES) & (1 << 8 * width) - 1
    return data[:at] + number.to_bytes(width, rng.choice(("big", "little"))) + data[at + width :]


def _move_part(rng: random.Random, data: bytes, _: list[bytes]) -> bytes:
    """Drops, doubles or multiplies a part, or moves it over another."""
    if not (found := parts(data)):
        return _replace_bytes(rng, data, [])
    (start, end), (other, other_end) = rng.choice(found), rng.choice(found)
    match rng.randrange(4):
        case 0:
            return data[:start] + data[end:]
        case 1:
            return data[:end] + data[start:end] + data[end:]
        case 2:
            return data[:end] + data[start:end] * min(500, 100_000 // max(1, end - start)) + data[end:]
        case _:
            return data[:other] + data[start:end] + data[other_end:]


def _splice(rng: random.Random, data: bytes, files: list[bytes]) -> bytes:
    """Inserts a part of another file, or its end."""
    other = rng.choice(files)
    if (here := parts(data)) and (there := parts(other)) and rng.random() < 0.6:
        (_, at), (start, end) = rng.choice(here), rng.choice(there)
        return data[:at] + other[start:end] + data[at:]
    return data[: _random_offset(rng, data)] + other[_random_offset(rng, other) :]


MUTATIONS: tuple[Callable[[random.Random, bytes, list[bytes]], bytes], ...] = (
    _flip_bits, _replace_bytes, _truncate, _write_number, _write_number, _move_part, _splice,
)  # fmt: skip


def _with_valid_checksums(data: bytes) -> bytes:
    fixed = bytearray(data)
    for start, end in parts(data):
        if end - start >= 12:
            fixed[end - 4 : end] = zlib.crc32(fixed[start + 4 : end - 4]).to_bytes(4, "big")
    return bytes(fixed)
