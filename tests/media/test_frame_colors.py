"""Colours, bit depths and transparency in a first frame."""

import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image, ImageCms

from bot.media.first_frame import prepare_first_frame
from bot.media.prepared_frame import PictureChanges
from tests.media.first_frames import (
    BLUE,
    GREEN,
    PNG_MAGIC,
    UPRIGHT,
    WHITE,
    YELLOW,
    assert_colors,
    corners,
    picture,
    pixels,
    png_chunk,
    rgba,
)
from tests.media.samples import SIZE, encoded, grays, quarters


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


def test_a_cmyk_jpeg_without_an_adobe_marker_is_inverted_like_others() -> None:
    """As browsers do. The marker also said that the colors are stored as YCCK, so without it they are others."""
    marked = picture("cmyk_bare.jpg")
    start = marked.index(b"\xff\xee\x00\x0eAdobe")
    plain = prepare_first_frame(marked[:start] + marked[start + 16 :])
    assert_colors(corners(plain), ((123, 133, 16), (52, 122, 133), (137, 26, 132), (42, 213, 90)))


@pytest.mark.parametrize("name", ["gray16.png", "gray16.tif"])
def test_16_bit_gray_is_scaled_and_not_clipped(name: str) -> None:
    image = pixels(prepare_first_frame(picture(name)))
    column = [image.getpixel((240, y)) for y in (0, 90, 180, 269, 359)]
    assert_colors([c for c in column if isinstance(c, tuple)], tuple((v,) * 3 for v in (255, 191, 127, 64, 0)), 2)


def test_16_bit_gray_of_which_0_is_white_is_inverted() -> None:
    """PhotometricInterpretation is 0."""
    tag = b"\x06\x01\x03\x00\x01\x00\x00\x00"
    data = picture("gray16.tif")
    assert data.count(tag + b"\x01") == 1
    image = pixels(prepare_first_frame(data.replace(tag + b"\x01", tag + b"\x00")))
    column = [image.getpixel((240, y)) for y in (0, 90, 180, 269, 359)]
    assert_colors([c for c in column if isinstance(c, tuple)], tuple((v,) * 3 for v in (0, 64, 128, 191, 255)), 2)


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


def linear_profile() -> bytes:
    """One of sRGB's primaries in which a code is light itself: its curves are the identity."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    start = profile.index(b"para\0\0\0\0")
    return profile[:start] + b"curv\0\0\0\0\0\0\0\0" + profile[start + 12 :]


LINEAR = ((233, 99, 99), (99, 208, 99), (99, 137, 233), (248, 233, 99))


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_a_gray_picture_has_the_brightness_of_its_rgb_profile(format_: str) -> None:
    """As browsers show it: a photo keeps its profile when a program makes it gray."""
    data = encoded(grays(20, 100, 187, 255), format_, icc_profile=linear_profile())
    in_colors = corners(prepare_first_frame(data))
    gray = grays(20, 100, 187, 255).convert("L")
    in_gray = corners(prepare_first_frame(encoded(gray, format_, icc_profile=linear_profile())))
    assert_colors(in_gray, tuple(in_colors), 3)
    assert_colors(in_gray, ((79,) * 3, (168,) * 3, (222,) * 3, (255,) * 3), 3)


def test_a_profile_in_a_bmp_is_used() -> None:
    pixels_, profile = encoded(quarters(), "BMP")[54:], linear_profile()
    header = struct.pack("<IiiHHIIiiII", 124, *SIZE, 1, 24, 0, len(pixels_), 0, 0, 0, 0) + bytes(16) + b"DEBM"
    header += bytes(48) + struct.pack("<4I", 4, 124 + len(pixels_), len(profile), 0)
    file = b"BM" + struct.pack("<IHHI", 138 + len(pixels_) + len(profile), 0, 0, 138) + header + pixels_ + profile
    assert_colors(corners(prepare_first_frame(file)), LINEAR, 2)
    assert_colors(corners(prepare_first_frame(file.replace(b"DEBM", b"BGRs"))), UPRIGHT, 0)
    assert_colors(corners(prepare_first_frame(file[: -len(profile)])), UPRIGHT, 0)


def test_a_profile_that_a_jpeg_has_twice_is_used() -> None:
    data = encoded(quarters(), "JPEG", quality=95, icc_profile=linear_profile())
    start = data.index(b"\xff\xe2")
    end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    assert_colors(corners(prepare_first_frame(data[:end] + data[start:])), LINEAR, 4)
