"""Thousands of mutated pictures, the same in each run; `make fuzz` tries others."""

import pytest

from bot.domain.jobs import Frame
from bot.media.prepared_frame import PreparedFrame
from tests.fuzz.campaign import attempt
from tests.fuzz.hostile import encoded, jpeg_with, png_with
from tests.fuzz.mutations import mutant, samples
from tests.fuzz.oracle import flaw

pytestmark = pytest.mark.full

SEED = 20


@pytest.mark.parametrize(("start", "stop"), [(0, 400), pytest.param(400, 4000, marks=pytest.mark.full)])
def test_a_mutated_picture_results_in_a_frame_or_a_refusal(start: int, stop: int) -> None:
    tally = attempt(SEED, start, stop)
    assert tally.failures == {}, f"seed {SEED}"
    assert set(tally.counts) == {"frame", "refused"}


def test_the_same_seed_gives_the_same_mutants() -> None:
    files = samples()
    assert [mutant(SEED, number, files) for number in range(50)] == [
        mutant(SEED, number, files) for number in range(50)
    ]


@pytest.mark.parametrize(
    ("data", "mime", "size", "expected"),
    [
        (encoded("PNG"), "image/png", (500, 400), None),
        (encoded("JPEG"), "image/jpeg", (500, 400), None),
        (encoded("PNG"), "image/png", (400, 500), "opens as"),
        (encoded("PNG", (300, 400)), "image/png", (300, 400), "a size"),
        (encoded("PNG")[:-4], "image/png", (500, 400), "not a whole PNG"),
        (encoded("JPEG")[:-1], "image/jpeg", (500, 400), "not a whole JPEG"),
        (encoded("JPEG") + b"more", "image/jpeg", (500, 400), "not a whole JPEG"),
        (jpeg_with((0xE1, b"Exif\0\0")), "image/jpeg", (500, 400), "a segment e1"),
        (png_with(b"\0\0\0\0tEXt\0\0\0\0"), "image/png", (500, 400), "a chunk b'tEXt'"),
        (encoded("GIF"), "image/gif", (500, 400), "of type image/gif"),
        (encoded("BMP"), "image/png", (500, 400), "a chunk"),
    ],
)
def test_the_oracle_finds_what_is_wrong_with_a_frame(
    data: bytes, mime: str, size: tuple[int, int], expected: str | None
) -> None:
    found = flaw(PreparedFrame(Frame(data, mime), *size))
    assert found is None if expected is None else found is not None and expected in found
