"""Pictures by real programs, valid and broken ones (see tests/pictures/README.md)."""

import struct
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import pytest
from PIL import Image

from bot.domain.models import PictureLimits
from bot.media.first_frame import prepare_first_frame
from bot.media.picture_problems import PictureProblem
from bot.media.prepared_frame import PictureChanges
from tests.media.first_frames import (
    EVERY_PICTURE,
    UPRIGHT,
    assert_colors,
    corners,
    jpeg_markers,
    noise,
    one_bit,
    picture,
    pixels,
    png_chunk,
    png_chunk_names,
    problem,
)

LIMITS = PictureLimits()


@pytest.mark.parametrize("name", EVERY_PICTURE)
def test_a_real_picture_becomes_a_frame_that_the_model_accepts(name: str) -> None:
    prepared = prepare_first_frame(picture(name))
    image = pixels(prepared)
    assert image.mode == "RGB"
    assert image.size == (prepared.width, prepared.height)
    assert all(LIMITS.side_min_px <= side <= LIMITS.side_max_px for side in image.size)
    assert len(prepared.frame.data) <= LIMITS.max_bytes
    assert prepared.frame.mime == Image.MIME[image.format or ""]


@pytest.mark.parametrize("name", EVERY_PICTURE)
def test_a_frame_has_no_metadata(name: str) -> None:
    frame = prepare_first_frame(picture(name)).frame
    if frame.mime == "image/png":
        assert png_chunk_names(frame.data) == {b"IHDR", b"IDAT", b"IEND"}
    else:
        assert {marker for marker in jpeg_markers(frame.data) if marker >= 0xE0} == {0xE0}
        assert frame.data[2:11] == b"\xff\xe0\x00\x10JFIF\0"


def test_the_samples_have_metadata() -> None:
    assert {0xE1, 0xFE} <= jpeg_markers(picture("orientation_6.jpg"))
    assert {b"eXIf", b"tEXt", b"iTXt"} <= png_chunk_names(picture("exif_text.png"))


@pytest.mark.parametrize("name", EVERY_PICTURE)
def test_a_truncated_picture_is_refused(name: str) -> None:
    whole = picture(name)
    first_picture_only = {"moving.gif": 0.3, "moving.webp": 0.3}
    assert problem(whole[: int(len(whole) * first_picture_only.get(name, 0.6))]) is PictureProblem.DAMAGED


def test_a_png_damaged_in_the_middle_is_refused() -> None:
    file = BytesIO()
    noise(400, 400).save(file, "PNG")
    data = file.getvalue()
    middle = len(data) // 2
    assert problem(data[:middle] + bytes(1000) + data[middle + 1000 :]) is PictureProblem.DAMAGED


def test_a_truncated_heic_of_tiles_is_refused() -> None:
    """Phones write these; libheif silently fills missing tiles with one color."""
    file = BytesIO()
    Image.linear_gradient("L").convert("RGB").resize((768, 512)).save(file, "HEIF", tile_size=256)
    whole = file.getvalue()
    assert (prepare_first_frame(whole).width, problem(whole[:-100])) == (768, PictureProblem.DAMAGED)


def test_a_heic_whose_last_box_is_open_ended_or_has_a_64_bit_size_is_accepted() -> None:
    whole = picture("photo.heic")
    last = whole.rindex(b"mdat") - 4
    assert prepare_first_frame(whole[:last] + bytes(4) + whole[last + 4 :]).width == 600
    assert prepare_first_frame(whole + struct.pack(">I4sQ", 1, b"free", 16)).width == 600
    assert problem(whole + struct.pack(">I4sQ", 1, b"mdat", 99)) is PictureProblem.DAMAGED


def test_a_heic_with_data_after_its_boxes_is_accepted() -> None:
    assert prepare_first_frame(picture("photo.heic") + b"a camera's trailer").width == 600


def test_a_heic_with_a_brand_that_avif_also_uses_is_accepted() -> None:
    assert prepare_first_frame(picture("photo.heic").replace(b"ftypheic", b"ftypmif1")).width == 600


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_phone_photo_is_made_upright(orientation: int) -> None:
    prepared = prepare_first_frame(picture(f"orientation_{orientation}.jpg"))
    assert (prepared.width, prepared.height, prepared.changes) == (480, 360, PictureChanges())
    assert_colors(corners(prepared), UPRIGHT)


@pytest.mark.parametrize("name", ["turned.heic", "turned.avif", "turned.tif", "exif_text.png"])
def test_other_formats_are_made_upright_once(name: str) -> None:
    prepared = prepare_first_frame(picture(name))
    assert (prepared.width, prepared.height) == (480, 360)
    assert_colors(corners(prepared), UPRIGHT)


def test_a_broken_exif_block_is_ignored() -> None:
    data = one_bit(500, 400)
    header_ends = 33
    assert (
        prepare_first_frame(data[:header_ends] + png_chunk(b"eXIf", b"\xff" * 40) + data[header_ends:]).width
        == 500
    )


@pytest.mark.parametrize("name", ["lzw.tif", "moving.gif", "rle.bmp", "lossless.webp", "palette_hole.png"])
def test_a_lossless_drawing_stays_lossless(name: str) -> None:
    assert prepare_first_frame(picture(name)).frame.mime == "image/png"


@pytest.mark.parametrize(
    "name", ["photo.webp", "photo.heic", "ten_bit.avif", "photo_progressive.jpg", "photo_jpeg.tif"]
)
def test_a_lossy_picture_becomes_a_jpeg(name: str) -> None:
    assert prepare_first_frame(picture(name)).frame.mime == "image/jpeg"


def test_a_photo_in_a_png_becomes_a_jpeg() -> None:
    file = BytesIO()
    noise(1400, 1000).save(file, "PNG", compress_level=1)
    assert prepare_first_frame(file.getvalue()).frame.mime == "image/jpeg"


def test_the_noisiest_picture_is_within_the_frame_limit() -> None:
    """Black and white dots of every color, which no JPEG of the best quality holds in ten megabytes."""
    file = BytesIO()
    dots = noise(2000, 2000)
    dots.point(lambda value: value % 2 * 255).save(file, "JPEG", quality=95, subsampling="4:4:4")
    assert file.tell() > LIMITS.max_bytes
    prepared = prepare_first_frame(file.getvalue())
    assert (prepared.width, prepared.height) == (2000, 2000)
    assert 6_000_000 < len(prepared.frame.data) <= LIMITS.max_bytes


@pytest.mark.parametrize("name", ["moving.gif", "moving.webp"])
def test_the_first_picture_of_an_animation_is_used_and_reported(name: str) -> None:
    prepared = prepare_first_frame(picture(name))
    assert_colors(corners(prepared), UPRIGHT)
    assert prepared.changes == PictureChanges(is_first_of_animation=True)


def test_threads_can_prepare_pictures_concurrently() -> None:
    samples = [picture(name) for name in EVERY_PICTURE]
    with ThreadPoolExecutor(4) as pool:
        side_by_side = list(pool.map(prepare_first_frame, samples))
    assert side_by_side == [prepare_first_frame(data) for data in samples]
