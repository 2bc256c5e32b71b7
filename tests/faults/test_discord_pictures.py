"""Discord's file servers, when a member's picture is read from them."""

from collections.abc import AsyncIterator

import discord
import pytest

from bot.chat.permissions.option_validation import read_picture
from bot.domain.errors import PictureRefused
from bot.media.first_frame import PictureProblem, UnusablePicture
from tests.cogs.conftest import sample_picture
from tests.discord_server import (
    Answer,
    DiscordServer,
    FaultPhase,
    Reset,
    Truncated,
    Upload,
    logged_in,
    server_error,
)
from tests.discord_server.faults import Fault

FAULTS: dict[str, Fault] = {
    "gone": Answer(404, "This content is no longer available."),
    "link expired": Answer(403, "Forbidden"),
    "503": server_error(503),
    "limited": Answer(429, "slow down"),
    "reset": Reset(),
    "closed": Reset(graceful=True),
    "half": Truncated(FaultPhase.BEFORE),
}


@pytest.fixture
async def server() -> AsyncIterator[DiscordServer]:
    async with DiscordServer() as running:
        yield running


@pytest.fixture
async def attachment(server: DiscordServer) -> AsyncIterator[discord.Attachment]:
    """A picture that a member attached."""
    held = server.state.store_file("ephemeral-attachments/1", Upload("sea.png", sample_picture()))
    async with logged_in(discord.Client(intents=discord.Intents.none()), server) as client:
        yield discord.Attachment(data=held.json(), state=client._connection)  # type: ignore[arg-type]  # a TypedDict


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_picture_that_cannot_be_read_can_be_sent_again(
    server: DiscordServer, attachment: discord.Attachment, fault: str
) -> None:
    # aiohttp itself asks again where a connection that was kept broke.
    server.fail_next("GET", "/cdn/*", FAULTS[fault], times=2)
    with pytest.raises(PictureRefused) as refused:
        await read_picture(attachment)
    assert refused.value.reason == UnusablePicture(PictureProblem.NOT_FETCHED)

    server.faults.clear()
    assert await read_picture(attachment) == sample_picture()
