"""Pictures to measure with, and what plain Pillow makes of them."""

import math
import random
from io import BytesIO

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageStat

_PHOTO_SIZE = 4032, 3024
_DRAWING_SIZE = 820, 615
_MAX_SIDE = 2000
_SHAPES = 120
_Image = Image.Image


def photo() -> bytes:
    """A JPEG as a phone takes it. Pillow's noise differs each time, within what counts."""
    width, height = _PHOTO_SIZE
    texture, tint = _octaves(_PHOTO_SIZE), _octaves(_PHOTO_SIZE)
    picture = Image.merge("RGB", [texture, ImageChops.add(texture, tint, 2), texture])
    _draw_shapes(picture, random.Random(1))  # noqa: S311 - no secret
    picture = picture.filter(ImageFilter.GaussianBlur(1))  # what a lens and a sensor's color filter do to edges
    noisy = [ImageChops.add(one, Image.effect_noise((width, height), 1), 1, -128) for one in picture.split()]
    return _encoded(Image.merge("RGB", noisy), "JPEG", quality=92, subsampling="4:2:0")


def drawing() -> bytes:
    """A PNG of half a megapixel."""
    picture = Image.merge("RGB", [_octaves(_DRAWING_SIZE) for _ in range(3)])
    _draw_shapes(picture, random.Random(2))  # noqa: S311 - no secret
    return _encoded(picture, "PNG")


def naive_frame(data: bytes) -> bytes:
    """A first frame as a few lines of Pillow make it."""
    opened = Image.open(BytesIO(data))
    picture, file_format = opened.convert("RGB"), opened.format
    if max(picture.size) > _MAX_SIDE:
        factor = _MAX_SIDE / max(picture.size)
        size = round(picture.width * factor), round(picture.height * factor)
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    if file_format == "PNG":
        return _encoded(picture, "PNG")
    return _encoded(picture, "JPEG", quality=95, subsampling="4:4:4")


def psnr_db(one: bytes, other: bytes) -> float:
    """How close two frames are."""
    difference = ImageStat.Stat(ImageChops.difference(*(Image.open(BytesIO(data)) for data in (one, other))))
    mean_square = sum(difference.sum2) / sum(difference.count)
    return 10 * math.log10(255**2 / mean_square) if mean_square else math.inf


def _octaves(size: tuple[int, int]) -> _Image:
    """Gray noise of the same contrast at each scale, as nature's."""
    total = Image.new("L", size, 128)
    scale = 512
    while scale >= 2:
        small = Image.effect_noise((size[0] // scale + 2, size[1] // scale + 2), 6)
        total = ImageChops.add(total, small.resize(size, Image.Resampling.BICUBIC), 1, -128)
        scale //= 2
    return total


def _draw_shapes(picture: _Image, rng: random.Random) -> None:
    draw, (width, height) = ImageDraw.Draw(picture), picture.size
    for _ in range(_SHAPES):
        x, y, radius = rng.randrange(width), rng.randrange(height), rng.randrange(width // 400, width // 16)
        color = rng.randrange(20, 236), rng.randrange(20, 236), rng.randrange(20, 236)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=color)
        end = x + rng.randrange(-width // 8, width // 8), y + rng.randrange(-width // 8, width // 8)
        draw.line((x, y, *end), fill=color, width=rng.randrange(1, max(2, width // 300)))


def _encoded(picture: _Image, file_format: str, **options: object) -> bytes:
    file = BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()
