"""Where formats leave room, a frame is what Chromium shows, as Discord showed its member the picture there.

The expected values were read off screenshots of Chromium 150.
"""

import struct

import pytest
from PIL import Image, ImageChops

from bot.media.first_frame import prepare_first_frame
from bot.media.prepared_frame import PictureChanges
from tests.media.samples import (
    BLACK,
    CLEAR,
    QUARTERS,
    SIZE,
    animated,
    centers,
    chunk,
    distance,
    encoded,
    frame,
    pixel,
    png,
    quarters,
)

WHITE = (255, 255, 255)
ORIENTATION = 0x0112
XMP_TURN = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


def exif_turn() -> bytes:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    return exif.tobytes().removeprefix(b"Exif\0\0")


def exif_orientation(kind: int, count: int) -> bytes:
    """Upright if the tag has to be a single short: 6 of another type, or more than one number."""
    return b"II*\0" + struct.pack("<IHHHIHH", 8, 1, ORIENTATION, kind, count, 6, 6 * (count > 1)) + bytes(4)


def png_with_xmp() -> bytes:
    return png(quarters(), chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP_TURN))


def png_with_late_exif() -> bytes:
    data = png(quarters())
    return data[:-12] + chunk(b"eXIf", exif_turn()) + data[-12:]


@pytest.mark.parametrize(
    "data",
    [
        encoded(quarters(), "JPEG", quality=95, xmp=XMP_TURN),
        encoded(quarters(), "WEBP", lossless=True, xmp=XMP_TURN),
        encoded(quarters(), "WEBP", lossless=True, exif=b"Exif\0\0" + exif_turn()),
        encoded(quarters(), "AVIF", quality=95, xmp=XMP_TURN),
        png_with_xmp(),
        png_with_late_exif(),
        png(quarters(), chunk(b"eXIf", b"Exif\0\0" + exif_turn())),
        encoded(quarters(), "JPEG", quality=95, exif=b"Exif\0\0" + exif_orientation(kind=4, count=1)),
        encoded(quarters(), "JPEG", quality=95, exif=b"Exif\0\0" + exif_orientation(kind=3, count=2)),
    ],
    ids=[
        "JPEG, XMP",
        "WEBP, XMP",
        "WEBP, EXIF",
        "AVIF, XMP",
        "PNG, XMP",
        "PNG, EXIF after the pixels",
        "PNG, EXIF with the header that it has in a JPEG",
        "JPEG, a long",
        "JPEG, two shorts",
    ],
)
def test_what_browsers_ignore_turns_no_picture(data: bytes) -> None:
    assert distance(centers(data), QUARTERS) <= 6


@pytest.mark.parametrize(
    "data",
    [
        encoded(quarters(), "JPEG", quality=95, exif=b"Exif\0\0" + exif_turn()),
        encoded(quarters(), "JPEG", quality=95, exif=b"Exif\0\0" + exif_orientation(kind=3, count=1)),
        encoded(quarters(), "JPEG", quality=95, exif=b"Exif\0\0" + exif_turn()).replace(b"Exif\0\0", b"Exif\0\1"),
        png(quarters(), chunk(b"eXIf", exif_turn())),
    ],
    ids=["JPEG", "JPEG, little-endian", "JPEG, another byte after the name", "PNG"],
)
def test_exif_turns_a_picture_where_browsers_follow_it(data: bytes) -> None:
    above_left, above_right, below_left, below_right = QUARTERS
    assert frame(prepare_first_frame(data)).size == SIZE[::-1]
    assert distance(centers(data), (below_left, above_left, below_right, above_right)) <= 6


@pytest.mark.parametrize("has_marker", [True, False])
def test_a_cmyk_jpeg_has_its_colors_with_and_without_an_adobe_marker(has_marker: bool) -> None:  # noqa: FBT001
    inks = [(255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)]
    data = encoded(quarters(inks, "CMYK"), "JPEG", quality=95)
    start = data.index(b"\xff\xee\0\x0eAdobe")
    shown = centers(data if has_marker else data[:start] + data[start + 16 :])
    assert distance(shown, [(0, 255, 255), (255, 0, 255), (255, 255, 0), (0, 0, 0)]) <= 2


def test_a_jpeg_of_ycck_has_its_colors() -> None:
    """Only Adobe's marker says that the first three channels are luma and chroma."""
    *inks, black = quarters([(255, 0, 0, 0), (0, 255, 0, 0), (0, 0, 255, 0), (0, 0, 0, 255)], "CMYK").split()
    channels = map(ImageChops.invert, Image.merge("RGB", inks).convert("YCbCr").split())
    data = bytearray(encoded(Image.merge("CMYK", [*channels, black]), "JPEG", quality=95))
    data[data.index(b"\xff\xee\0\x0eAdobe") + 15] = 2
    assert distance(centers(bytes(data)), [(0, 255, 255), (255, 0, 255), (255, 255, 0), (0, 0, 0)]) <= 4


def apng_with_default(first: Image.Image, *, at: tuple[int, int] = (0, 0), blend: int = 0) -> bytes:
    """An animation of two pictures, `first` and then white, and a red one for programs without animation."""

    def control(number: int, size: tuple[int, int], offset: tuple[int, int]) -> bytes:
        return chunk(b"fcTL", struct.pack(">IIIIIHHBB", number, *size, *offset, 1, 10, 0, blend))

    def pixels(image: Image.Image) -> bytes:
        data = encoded(image, "PNG")
        start = data.index(b"IDAT") + 4
        return data[start : start + int.from_bytes(data[start - 8 : start - 4], "big")]

    default = png(Image.new("RGBA", SIZE, (208, 32, 32, 255)), chunk(b"acTL", struct.pack(">II", 2, 0)))
    later = control(0, first.size, at) + chunk(b"fdAT", struct.pack(">I", 1) + pixels(first))
    white = Image.new("RGBA", SIZE, (*WHITE, 255))
    later += control(2, SIZE, (0, 0)) + chunk(b"fdAT", struct.pack(">I", 3) + pixels(white))
    return default[:-12] + later + default[-12:]


@pytest.mark.parametrize("blend", [0, 1])
def test_the_default_picture_of_an_apng_that_is_no_part_of_it_is_not_used(blend: int) -> None:
    data = apng_with_default(quarters().convert("RGBA"), blend=blend)
    assert centers(data) == list(QUARTERS)
    assert prepare_first_frame(data).changes == PictureChanges(is_first_of_animation=True)


@pytest.mark.parametrize("blend", [0, 1])
def test_it_does_not_show_through_the_first_picture_or_beside_it(blend: int) -> None:
    small = Image.new("RGBA", (240, 180), (0, 0, 200, 255))
    small.paste((0, 0, 0, 0), (0, 0, 240, 90))
    shown = frame(prepare_first_frame(apng_with_default(small, at=(120, 90), blend=blend)))
    assert [pixel(shown, at) for at in ((20, 20), (240, 120), (240, 240))] == [WHITE, WHITE, (0, 0, 200)]


def test_a_still_picture_with_another_for_simple_programs_is_no_animation() -> None:
    """One picture of the animation follows the default one; the second is left out."""
    data = apng_with_default(quarters().convert("RGBA"))
    second = data.rindex(b"fcTL") - 4
    still = data[:second] + data[-12:]
    still = still.replace(chunk(b"acTL", struct.pack(">II", 2, 0)), chunk(b"acTL", struct.pack(">II", 1, 0)))
    assert centers(still) == list(QUARTERS)
    assert prepare_first_frame(still).changes == PictureChanges()


def gif_on_canvas(data: bytes, canvas: tuple[int, int], at: tuple[int, int]) -> bytes:
    """Moves the first picture of a GIF, of 240×180, on a canvas of another size."""
    start = data.index(b"\x2c" + struct.pack("<HHHH", 0, 0, 240, 180))
    return (
        data[:6] + struct.pack("<HH", *canvas) + data[10 : start + 1] + struct.pack("<HH", *at) + data[start + 5 :]
    )


def test_what_the_first_picture_of_a_gif_does_not_cover_is_transparent() -> None:
    picture = quarters().resize((240, 180), Image.Resampling.NEAREST).quantize(8)
    prepared = prepare_first_frame(gif_on_canvas(encoded(picture, "GIF"), SIZE, (120, 90)))
    shown = frame(prepared)
    assert [pixel(shown, at) for at in ((5, 5), (470, 350), (150, 120), (330, 120))] == [
        WHITE,
        WHITE,
        *QUARTERS[:2],
    ]
    assert prepared.changes == PictureChanges(is_flattened_on_white=True)


def test_a_later_picture_of_a_gif_covers_no_more_than_itself() -> None:
    empty, full = Image.new("RGBA", (240, 180), CLEAR), quarters().resize((240, 180)).convert("RGBA")
    prepared = prepare_first_frame(gif_on_canvas(animated("GIF", empty, full), SIZE, (120, 90)))
    shown = frame(prepared)
    found = [pixel(shown, at) for at in ((20, 20), (200, 20), (470, 350))]
    assert distance(found, [*QUARTERS[:2], WHITE]) <= 2
    assert prepared.changes == PictureChanges(is_later_of_animation=True, is_flattened_on_white=True)


def test_black_is_not_transparent() -> None:
    assert centers(encoded(Image.new("RGBA", SIZE, BLACK), "GIF")) == [(0, 0, 0)] * 4
