"""What was changed about a picture reaches its member from the decoder's process."""

import pytest
from PIL import Image

from bot.chat.messages.picture_texts import picture_changes
from bot.media.decode_client import DecodeClient
from bot.media.first_frame import prepare_first_frame
from tests.media.samples import CLEAR, SIZE, WHITE, animated, drawing, encoded, quarters
from tests.media.test_raw_photo import PREVIEW, SENSOR_PIXELS, raw_photo


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (encoded(drawing(WHITE), "PNG"), "transparent parts filled with dark gray, because the picture is white"),
        (encoded(drawing((0, 0, 0, 255)), "PNG"), "transparent parts filled with white"),
        (
            animated("GIF", Image.new("RGBA", SIZE, CLEAR), quarters().convert("RGBA")),
            "only one frame of the animation, as its first one is empty",
        ),
        (raw_photo(SENSOR_PIXELS, PREVIEW), "the camera's own JPEG from the raw photo"),
    ],
)
async def test_a_change_is_told(data: bytes, said: str) -> None:
    async with DecodeClient() as client:
        prepared = await client.prepare(data)
    assert prepared == prepare_first_frame(data)
    assert picture_changes(prepared.changes) == f"I adjusted your picture for the model: {said}."
