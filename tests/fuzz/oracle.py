"""Checks a frame with parsers and a decoder other than those that made it."""

from io import BytesIO

import av

from bot.domain.models import PictureLimits
from bot.media.prepared_frame import PreparedFrame

LIMITS = PictureLimits()

_PNG_CHUNKS = {b"IHDR", b"IDAT", b"IEND"}
_PNG_OPAQUE = {0, 2}
"""Gray and RGB."""

_JPEG_SEGMENTS = {0xC0, 0xC4, 0xDA, 0xDB, 0xE0}
"""Baseline frame, Huffman tables, scan, quantization tables, JFIF: only what pixels need."""


def flaw(prepared: PreparedFrame) -> str | None:
    """What is wrong with the frame, None if nothing is."""
    data, size = prepared.frame.data, (prepared.width, prepared.height)
    if len(data) > LIMITS.max_bytes:
        return f"{len(data)} bytes"
    if min(size) < LIMITS.side_min_px or max(size) > LIMITS.side_max_px:
        return f"a size of {size}"
    match prepared.frame.mime:
        case "image/png":
            wrong = _png_flaw(data)
        case "image/jpeg":
            wrong = _jpeg_flaw(data)
        case mime:
            wrong = f"of type {mime}"
    if wrong is None and (decoded := _decoded_size(data)) != size:
        wrong = f"opens as {decoded} instead of {size}"
    return wrong


def _png_flaw(data: bytes) -> str | None:
    at = 8
    while at < len(data):
        if data[at + 4 : at + 8] not in _PNG_CHUNKS:
            return f"a chunk {data[at + 4 : at + 8]!r}"
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    if not data.startswith(b"\x89PNG\r\n\x1a\n") or at != len(data) or not data.endswith(b"IEND\xae\x42\x60\x82"):
        return "not a whole PNG"
    return None if data[25] in _PNG_OPAQUE else f"a PNG of color type {data[25]}"


def _jpeg_flaw(data: bytes) -> str | None:
    at = 2
    while data[at] == 0xFF and data[at + 1] != 0xDA:
        if data[at + 1] not in _JPEG_SEGMENTS:
            return f"a segment {data[at + 1]:x}"
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None if data.startswith(b"\xff\xd8") and data.find(b"\xff\xd9") == len(data) - 2 else "not a whole JPEG"


def _decoded_size(data: bytes) -> tuple[int, int]:
    with av.open(BytesIO(data), "r") as file:
        picture = next(file.decode(video=0))
        return picture.width, picture.height
