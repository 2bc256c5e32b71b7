"""Broken pictures, the same each time; `make fuzz` tries others for as long as one likes."""

import pytest

from bot.domain.jobs import Frame
from bot.media.first_frame import PreparedFrame
from tests.fuzz.campaign import attempt
from tests.fuzz.hostile import drawn, jpeg_with, png_with
from tests.fuzz.mutations import mutant, samples
from tests.fuzz.oracle import flaw

SEED = 20


@pytest.mark.parametrize(("start", "stop"), [(0, 400), pytest.param(400, 4000, marks=pytest.mark.full)])
def test_a_broken_picture_is_a_frame_or_a_refusal_and_nothing_else(start: int, stop: int) -> None:
    tally = attempt(SEED, start, stop)
    assert tally.found == {}, f"seed {SEED}"
    assert set(tally.counts) == {"frame", "refused"}


def test_the_same_seed_breaks_the_same() -> None:
    files = samples()
    assert [mutant(SEED, number, files) for number in range(50)] == [
        mutant(SEED, number, files) for number in range(50)
    ]


@pytest.mark.parametrize(
    ("data", "mime", "size", "found"),
    [
        (drawn("PNG"), "image/png", (500, 400), None),
        (drawn("JPEG"), "image/jpeg", (500, 400), None),
        (drawn("PNG"), "image/png", (400, 500), "opens as"),
        (drawn("PNG", (300, 400)), "image/png", (300, 400), "a size"),
        (drawn("PNG")[:-4], "image/png", (500, 400), "no whole PNG"),
        (drawn("JPEG")[:-1], "image/jpeg", (500, 400), "no whole JPEG"),
        (drawn("JPEG") + b"more", "image/jpeg", (500, 400), "no whole JPEG"),
        (jpeg_with((0xE1, b"Exif\0\0")), "image/jpeg", (500, 400), "a segment e1"),
        (png_with(b"\0\0\0\0tEXt\0\0\0\0"), "image/png", (500, 400), "a chunk b'tEXt'"),
        (drawn("GIF"), "image/gif", (500, 400), "of type image/gif"),
        (drawn("BMP"), "image/png", (500, 400), "a chunk"),
    ],
)
def test_the_judge_sees_what_is_wrong_with_a_frame(
    data: bytes, mime: str, size: tuple[int, int], found: str | None
) -> None:
    said = flaw(PreparedFrame(Frame(data, mime), *size))
    assert said is None if found is None else said is not None and found in said
