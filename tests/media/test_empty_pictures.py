"""No video is paid for of a picture in which a person sees something, but its frame shows nothing."""

import struct
from typing import cast

import pytest
from PIL import Image

from bot.media.first_frame import prepare_first_frame
from bot.media.picture_problems import PictureProblem
from bot.media.prepared_frame import PictureChanges
from tests.media.samples import (
    BLACK,
    CLEAR,
    GREEN,
    QUARTERS,
    RED,
    SIZE,
    WHITE,
    animated,
    centers,
    distance,
    drawing,
    encoded,
    frame,
    pixel,
    problem,
    quarters,
)

DARK = (49, 51, 56)
ON_DARK, ON_WHITE = PictureChanges(is_flattened_on_dark=True), PictureChanges(is_flattened_on_white=True)
MIDDLE, CORNER = (240, 180), (5, 5)
ANIMATED = ("GIF", "PNG", "WEBP", "AVIF")

empty, full = Image.new("RGBA", SIZE, CLEAR), quarters().convert("RGBA")
black = Image.new("RGBA", SIZE, BLACK)


@pytest.mark.parametrize("format_", ["PNG", "WEBP", "TIFF", "AVIF"])
def test_a_white_drawing_on_transparency_is_put_on_dark(format_: str) -> None:
    prepared = prepare_first_frame(encoded(drawing(WHITE), format_, lossless=True))
    shown = frame(prepared)
    assert prepared.changes == ON_DARK
    assert shown.getpixel(MIDDLE) == (255, 255, 255)
    assert distance([pixel(shown, CORNER)], [DARK]) <= 2


@pytest.mark.parametrize("color", [(250, 252, 255, 255), (255, 255, 255, 90), (240, 240, 240, 255)])
def test_so_is_one_that_is_nearly_white_or_faint(color: tuple[int, ...]) -> None:
    prepared = prepare_first_frame(encoded(drawing(color), "PNG"))
    low, high = cast("tuple[int, int]", frame(prepared).convert("L").getextrema())
    assert prepared.changes == ON_DARK
    assert high - low > 60


def test_a_white_drawing_with_a_speck_of_color_is_put_on_dark() -> None:
    image = drawing(WHITE)
    image.paste(BLACK, (238, 178, 242, 182))
    assert prepare_first_frame(encoded(image, "PNG")).changes == ON_DARK


@pytest.mark.parametrize("color", [(49, 51, 56, 255), (0, 0, 0, 255), (200, 220, 255, 255), (0, 0, 0, 40)])
def test_a_drawing_that_shows_on_white_is_put_on_white(color: tuple[int, ...]) -> None:
    prepared = prepare_first_frame(encoded(drawing(color), "PNG"))
    assert prepared.changes == ON_WHITE
    assert frame(prepared).getpixel(CORNER) == (255, 255, 255)


def test_a_page_of_text_with_transparent_corners_is_put_on_white() -> None:
    page = Image.new("RGBA", SIZE, WHITE)
    page.paste(CLEAR, (0, 0, 20, 20))
    page.paste(BLACK, (100, 100, 380, 140))
    assert prepare_first_frame(encoded(page, "PNG")).changes == ON_WHITE


def bmp_without_alpha(header_bytes: int) -> bytes:
    """A BMP of 32 bits a pixel that declares an alpha channel which is all zero; red, then green."""
    row = bytes((32, 32, 208, 0)) * 240 + bytes((32, 160, 32, 0)) * 240
    masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    header = struct.pack("<IiiHHIIiiII", header_bytes, *SIZE, 1, 32, 3, len(row) * 360, 0, 0, 0, 0) + masks
    pixels_at = 14 + header_bytes
    start = b"BM" + struct.pack("<IHHI", pixels_at + len(row) * 360, 0, 0, pixels_at)
    return start + header.ljust(header_bytes, b"\0") + row * 360


@pytest.mark.parametrize("header_bytes", [56, 108, 124])
def test_a_bmp_whose_alpha_is_all_zero_is_opaque(header_bytes: int) -> None:
    assert centers(bmp_without_alpha(header_bytes)) == [RED, GREEN, RED, GREEN]


def test_a_tiff_whose_alpha_is_all_zero_is_opaque() -> None:
    image = quarters()
    image.putalpha(0)
    assert centers(encoded(image, "TIFF")) == list(QUARTERS)


def test_what_was_made_transparent_in_other_formats_stays_hidden() -> None:
    image = quarters()
    image.putalpha(0)
    assert problem(encoded(image, "PNG")) is PictureProblem.EMPTY


@pytest.mark.parametrize(
    "data",
    [
        encoded(empty, "PNG"),
        encoded(Image.new("LA", SIZE, (255, 0)), "PNG"),
        encoded(Image.new("RGBA", SIZE, (9, 99, 9, 0)), "TIFF"),
        encoded(drawing((255, 0, 0, 5)), "PNG"),
        *(animated(format_, empty, empty) for format_ in ANIMATED),
    ],
)
def test_a_picture_of_which_nothing_is_visible_is_refused(data: bytes) -> None:
    assert problem(data) is PictureProblem.EMPTY


@pytest.mark.parametrize("format_", ANIMATED)
def test_an_animation_that_begins_empty_gives_its_first_picture_with_content(format_: str) -> None:
    data = animated(format_, empty, full, black)
    assert prepare_first_frame(data).changes.is_later_of_animation
    assert distance(centers(data), QUARTERS) <= 3


@pytest.mark.parametrize("format_", ANIMATED)
def test_an_animation_that_fades_in_gives_a_picture_that_is_clear(format_: str) -> None:
    data = animated(format_, black, Image.blend(black, full, 0.15), full)
    assert distance(centers(data), QUARTERS) <= 3


@pytest.mark.parametrize("format_", ANIMATED)
def test_an_animation_of_plain_colors_gives_its_first(format_: str) -> None:
    data = animated(format_, black, Image.new("RGBA", SIZE, (0, 99, 0, 255)))
    assert centers(data) == [(0, 0, 0)] * 4
    assert prepare_first_frame(data).changes == PictureChanges(is_first_of_animation=True)


def test_a_damaged_later_picture_does_not_matter() -> None:
    data = animated("GIF", black, full)
    assert centers(data[:-200]) == [(0, 0, 0)] * 4


def test_a_picture_of_one_color_that_is_opaque_is_what_its_member_sent() -> None:
    assert centers(encoded(Image.new("RGB", SIZE, RED), "PNG")) == [RED] * 4
