"""Takes from a picture's file what decides over its pixels, and leaves out the rest before a decoder sees it.

Decoders refuse a whole picture for a comment that is too long or a checksum of a date. Pure; all functions accept
any bytes. What can't be parsed is left as it is, for the decoder to judge.
"""

import struct
import zlib
from dataclasses import dataclass, field

MAX_PROFILE_BYTES = 16 << 20  # of an unpacked ICC profile; large ones, of printers, have some 3 MB

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_PNG_ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
_PNG_PIXELS = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT"}) | _PNG_ANIMATION
_PNG_COLORS = frozenset({b"iCCP", b"cICP", b"sRGB", b"gAMA", b"cHRM", b"eXIf"})
_PNG_TRANSPARENCY_BYTES = {0: 2, 2: 6}  # by color type: of gray, of RGB
_PNG_END = b"\0\0\0\0IEND\xaeB\x60\x82"
_ANCILLARY = 0x20  # this bit of a chunk's first letter: a reader may skip it

_JPEG_SOS = 0xDA
_JPEG_COMMENT = 0xFE
_JPEG_PROFILE = 0xE2  # its first 14 bytes say which part of how many it is; some programs write the parts twice
_JPEG_APPLICATION = range(0xE0, 0xF0)
_JPEG_STAND_ALONE = frozenset({0x01, *range(0xD0, 0xDA)})  # markers without a length
_JPEG_KEPT = ((0xE0, b"JFIF\0", 14), (0xEE, b"Adobe", 12), (0xE2, b"ICC_PROFILE\0", 14))
"""Segments that decide over colors: marker, start, the least number of bytes."""

_WEBP_KEPT = frozenset({b"VP8X", b"ICCP", b"ANIM", b"ANMF", b"ALPH", b"VP8 ", b"VP8L"})
_EXIF, _EXIF_HEADER_BYTES = b"Exif\0", 6  # any byte may follow
_ORIENTATION, _SHORT = 0x0112, 3  # an EXIF tag, and the type of its value

_BMP_V5_BYTES, _BMP_EMBEDDED = 124, b"DEBM"  # the size of that header, and a little-endian "MBED" in it


@dataclass(frozen=True, slots=True)
class Png:
    """A PNG of pixels only, and what its chunks say about them. The numbers are the chunks', times 1/100,000."""

    data: bytes
    icc_profile: bytes | None = None
    cicp: bytes | None = None
    is_srgb: bool = False
    gamma: float | None = None
    chromaticities: tuple[float, ...] | None = None
    exif: bytes | None = None


def read_png(data: bytes) -> Png:
    """Keeps pixels, palette, transparency and animation; only chunks before the pixels describe their colors.

    A chunk with a wrong checksum counts as missing, unless the picture can't be without it.
    """
    kept: list[tuple[bytes, bytes]] = []
    described: dict[bytes, bytes] = {}
    has_pixels = is_animation_broken = False
    at = len(_PNG_MAGIC)
    while at + 8 <= len(data):
        name, end = data[at + 4 : at + 8], at + 12 + int.from_bytes(data[at : at + 4], "big")
        if name == b"IEND" or not name.isalpha():
            break
        has_pixels = has_pixels or name in {b"IDAT", b"fdAT"}
        if name in _PNG_PIXELS or (name in _PNG_COLORS and not has_pixels and name not in described):
            is_intact = zlib.crc32(data[at + 4 : end - 4]).to_bytes(4, "big") == data[end - 4 : end]
            if name in _PNG_COLORS:
                if is_intact:
                    described[name] = data[at + 8 : end - 4]
            elif is_intact or not name[0] & _ANCILLARY:
                kept.append((name, data[at:end] if end <= len(data) else _png_chunk(name, data[at + 8 :])))
            else:
                is_animation_broken = is_animation_broken or name in _PNG_ANIMATION
        at = end
    least_transparency = _PNG_TRANSPARENCY_BYTES.get(data[25] if len(data) > 25 else 0, 0)  # noqa: PLR2004  # in IHDR
    chunks = [
        chunk
        for name, chunk in kept
        if not (is_animation_broken and name in _PNG_ANIMATION)
        and not (name == b"tRNS" and len(chunk) - 12 < least_transparency)
    ]
    return Png(
        b"".join((_PNG_MAGIC, *chunks, _PNG_END)),
        _png_profile(described.get(b"iCCP", b"")),
        described.get(b"cICP"),
        b"sRGB" in described,
        *_png_gamma(described),
        described.get(b"eXIf"),
    )


def _png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def _png_profile(content: bytes) -> bytes | None:
    """The profile in an iCCP chunk: a name, a zero, the compression method (0), deflated bytes."""
    packed = content.partition(b"\0")[2][1:]
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed, MAX_PROFILE_BYTES)
    except zlib.error:
        return None
    return profile if unpacker.eof else None


def _png_gamma(described: dict[bytes, bytes]) -> tuple[float | None, tuple[float, ...] | None]:
    gamma, primaries = described.get(b"gAMA", b""), described.get(b"cHRM", b"")
    return (
        int.from_bytes(gamma, "big") / 100_000 if len(gamma) == 4 else None,  # noqa: PLR2004  # the chunk's size
        tuple(value / 100_000 for value in struct.unpack(">8I", primaries)) if len(primaries) == 32 else None,  # noqa: PLR2004
    )


@dataclass(frozen=True, slots=True)
class Jpeg:
    """A JPEG with those segments that decide over its pixels, and its EXIF block."""

    data: bytes = field(repr=False)
    exif: bytes | None = None


def read_jpeg(data: bytes) -> Jpeg:
    """Leaves out comments and what programs wrote for themselves, up to the first scan."""
    at, kept, exif = 2, [data[:2]], None
    profile_parts = set[bytes]()
    while at + 4 <= len(data) and data[at] == 0xFF:  # noqa: PLR2004  # the start of a marker
        marker = data[at + 1]
        if marker == 0xFF:  # noqa: PLR2004  # padding
            at += 1
            continue
        if marker == _JPEG_SOS or marker in _JPEG_STAND_ALONE or marker == 0:
            break
        end = at + 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
        content = data[at + 4 : end]
        if marker == 0xE1 and content.startswith(_EXIF) and exif is None:  # noqa: PLR2004  # APP1
            exif = content[_EXIF_HEADER_BYTES:]
        if _is_needed(marker, content) and not (marker == _JPEG_PROFILE and content[:14] in profile_parts):
            kept.append(data[at:end])
        if marker == _JPEG_PROFILE:
            profile_parts.add(content[:14])
        at = end
    is_whole = sum(map(len, kept)) == at
    return Jpeg(data if is_whole else b"".join((*kept, memoryview(data)[at:])), exif)


def _is_needed(marker: int, content: bytes) -> bool:
    if marker in _JPEG_APPLICATION or marker == _JPEG_COMMENT:
        return any(
            marker == kept and content.startswith(start) and len(content) >= least
            for kept, start, least in _JPEG_KEPT
        )
    return True


def exif_orientation(exif: bytes | None) -> int | None:
    """The orientation in an EXIF block, without its header; None if there is none, or it isn't a single short."""
    if exif is None:
        return None
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    if order is None:
        return None
    try:
        at: int = struct.unpack_from(f"{order}I", exif, 4)[0]
        for entry in range(struct.unpack_from(f"{order}H", exif, at)[0]):
            tag, kind, count, value = struct.unpack_from(f"{order}HHIH", exif, at + 2 + 12 * entry)
            if (tag, kind, count) == (_ORIENTATION, _SHORT, 1):
                return int(value)
    except struct.error:  # it ends early
        pass
    return None


def bmp_profile(data: bytes) -> bytes | None:
    """The ICC profile in a BMP. Source: BITMAPV5HEADER, Windows API."""
    if len(data) < 14 + _BMP_V5_BYTES or data[14] != _BMP_V5_BYTES or data[70:74] != _BMP_EMBEDDED:
        return None
    start, size = struct.unpack_from("<II", data, 126)
    return data[14 + start : 14 + start + size] or None


def read_webp(data: bytes) -> bytes:
    """A WEBP without metadata, which browsers don't turn it by either.

    Chunks: a name, a size (32 bits, little-endian), content, a zero if the size is odd. Source: RFC 9649, 2.3.
    """
    if len(data) < 12:  # noqa: PLR2004  # the length of the file's own header
        return data
    kept, at = bytearray(data[:12]), 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name in _WEBP_KEPT:
            kept += data[at : at + 8 + size + size % 2]
        at += 8 + size + size % 2
    if len(kept) % 2 and len(data) % 2:  # a last zero that was left out
        kept.append(0)
    kept[4:8] = (len(kept) - 8).to_bytes(4, "little")
    return bytes(kept)


def is_truncated_iso_media(data: bytes) -> bool:
    """Whether a HEIC or AVIF is cut off; libheif silently fills the missing part with one color.

    The file is a sequence of boxes: size (32 bits, big-endian; 1: 64 bits after the name instead; 0: to the file's
    end), name, content. Source: ISO/IEC 14496-12, 4.2.
    """
    offset, name = 0, b""
    while offset < len(data):
        size, name = int.from_bytes(data[offset : offset + 4], "big"), data[offset + 4 : offset + 8]
        if size == 1:
            size = int.from_bytes(data[offset + 8 : offset + 16], "big")
        if size == 0:
            return False
        offset += max(size, 8)
    # Some cameras append data that is not a box.
    return offset > len(data) and name in {b"mdat", b"meta", b"moov"}
