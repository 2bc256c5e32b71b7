"""Sample pictures, and how a prepared frame is read."""

import random
import struct
import zlib
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from bot.domain.errors import PictureRefused
from bot.media.first_frame import prepare_first_frame
from bot.media.picture_problems import PictureProblem, UnusablePicture
from bot.media.prepared_frame import PreparedFrame

RED, GREEN, BLUE, YELLOW, WHITE = (208, 32, 32), (32, 160, 32), (32, 64, 208), (240, 208, 32), (255, 255, 255)
PICTURES = Path(__file__).parents[1] / "pictures"
EVERY_PICTURE = sorted(path.name for path in PICTURES.iterdir() if path.suffix != ".md")
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
UPRIGHT = (RED, GREEN, BLUE, YELLOW)


def picture(name: str) -> bytes:
    return (PICTURES / name).read_bytes()


def pixels(prepared: PreparedFrame) -> Image.Image:
    image = Image.open(BytesIO(prepared.frame.data))
    image.load()
    return image


def corners(prepared: PreparedFrame) -> list[tuple[int, ...]]:
    """The colors in the middle of the four quarters: top left, top right, bottom left, bottom right."""
    image = pixels(prepared)
    across, down = (image.width // 4, image.width * 3 // 4), (image.height // 4, image.height * 3 // 4)
    found = [image.getpixel((x, y)) for y in down for x in across]
    return [color for color in found if isinstance(color, tuple)]


def assert_colors(found: list[tuple[int, ...]], expected: tuple[tuple[int, ...], ...], tolerance: int = 6) -> None:
    off = [
        max(abs(a - b) for a, b in zip(one, other, strict=True))
        for one, other in zip(found, expected, strict=True)
    ]
    assert max(off) <= tolerance, f"{found} is not {expected}"


def one_bit(width: int, height: int) -> bytes:
    file = BytesIO()
    Image.new("1", (width, height), 1).save(file, "PNG")
    return file.getvalue()


def rgba(width: int, height: int, *, alpha: int) -> bytes:
    file = BytesIO()
    Image.new("RGBA", (width, height), (32, 64, 208, alpha)).save(file, "PNG")
    return file.getvalue()


def noise(width: int, height: int) -> Image.Image:
    content = random.Random(5).randbytes(width * height * 3)  # noqa: S311  # repeatable
    return Image.frombytes("RGB", (width, height), content)


def png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_chunk_names(data: bytes) -> set[bytes]:
    names, at = set(), 8
    while at < len(data):
        names.add(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return names


def jpeg_markers(data: bytes) -> set[int]:
    markers, at = set(), 2
    while data[at + 1] != 0xDA:
        markers.add(data[at + 1])
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return markers


def refusal(data: bytes) -> UnusablePicture:
    with pytest.raises(PictureRefused) as refused:
        prepare_first_frame(data)
    assert isinstance(refused.value.reason, UnusablePicture)
    return refused.value.reason


def problem(data: bytes) -> PictureProblem:
    return refusal(data).problem
