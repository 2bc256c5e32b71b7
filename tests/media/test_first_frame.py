"""Pictures by real programs, valid and broken ones (see tests/pictures/README.md)."""

import random
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from bot.domain.errors import PictureRefused
from bot.media.first_frame import (
    MAX_FRAME_BYTES,
    MAX_INPUT_BYTES,
    MAX_SIDE,
    MIN_SIDE,
    PictureChanges,
    PictureProblem,
    PreparedFrame,
    Size,
    UnusablePicture,
    prepare_first_frame,
)

PICTURES = Path(__file__).parents[1] / "pictures"
EVERY_PICTURE = sorted(path.name for path in PICTURES.iterdir() if path.suffix != ".md")

RED, GREEN, BLUE, YELLOW, WHITE = (208, 32, 32), (32, 160, 32), (32, 64, 208), (240, 208, 32), (255, 255, 255)
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


@pytest.mark.parametrize("name", EVERY_PICTURE)
def test_a_real_picture_becomes_a_frame_that_the_model_accepts(name: str) -> None:
    prepared = prepare_first_frame(picture(name))
    image = pixels(prepared)
    assert image.mode == "RGB"
    assert image.size == (prepared.width, prepared.height)
    assert all(MIN_SIDE <= side <= MAX_SIDE for side in image.size)
    assert len(prepared.frame.data) <= MAX_FRAME_BYTES
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


@pytest.mark.parametrize(
    "name",
    [
        "cmyk_bare.jpg",
        "cmyk.tif",
        "display_p3.jpg",
        "swapped_profile.png",
        "ten_bit.avif",
        "lossless.webp",
        "lzw.tif",
        "four_bit.bmp",
        "rle.bmp",
    ],
)
def test_colors_are_kept(name: str) -> None:
    assert_colors(corners(prepare_first_frame(picture(name))), UPRIGHT)


def test_a_cmyk_profile_is_used() -> None:
    by_profile = corners(prepare_first_frame(picture("cmyk_profile.jpg")))
    # CMYK can't hold this blue; ImageMagick gives the same colors with the same profile.
    assert_colors(by_profile, ((209, 25, 23), (47, 160, 52), (22, 75, 155), (240, 208, 12)))


def test_a_cmyk_jpeg_without_an_adobe_marker_is_not_inverted() -> None:
    inverted = picture("cmyk_bare.jpg")
    start = inverted.index(b"\xff\xee\x00\x0eAdobe")
    plain = prepare_first_frame(inverted[:start] + inverted[start + 16 :])
    assert corners(plain) != corners(prepare_first_frame(inverted))
    assert_colors(corners(plain)[:1], ((0, 0, 0),), tolerance=50)


@pytest.mark.parametrize("name", ["gray16.png", "gray16.tif"])
def test_16_bit_gray_is_scaled_and_not_clipped(name: str) -> None:
    image = pixels(prepare_first_frame(picture(name)))
    column = [image.getpixel((240, y)) for y in (0, 90, 180, 269, 359)]
    assert_colors([c for c in column if isinstance(c, tuple)], tuple((v,) * 3 for v in (255, 191, 127, 64, 0)), 2)


def test_16_bit_colors_are_scaled() -> None:
    top_left, _, bottom_left, _ = corners(prepare_first_frame(picture("rgb16_interlaced.png")))
    assert_colors([top_left, bottom_left], ((156, 24, 24), (8, 16, 52)), 3)


def test_a_gray_photo_stays_gray() -> None:
    image = pixels(prepare_first_frame(picture("photo_gray.jpg")))
    red, green, blue = image.split()
    assert red.tobytes() == green.tobytes() == blue.tobytes()
    assert len(set(red.tobytes())) > 200


def test_1_bit_becomes_black_and_white() -> None:
    black, white = (0, 0, 0), (255, 255, 255)
    assert corners(prepare_first_frame(picture("one_bit.png"))) == [black, white, black, white]


def test_a_broken_icc_profile_is_ignored() -> None:
    data = picture("display_p3.jpg")
    start = data.index(b"acsp")
    broken = prepare_first_frame(data[: start - 36] + b"\xee" * 400 + data[start + 364 :])
    assert corners(broken) != corners(prepare_first_frame(data))
    assert_colors(corners(broken), UPRIGHT, tolerance=60)


@pytest.mark.parametrize("name", ["palette_hole.png", "lossy_alpha.webp"])
def test_transparent_parts_become_white_and_are_reported(name: str) -> None:
    prepared = prepare_first_frame(picture(name))
    assert_colors(corners(prepared), (WHITE, GREEN, BLUE, YELLOW))
    assert prepared.changes == PictureChanges(is_flattened_on_white=True)


@pytest.mark.parametrize("name", ["gray_alpha.png", "premultiplied.tif"])
def test_gray_with_alpha_fades_into_white(name: str) -> None:
    image = pixels(prepare_first_frame(picture(name)))
    assert image.getpixel((0, 0)) == WHITE
    assert image.getpixel((240, 180)) == (0, 0, 0)


def test_nearly_opaque_alpha_is_not_reported() -> None:
    assert not prepare_first_frame(rgba(500, 400, alpha=254)).changes


def test_the_color_of_transparent_pixels_does_not_bleed_into_the_picture() -> None:
    """A green picture on the left; on the right, fully transparent pixels that are red underneath."""
    image = Image.new("RGBA", (2400, 1000), (255, 0, 0, 0))
    image.paste((0, 160, 0, 255), (0, 0, 1200, 1000))
    file = BytesIO()
    image.save(file, "PNG")
    shades = pixels(prepare_first_frame(file.getvalue())).get_flattened_data()
    assert all(shade[0] <= shade[1] for shade in shades if isinstance(shade, tuple))


def test_a_large_picture_with_alpha_shows_no_seams_between_bands() -> None:
    """It is reduced in bands."""
    gradient = Image.linear_gradient("L").resize((8000, 1641))
    file = BytesIO()
    Image.merge("LA", (gradient, Image.new("L", gradient.size, 254))).save(file, "PNG", compress_level=1)
    prepared = pixels(prepare_first_frame(file.getvalue()))
    at_once = gradient.resize(prepared.size, Image.Resampling.LANCZOS)
    rows = zip(
        *(image.convert("L").crop((1000, 0, 1001, 410)).tobytes() for image in (prepared, at_once)), strict=True
    )
    assert max(abs(one - other) for one, other in rows) <= 2


def test_a_transparent_16_bit_gray_becomes_alpha_before_scaling() -> None:
    """Every other column is transparent, and two columns become one."""
    ihdr = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 4000, 800, 16, 0, 0, 0, 0))
    rows = (b"\0" + b"\x80\x01\x80\x00" * 2000) * 800
    data = PNG_MAGIC + ihdr + png_chunk(b"tRNS", b"\x80\x01") + png_chunk(b"IDAT", zlib.compress(rows))
    half_covered = ((191, 191, 191),) * 4
    assert_colors(corners(prepare_first_frame(data + png_chunk(b"IEND", b""))), half_covered, tolerance=2)


def test_a_transparent_16_bit_rgb_color_becomes_white() -> None:
    ihdr = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 400, 400, 16, 2, 0, 0, 0))
    rows = (b"\0" + b"\x80\x00\x10\x00\x20\x00" * 200 + b"\x80\x00\x30\x00\x20\x00" * 200) * 400
    hole = png_chunk(b"tRNS", b"\x80\x00\x10\x00\x20\x00")
    data = PNG_MAGIC + ihdr + hole + png_chunk(b"IDAT", zlib.compress(rows)) + png_chunk(b"IEND", b"")
    left, right, _, _ = corners(prepare_first_frame(data))
    assert (left, right) == (WHITE, (128, 48, 32))


@pytest.mark.parametrize(("step", "darkest", "range_"), [(0.5, 7, (0, 255)), (0.002, 0.1, (26, 156))])
def test_floats_are_stretched_unless_all_are_between_0_and_1(
    step: float, darkest: float, range_: tuple[int, int]
) -> None:
    file = BytesIO()
    gradient = Image.linear_gradient("L").resize((400, 400)).convert("F")
    gradient.point(lambda value: value * step + darkest).save(file, "TIFF")
    assert pixels(prepare_first_frame(file.getvalue())).convert("L").getextrema() == range_


def test_a_broken_exif_block_is_ignored() -> None:
    data = one_bit(500, 400)
    header_ends = 33
    assert (
        prepare_first_frame(data[:header_ends] + png_chunk(b"eXIf", b"\xff" * 40) + data[header_ends:]).width
        == 500
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ((1000, 1000), (1000, 1000)),
        ((2000, 360), (2000, 360)),
        ((360, 2000), (360, 2000)),
        ((4032, 3024), (2000, 1500)),
        ((3024, 4032), (1500, 2000)),
        ((2001, 360), (2000, 360)),
        ((180, 180), (360, 360)),
        ((359, 500), (360, 501)),
        ((1000, 180), (2000, 360)),
    ],
)
def test_sides_are_scaled_no_more_than_necessary_and_the_scaling_is_reported(before: Size, after: Size) -> None:
    prepared = prepare_first_frame(one_bit(*before))
    assert (prepared.width, prepared.height) == after
    assert prepared.changes == (PictureChanges() if before == after else PictureChanges(before, after))


@pytest.mark.parametrize(
    ("size", "enough"), [((179, 300), (180, 302)), ((240, 100), (432, 180)), ((1, 1), (180, 180))]
)
def test_a_picture_that_is_too_small_is_refused_with_the_minimum_size(size: Size, enough: Size) -> None:
    assert refusal(one_bit(*size)) == UnusablePicture(PictureProblem.TOO_SMALL, size, enough)


def test_a_picture_of_the_minimum_size_is_accepted() -> None:
    assert prepare_first_frame(one_bit(180, 302)).width == 360


@pytest.mark.parametrize("size", [(2010, 360), (360, 2010), (6000, 1000), (3000, 10)])
def test_a_picture_that_is_too_thin_is_refused_with_its_size(size: Size) -> None:
    assert refusal(one_bit(*size)) == UnusablePicture(PictureProblem.TOO_THIN, size)


def test_a_refusal_has_the_size_after_orientation() -> None:
    """Orientation 6: stored 300×100, shown 100×300."""
    file = BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (300, 100)).save(file, "JPEG", exif=exif)
    assert refusal(file.getvalue()).size == (100, 300)


@settings(max_examples=40, deadline=None)
@given(width=st.integers(1, 3000), height=st.integers(1, 3000))
@example(width=361, height=2006)
@example(width=2999, height=540)
@example(width=213, height=1184)
def test_any_size_keeps_its_aspect_ratio_or_is_refused(width: int, height: int) -> None:
    try:
        prepared = prepare_first_frame(one_bit(width, height))
    except PictureRefused:
        assert min(width, height) < 180 or max(width, height) * 9 > min(width, height) * 50
        return
    assert min(prepared.width, prepared.height) >= MIN_SIDE
    assert max(prepared.width, prepared.height) <= MAX_SIDE
    factor = max(prepared.width, prepared.height) / max(width, height)
    assert factor <= 2.01
    assert abs(prepared.width - width * factor) <= 1.5
    assert abs(prepared.height - height * factor) <= 1.5


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
    assert file.tell() > MAX_FRAME_BYTES
    prepared = prepare_first_frame(file.getvalue())
    assert (prepared.width, prepared.height) == (2000, 2000)
    assert 6_000_000 < len(prepared.frame.data) <= MAX_FRAME_BYTES


@pytest.mark.parametrize("name", ["moving.gif", "moving.webp"])
def test_the_first_picture_of_an_animation_is_used_and_reported(name: str) -> None:
    prepared = prepare_first_frame(picture(name))
    assert_colors(corners(prepared), UPRIGHT)
    assert prepared.changes == PictureChanges(is_first_of_animation=True)


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


def test_threads_can_prepare_pictures_concurrently() -> None:
    samples = [picture(name) for name in EVERY_PICTURE]
    with ThreadPoolExecutor(4) as pool:
        side_by_side = list(pool.map(prepare_first_frame, samples))
    assert side_by_side == [prepare_first_frame(data) for data in samples]
