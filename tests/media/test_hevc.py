"""Colors that an HEVC stream declares."""

import random

import pytest

from bot.media import hevc
from tests.media.samples import encoded, quarters

DECLARED = {"color_primaries": 9, "transfer_characteristics": 16, "matrix_coefficients": 9, "full_range_flag": 1}
HEIC = encoded(quarters(), "HEIF", **DECLARED)


@pytest.mark.parametrize("chroma", ["420", "422", "444"])
def test_the_colors_of_a_stream_are_found(chroma: str) -> None:
    assert hevc.color_description(encoded(quarters(), "HEIF", chroma=chroma, **DECLARED)) == (9, 16)


@pytest.mark.parametrize("data", [b"", b"hvcC", b"\0\0\0\x08hvcC", HEIC[: HEIC.index(b"hvcC") + 60]])
def test_a_stream_that_cannot_be_read_declares_nothing(data: bytes) -> None:
    assert hevc.color_description(data) is None


def test_no_stream_makes_it_fail_or_read_for_long() -> None:
    rng = random.Random(1)  # noqa: S311  # repeatable
    start = HEIC.index(b"hvcC") + 4
    for _ in range(100):
        broken = bytearray(HEIC)
        for _byte in range(rng.choice((1, 5, 30))):
            broken[start + rng.randrange(110)] = rng.randrange(256)
        hevc.color_description(bytes(broken))
    long = b"\0\1\0\1hvcC" + bytes(22) + b"\1\x21\0\1\xff\xf0" + bytes(2) + b"\xff\0" * 32_000
    assert hevc.color_description(long) is None
