from collections.abc import AsyncIterator

import pytest

from bot.media.decode_client import DecodeClient
from tests.media.decoders import ROGUE_DECODER, decoders


@pytest.fixture
async def no_decoder_outlives_a_test() -> AsyncIterator[None]:
    yield
    assert decoders() == []


@pytest.fixture
async def rogue(no_decoder_outlives_a_test: None) -> AsyncIterator[DecodeClient]:  # noqa: ARG001 - it ends later
    async with DecodeClient(ROGUE_DECODER) as client:
        yield client
