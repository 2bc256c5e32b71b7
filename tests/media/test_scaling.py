"""How large pictures are scaled down: a JPEG partly while it is decoded, and the rest with a filter that fits."""

import random
from io import BytesIO

import pytest
from PIL import Image, ImageDraw

from bot.media.first_frame import prepare_first_frame
from bot.media.picture_file import open_picture, pictures
from tests.bench.picture_samples import naive_frame, psnr_db
from tests.media.first_frames import pixels

pytestmark = pytest.mark.full

BICUBIC, LANCZOS = Image.Resampling.BICUBIC, Image.Resampling.LANCZOS
Size = tuple[int, int]


def drawn(size: Size) -> Image.Image:
    """A picture with soft and fine texture, and with edges."""
    rng = random.Random(1)  # noqa: S311 - no secret
    soft, fine = (
        Image.frombytes("RGB", (side, side), rng.randbytes(3 * side * side)).resize(size, BICUBIC)
        for side in (12, max(size) // 10)
    )
    picture = Image.blend(soft, fine, 0.1)
    draw = ImageDraw.Draw(picture)
    for _ in range(40):
        x, y, radius = rng.randrange(size[0]), rng.randrange(size[1]), rng.randrange(1, size[0] // 16)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=rng.randrange(1 << 24))
    return picture


def encoded(picture: Image.Image, file_format: str, **options: object) -> bytes:
    file = BytesIO()
    picture.save(file, file_format, **options)
    return file.getvalue()


def photo(size: Size) -> bytes:
    return encoded(drawn(size), "JPEG", quality=92, subsampling="4:2:0")


@pytest.mark.parametrize(
    ("size", "decoded"),
    [
        ((1600, 1200), (1600, 1200)),
        ((3900, 2925), (3900, 2925)),
        ((4032, 3024), (2016, 1512)),
        ((3024, 4032), (1512, 2016)),
        ((6000, 4500), (3000, 2250)),
        ((8064, 6048), (2016, 1512)),
    ],
)
def test_a_jpeg_is_decoded_at_the_smallest_scale_that_is_not_below_its_frame(size: Size, decoded: Size) -> None:
    frame = prepare_first_frame(data := encoded(Image.new("RGB", size), "JPEG"))
    (image,) = pictures(open_picture(data), (frame.width, frame.height))
    assert image.size == decoded
    assert max(frame.width, frame.height) == min(2000, max(size))


@pytest.mark.parametrize("size", [(4032, 3024), (6000, 4500)])
def test_a_frame_of_a_jpeg_is_as_one_that_was_scaled_after_decoding(size: Size) -> None:
    data = photo(size)
    assert psnr_db(prepare_first_frame(data).frame.data, naive_frame(data)) >= 44


@pytest.mark.parametrize(
    ("size", "frame_size", "used"),
    [
        ((2100, 1050), (2000, 1000), BICUBIC),
        ((2196, 1098), (2000, 1000), BICUBIC),
        ((2200, 1100), (2000, 1000), LANCZOS),
        ((3000, 1500), (2000, 1000), LANCZOS),
        ((400, 200), (720, 360), LANCZOS),
    ],
)
def test_the_quicker_filter_is_used_for_a_picture_just_above_its_frames_size(
    size: Size, frame_size: Size, used: Image.Resampling
) -> None:
    picture = drawn(size)
    frame = prepare_first_frame(encoded(picture, "BMP"))
    assert frame.frame.mime == "image/png"
    assert pixels(frame).tobytes() == picture.resize(frame_size, used).tobytes()


def test_the_quicker_filter_gives_the_same_where_it_is_used() -> None:
    picture = drawn((2196, 1098))
    frames = [encoded(picture.resize((2000, 1000), resampling), "PNG") for resampling in (BICUBIC, LANCZOS)]
    assert psnr_db(*frames) >= 44
