"""Reads from a JPEG XL what must be known before it is decoded: its decoder opens it by decoding all pixels. Pure.

Sources: ISO/IEC 18181-1, annex D (the codestream's header), and 18181-2 (the container).
"""

from dataclasses import dataclass

CODESTREAM = b"\xff\x0a"
_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIDE_BITS = (9, 13, 18, 30)
_PREVIEW_BITS = (6, 8, 10, 12)
_SMALL_PREVIEW_BITS = (0, 0, 5, 9)
_HEADER_BYTES = 40  # more than all fields up to the last that is read


@dataclass(frozen=True, slots=True)
class Header:
    """size: width and height in pixels, as stored; the decoder turns the picture upright."""

    size: tuple[int, int]
    is_animation: bool


class _Bits:
    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data[:_HEADER_BYTES], "little")

    def number(self, bits: int) -> int:
        value = self._bits & (1 << bits) - 1
        self._bits >>= bits
        return value


def is_jpeg_xl(data: bytes) -> bool:
    """Whether a file begins as a JPEG XL does, in a container or without one."""
    return data.startswith((CODESTREAM, _CONTAINER))


def codestream(data: bytes) -> bytes:
    """The pixels of a file without its container; empty if there are none.

    A container also has metadata, and what it takes to make a JPEG of it again. Its boxes are those of
    `containers.is_truncated_iso_media`; the codestream is in a box `jxlc` or in parts, each after its number.
    """
    if data.startswith(CODESTREAM):
        return data
    at, parts = 0, list[bytes]()
    while at + 8 <= len(data):
        size, name, start = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], at + 8
        if size == 1:
            size, start = int.from_bytes(data[at + 8 : at + 16], "big"), at + 16
        end = max(at + size, start) if size else len(data)
        if name in {b"jxlc", b"jxlp"}:
            parts.append(data[start + 4 * (name == b"jxlp") : end])
        at = end
    return b"".join(parts)


def read_header(stream: bytes) -> Header:
    """The header of a codestream. Of one that is cut off, it may be anything."""
    bits = _Bits(stream.removeprefix(CODESTREAM))
    size = _read_size(bits)
    if bits.number(1) or not bits.number(1):  # all the rest is as usual, or these fields are
        return Header(size, is_animation=False)
    bits.number(3)  # the orientation
    if bits.number(1):
        _read_size(bits)  # which a viewer should show it in
    if bits.number(1):
        _skip_preview_size(bits)
    return Header(size, is_animation=bool(bits.number(1)))


def _read_size(bits: _Bits) -> tuple[int, int]:
    is_small = bits.number(1)

    def side() -> int:
        return 8 * (1 + bits.number(5)) if is_small else 1 + bits.number(_SIDE_BITS[bits.number(2)])

    height = side()
    ratio = bits.number(3)
    if not ratio:
        return side(), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _skip_preview_size(bits: _Bits) -> None:
    side_bits = _SMALL_PREVIEW_BITS if bits.number(1) else _PREVIEW_BITS
    bits.number(side_bits[bits.number(2)])
    if not bits.number(3):
        bits.number(side_bits[bits.number(2)])
