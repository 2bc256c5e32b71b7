"""Metadata that nobody needs does not decide over a picture; missing pixels do."""

import random
import struct
import zlib

import pytest
from PIL import Image, ImageCms

from bot.media import containers
from bot.media.picture_problems import PictureProblem
from tests.media.samples import (
    QUARTERS,
    SIZE,
    centers,
    chunk,
    distance,
    encoded,
    png,
    problem,
    quarters,
    segment,
    swapped_profile,
)

SRGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PNG = png(quarters())
JPEG = encoded(quarters(), "JPEG", quality=95)
GIF = encoded(quarters().quantize(8), "GIF")
GAMMA_1 = struct.pack(">I", 100_000)


def packed(size_bytes: int) -> bytes:
    return zlib.compress(b"a" * size_bytes)


def padded(profile: bytes) -> bytes:
    noise = random.Random(1).randbytes(1_100_000)  # noqa: S311  # repeatable
    return struct.pack(">I", len(profile) + len(noise)) + profile[4:] + noise


@pytest.mark.parametrize(
    "chunks",
    [
        [chunk(b"zTXt", b"Comment\0\0" + packed(1_200_000))],
        [chunk(b"iTXt", b"Comment\0\1\0\0\0" + packed(3_000_000))],
        [chunk(b"zTXt", b"Comment\0\0" + packed(1_000_000))] * 80,
        [chunk(b"zTXt", b"Comment\0\7" + packed(10))],
        [chunk(b"tEXt", b"Comment\0x", has_right_checksum=False)],
        [chunk(b"pHYs", bytes(9), has_right_checksum=False)],
        [chunk(b"gAMA", GAMMA_1, has_right_checksum=False)],
        [chunk(b"acTL", bytes(8), has_right_checksum=False)],
        [chunk(b"tRNS", bytes(6), has_right_checksum=False)],
        [chunk(name, b"\0") for name in (b"pHYs", b"gAMA", b"cHRM", b"tRNS", b"cICP", b"eXIf", b"bKGD", b"sBIT")],
        [chunk(b"sRGB", b"")],
        [chunk(b"iCCP", b"profile\0\0" + zlib.compress(padded(SRGB_PROFILE)))],
        [chunk(b"iCCP", b"profile\0\0" + packed(containers.MAX_PROFILE_BYTES + 1))],
        [chunk(b"iCCP", b"")],
        [chunk(b"iCCP", b"profile\0\0no deflated data")],
    ],
    ids=lambda chunks: f"{len(chunks)} {chunks[0][4:8].decode()} of {len(chunks[0])}",
)
def test_a_png_is_taken_whatever_its_ancillary_chunks_hold(chunks: list[bytes]) -> None:
    assert centers(png(quarters(), *chunks)) == list(QUARTERS)


@pytest.mark.parametrize(
    "data",
    [
        PNG[:-12],
        PNG[:-5],
        PNG[:-14],
        PNG[:-12] + b"\0\1\2\3garbage" * 20,
        PNG[:-12] + chunk(b"tEXt", b"Comment\0" + bytes(5000))[:999],
        PNG[:-12] + chunk(b"tIME", bytes(7), has_right_checksum=False) + PNG[-12:],
    ],
    ids=["no end", "half an end", "half a checksum", "garbage", "half a text", "a wrong date"],
)
def test_a_png_with_all_its_pixels_is_taken_however_it_ends(data: bytes) -> None:
    assert centers(data) == list(QUARTERS)


def test_a_png_with_a_wrong_checksum_of_its_size_is_refused() -> None:
    assert problem(PNG[:29] + bytes(4) + PNG[33:]) is PictureProblem.DAMAGED


@pytest.mark.parametrize("end", [b"", b"\xff", bytes(50), b"garbage" * 9])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_a_jpeg_without_its_end_marker_is_taken(options: dict[str, object], end: bytes) -> None:
    data = encoded(quarters(), "JPEG", quality=95, **options)
    assert distance(centers(data[:-2] + end), QUARTERS) <= 6


def test_so_is_one_that_is_decoded_at_half_its_size() -> None:
    data = encoded(quarters().resize((8000, 1440), Image.Resampling.NEAREST), "JPEG", quality=50)
    assert distance(centers(data[:-2]), QUARTERS) <= 6


@pytest.mark.parametrize("lost_bytes", [20, 200, 2000])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_rows": 1}])
def test_a_jpeg_that_lacks_pixels_is_refused(options: dict[str, object], lost_bytes: int) -> None:
    noise = Image.effect_noise(SIZE, 50)
    assert problem(encoded(noise, "JPEG", **options)[:-lost_bytes]) is PictureProblem.DAMAGED


@pytest.mark.parametrize(
    "extra",
    [
        segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\xff"),
        segment(0xE2, b"MPF\0II*\0\x08\0\0\0\xff\xff"),
        segment(0xE2, b"ICC_PROFILE\0"),
        segment(0xED, b"Photoshop 3.0\0" + b"8BIM\xff\xff\xff" * 9),
        segment(0xEE, b"Adobe"),
        segment(0xE0, b"JFIF\0"),
        segment(0xFE, b""),
        segment(0xE5, bytes(60_000)) * 300,
        b"\xff\xe5\0\0",
        b"\xff\xff\xff",
    ],
    ids=["EXIF", "MPF", "ICC", "Photoshop", "Adobe", "JFIF", "comment", "18 MB", "no length", "padding"],
)
def test_a_jpeg_is_taken_whatever_programs_wrote_into_it(extra: bytes) -> None:
    assert distance(centers(JPEG[:2] + extra + JPEG[2:]), QUARTERS) <= 6


@pytest.mark.parametrize("format_", ["JPEG", "WEBP", "PNG"])
def test_a_large_profile_is_used(format_: str) -> None:
    small, large = (
        centers(encoded(quarters(), format_, icc_profile=profile, quality=100, lossless=True))
        for profile in (swapped_profile(), padded(swapped_profile()))
    )
    assert distance(large, QUARTERS) > 100
    assert large == small


def test_a_webp_whose_metadata_is_cut_off_is_taken() -> None:
    data = encoded(quarters(), "WEBP", lossless=True, exif=b"Exif\0\0" + bytes(60))
    assert centers(data[:-20]) == list(QUARTERS)


@pytest.mark.parametrize("lost_bytes", [1, 2])
def test_a_gif_without_its_end_is_taken(lost_bytes: int) -> None:
    assert centers(GIF[:-lost_bytes]) == list(QUARTERS)


@pytest.mark.parametrize("seed", range(3))
def test_any_bytes_are_accepted(seed: int) -> None:
    rng = random.Random(seed)  # noqa: S311  # repeatable
    webp = encoded(quarters(), "WEBP", lossless=True, exif=b"Exif\0\0" + bytes(60))
    for read, whole in ((containers.read_png, PNG), (containers.read_jpeg, JPEG), (containers.read_webp, webp)):
        for length in range(0, 300, 7):
            read(whole[:length])
            read(whole[:length] + rng.randbytes(200))
