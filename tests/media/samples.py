"""Makes picture files, and reads the frames made of them."""

import struct
import zlib
from collections.abc import Sequence
from io import BytesIO

from PIL import Image, ImageCms, ImageDraw

from bot.domain.errors import PictureRefused
from bot.media.first_frame import prepare_first_frame
from bot.media.picture_problems import PictureProblem, UnusablePicture
from bot.media.prepared_frame import PreparedFrame

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


def jpeg_xl_header(
    data: bytes, *, orientation: int = 1, is_animation: bool = False, colors: tuple[int, int] | None = None
) -> bytes:
    """A lossless JPEG XL with another header: its metadata written anew, its pixels kept.

    colors: CICP's primaries and transfer. Source: ISO/IEC 18181-1, annex D.
    """
    bits = int.from_bytes(data[2:], "little")
    at = 0

    def read(count: int) -> int:
        nonlocal at
        at += count
        return bits >> (at - count) & (1 << count) - 1

    is_small = read(1)
    for is_width in (False, True):
        if is_width and read(3):
            break
        read(5 if is_small else (9, 13, 18, 30)[read(2)])
    size_bits = at
    assert [read(1), read(1)] == [0, 0]  # neither the usual metadata nor extra fields
    depth_at = at
    assert [read(1), read(2)] == [0, 0]  # 8 bits
    read(1)
    assert read(2) == 0  # no alpha
    assert read(1) == 0  # RGB is stored, not XYB
    depth_bits = at - depth_at
    assert read(1)  # sRGB
    assert read(3) == 0b100  # no extensions, the usual transforms
    rest_at = 2 + -(-at // 8)

    fields = [(bits & (1 << size_bits) - 1, size_bits), (0, 1)]
    has_extra_fields = orientation != 1 or is_animation
    fields.append((has_extra_fields, 1))
    if has_extra_fields:
        fields += [(orientation - 1, 3), (0, 1), (0, 1), (is_animation, 1)]
        fields += [(0, 2), (0, 2), (0, 2), (0, 1)] * is_animation
    fields.append((bits >> depth_at & (1 << depth_bits) - 1, depth_bits))
    if colors is None:
        fields.append((1, 1))
    else:
        fields += [(0, 1), (0, 1), (0, 2), (1, 2), *_enum(colors[0]), (0, 1), *_enum(colors[1]), (1, 2)]
    if has_extra_fields:
        fields.append((1, 1))  # the usual brightness
    fields += [(0, 2), (1, 1)]
    header, length = 0, 0
    for value, count in fields:
        header |= value << length
        length += count
    return data[:2] + header.to_bytes(-(-length // 8), "little") + data[rest_at:]


def _enum(value: int) -> list[tuple[int, int]]:
    return [(value, 2)] if value < 2 else [(2, 2), (value - 2, 4)] if value < 18 else [(3, 2), (value - 18, 6)]
