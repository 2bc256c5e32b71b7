"""Makes picture files, and reads the frames made of them."""

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO

from PIL import Image, ImageCms, ImageDraw

from bot.domain.errors import PictureRefused
from bot.media.first_frame import PictureProblem, PreparedFrame, UnusablePicture, prepare_first_frame

RED, GREEN, BLUE, YELLOW = (208, 32, 32), (32, 160, 32), (32, 64, 208), (240, 208, 32)
QUARTERS = (RED, GREEN, BLUE, YELLOW)
CLEAR, BLACK, WHITE = (0, 0, 0, 0), (0, 0, 0, 255), (255, 255, 255, 255)
SIZE = (480, 360)

Color = tuple[int, ...]


def quarters(colors: Sequence[Color] = QUARTERS, mode: str = "RGB") -> Image.Image:
    """Four colors: above left and right, below left and right."""
    image = Image.new(mode, SIZE)
    for index, color in enumerate(colors):
        image.paste(color, (index % 2 * 240, index // 2 * 180, index % 2 * 240 + 240, index // 2 * 180 + 180))
    return image


def grays(*values: int) -> Image.Image:
    return quarters([(value,) * 3 for value in values])


def drawing(color: Color, background: Color = CLEAR) -> Image.Image:
    """An ellipse in the middle of an RGBA picture."""
    image = Image.new("RGBA", SIZE, background)
    ImageDraw.Draw(image).ellipse((100, 60, 380, 300), fill=color)
    return image


def encoded(image: Image.Image, format_: str, **options: object) -> bytes:
    file = BytesIO()
    image.save(file, format_, **options)
    return file.getvalue()


def animated(format_: str, *pictures: Image.Image) -> bytes:
    options: dict[str, object] = {"lossless": True} if format_ == "WEBP" else {}
    return encoded(pictures[0], format_, save_all=True, append_images=list(pictures[1:]), duration=100, **options)


def chunk(name: bytes, content: bytes, *, has_right_checksum: bool = True) -> bytes:
    """A chunk of a PNG."""
    checksum = zlib.crc32(name + content) ^ (not has_right_checksum)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)


def png(image: Image.Image, *chunks: bytes) -> bytes:
    """A PNG with more chunks after its header."""
    data = encoded(image, "PNG")
    return data[:33] + b"".join(chunks) + data[33:]


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def swapped_profile() -> bytes:
    """A profile under which colors are far from themselves."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    for tag, other in ((b"rXYZ", b"gXYZ"), (b"rTRC", b"gTRC")):
        one, two = profile.index(tag), profile.index(other)
        profile[one : one + 4], profile[two : two + 4] = other, tag
    return bytes(profile)


def frame(prepared: PreparedFrame) -> Image.Image:
    image = Image.open(BytesIO(prepared.frame.data))
    image.load()
    return image


def pixel(image: Image.Image, at: tuple[int, int]) -> Color:
    color = image.getpixel(at)
    assert isinstance(color, tuple)
    return color


def centers(data: bytes) -> list[Color]:
    """The colors in the middle of the four quarters of a file's frame."""
    image = frame(prepare_first_frame(data))
    across, down = (image.width // 4, image.width * 3 // 4), (image.height // 4, image.height * 3 // 4)
    return [pixel(image, (x, y)) for y in down for x in across]


def distance(found: Sequence[Color], expected: Sequence[Color]) -> int:
    """The greatest difference of a channel."""
    pairs = zip(found, expected, strict=True)
    return max(abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True))


def problem(data: bytes) -> PictureProblem | None:
    """Why a file is refused, None if it isn't."""
    try:
        prepare_first_frame(data)
    except PictureRefused as refused:
        return refused.reason.problem if isinstance(refused.reason, UnusablePicture) else None
    return None
