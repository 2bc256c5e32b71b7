"""Each hostile file results in a frame or in a refusal that says what to do."""

import asyncio

import psutil  # type: ignore[import-untyped]  # it has no types
import pytest

from bot.chat.messages.reason_texts import text_of
from bot.domain.errors import PictureRefused
from bot.media.decode_client import DecodeClient
from bot.media.first_frame import prepare_first_frame
from bot.media.picture_problems import PictureProblem, UnusablePicture
from bot.media.prepared_frame import PreparedFrame
from tests.fuzz.hostile import BOMBS, NOT_PICTURES, PAYLOAD, POLYGLOTS, encoded, sample
from tests.fuzz.oracle import flaw

pytestmark = pytest.mark.full

TYPICAL = {
    "swapped_profile.png": 1024, "cmyk_profile.jpg": 1024, "photo_progressive.jpg": 1024, "moving.gif": 256,
    "photo.webp": 1024, "lossless.webp": 16, "photo_jpeg.tif": 1024, "lzw.tif": 256, "photo.heic": 1024,
    "ten_bit.avif": 32, "four_bit.bmp": 1024, "rle.bmp": 256,
}  # fmt: skip
"""One file of each kind, and the step in bytes at which it is truncated: a kilobyte, less for small files."""


def is_acceptable(result: PreparedFrame | PictureRefused) -> bool:
    """Whether it is a correct frame, or a refusal that says what to do."""
    return (
        flaw(result) is None if isinstance(result, PreparedFrame) else "please" in text_of(result.reason).lower()
    )


@pytest.mark.parametrize(
    "name",
    [name if index % 5 == 0 else pytest.param(name, marks=pytest.mark.full) for index, name in enumerate(BOMBS)],
)
async def test_a_hostile_picture_results_in_a_frame_or_a_refusal_that_says_what_to_do(name: str) -> None:
    result: PreparedFrame | PictureRefused
    async with DecodeClient() as client:
        try:
            result = await client.prepare(BOMBS[name]())
        except PictureRefused as refused:
            result = refused
    assert is_acceptable(result)


@pytest.mark.parametrize("name", NOT_PICTURES)
def test_a_file_that_is_not_a_picture_is_refused_as_such(name: str) -> None:
    with pytest.raises(PictureRefused) as refused:
        prepare_first_frame(NOT_PICTURES[name]())
    assert refused.value.reason == UnusablePicture(PictureProblem.NOT_A_PICTURE)


@pytest.mark.parametrize("name", POLYGLOTS)
async def test_only_the_pixels_of_a_polyglot_are_kept(name: str) -> None:
    assert PAYLOAD in POLYGLOTS[name]()
    async with DecodeClient() as client:
        prepared = await client.prepare(POLYGLOTS[name]())
    assert is_acceptable(prepared)
    assert PAYLOAD not in prepared.frame.data


@pytest.mark.parametrize(("name", "step"), TYPICAL.items())
def test_a_picture_truncated_anywhere_results_in_a_frame_or_a_refusal(name: str, step: int) -> None:
    data = sample(name)
    results: list[PreparedFrame | PictureRefused] = []
    for end in range(0, len(data), step):
        try:
            results.append(prepare_first_frame(data[:end]))
        except PictureRefused as refused:
            results.append(refused)
    assert all(map(is_acceptable, results))
    assert any(isinstance(result, PictureRefused) for result in results)


async def test_decoding_uses_no_memory_in_the_bots_process() -> None:
    large = encoded("PNG", (6_000, 6_000))
    bot = psutil.Process()
    before = bot.memory_info().rss
    async with DecodeClient() as client:
        decoding = asyncio.gather(client.prepare(large), client.prepare(large))
        peak = before
        while not decoding.done():
            await asyncio.sleep(0.01)
            peak = max(peak, bot.memory_info().rss)
        await decoding
    # In the bot itself, each picture would take 110 MB.
    assert peak - before < 50 << 20
