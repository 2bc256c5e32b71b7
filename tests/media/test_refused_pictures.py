"""Files that are too large, are no pictures, or only look dangerous."""

import struct
from io import BytesIO

import pytest
from PIL import Image

from bot.media.first_frame import prepare_first_frame
from bot.media.picture_problems import PictureProblem, UnusablePicture
from bot.media.prepared_frame import MAX_INPUT_BYTES
from tests.media.first_frames import (
    BLUE,
    PNG_MAGIC,
    RED,
    assert_colors,
    corners,
    picture,
    png_chunk,
    problem,
    refusal,
)


def test_a_file_over_the_size_limit_is_refused() -> None:
    data = picture("lzw.tif") + b"\0" * MAX_INPUT_BYTES
    assert refusal(data) == UnusablePicture(PictureProblem.FILE_TOO_LARGE, size_bytes=len(data))


PNG_BOMB = (
    PNG_MAGIC
    + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0))
    + png_chunk(b"IDAT", b"")
)
GIF_BOMB = b"GIF89a" + struct.pack("<HHBBB", 60_000, 60_000, 0, 0, 0) + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
BMP_BOMB = b"BM" + struct.pack("<IIIIiiHHIIIIII", 58, 0, 54, 40, 20_000, 20_000, 1, 24, 0, 0, 0, 0, 0, 0)
WEBP_BOMB = b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<II", 10, 0) + (b"\xff\x3f\0" * 2)
JPEG_BOMB = picture("photo_gray.jpg").replace(struct.pack(">HH", 400, 600), struct.pack(">HH", 40_000, 60_000))


@pytest.mark.parametrize(
    "data", [PNG_BOMB, GIF_BOMB, BMP_BOMB, WEBP_BOMB, JPEG_BOMB], ids=["png", "gif", "bmp", "webp", "jpeg"]
)
def test_more_than_100_megapixels_are_refused_by_the_header(data: bytes) -> None:
    assert problem(data) is PictureProblem.TOO_MANY_PIXELS


def test_just_under_100_megapixels_is_accepted_without_a_warning() -> None:
    file = BytesIO()
    Image.new("1", (9999, 9999)).save(file, "TIFF", compression="group4")
    assert prepare_first_frame(file.getvalue()).width == 2000


def test_a_small_tiff_with_a_huge_tile_is_refused() -> None:
    size, one_gray, deflated = {256: 500, 257: 400}, {258: 8, 262: 1, 277: 1}, {259: 8}
    tags = {**size, **one_gray, **deflated, 322: 20_000, 323: 20_000, 324: 8, 325: 8}
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags.items()))
    data = b"II*\0" + struct.pack("<I8xH", 16, len(tags)) + directory + bytes(4)
    assert refusal(data) == UnusablePicture(PictureProblem.TOO_MANY_PIXELS, (20_000, 20_000))


def test_a_picture_without_pixels_is_refused() -> None:
    empty = BMP_BOMB.replace(struct.pack("<ii", 20_000, 20_000), struct.pack("<ii", 0, 500))
    assert problem(empty) is PictureProblem.DAMAGED


def test_a_jpeg_with_thousands_of_scans_is_refused() -> None:
    data = picture("photo_progressive.jpg") + b"\xff\xda" * 13_000
    assert problem(data) is PictureProblem.TOO_MANY_SCANS


def test_a_jpeg_that_is_not_progressive_may_not_repeat_its_scans_either() -> None:
    image = Image.effect_noise((4000, 4000), 50)
    data = BytesIO()
    image.save(data, "JPEG", quality=20)
    assert problem(data.getvalue()[:-2] + b"\xff\xda" * 300 + b"\xff\xd9") is PictureProblem.TOO_MANY_SCANS


def test_a_phone_photo_followed_by_a_video_is_accepted() -> None:
    """A video can hold any bytes, also those that start a scan."""
    assert not prepare_first_frame(picture("orientation_1.jpg") + b"\xff\xda" * 100_000).changes


def test_a_photo_that_contains_a_second_picture_is_not_an_animation() -> None:
    """Phones store depth and gain maps like this (MPO)."""
    file = BytesIO()
    first, second = Image.new("RGB", (640, 480), RED), Image.new("RGB", (320, 240), BLUE)
    first.save(file, "MPO", save_all=True, append_images=[second])
    prepared = prepare_first_frame(file.getvalue())
    assert_colors(corners(prepared), (RED, RED, RED, RED))
    assert not prepared.changes


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"hello",
        bytes(1000),
        b"%PDF-1.7\n",
        b"%!PS-Adobe-3.0 EPSF-3.0\n",
        b"8BPS\0\1",
        b"\0\0\1\0\1\0\x10\x10",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom",
    ],
    ids=["nothing", "text", "zeros", "pdf", "eps", "psd", "ico", "svg", "mp4"],
)
def test_a_file_that_is_not_a_picture_is_refused_as_such(data: bytes) -> None:
    assert problem(data) is PictureProblem.NOT_A_PICTURE


def test_a_format_that_only_the_library_supports_is_refused() -> None:
    file = BytesIO()
    Image.new("RGB", (500, 500)).save(file, "PPM")
    assert problem(file.getvalue()) is PictureProblem.NOT_A_PICTURE
