"""Discord's file servers, when a member's picture is read from them."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest

from bot.chat.permissions.option_validation import read_picture
from bot.domain.errors import PictureRefused
from bot.media.picture_problems import PictureProblem, UnusablePicture
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

AT_ONCE = (0.0, 0.0)


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
    server.fail_next("GET", "/cdn/*", FAULTS[fault], times=100)
    with pytest.raises(PictureRefused) as refused:
        await read_picture(attachment, AT_ONCE)
    assert refused.value.reason == UnusablePicture(PictureProblem.NOT_FETCHED)

    server.faults.clear()
    assert await read_picture(attachment, AT_ONCE) == sample_picture()


@pytest.mark.parametrize("fault", [*FAULTS, "a proxy's page"])
async def test_a_picture_that_is_not_there_yet_is_asked_for_again_quietly(
    server: DiscordServer, attachment: discord.Attachment, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    odd = FAULTS.get(fault, Answer(200, "<html>Just a moment...</html>"))
    server.fail_next("GET", "/cdn/*", odd, times=2)
    assert await read_picture(attachment, AT_ONCE) == sample_picture()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_picture_of_another_size_than_discord_says_is_taken_in_the_end(server: DiscordServer) -> None:
    held = server.state.store_file("ephemeral-attachments/1", Upload("sea.png", sample_picture()))
    async with logged_in(discord.Client(intents=discord.Intents.none()), server) as client:
        listed: Any = held.json() | {"size": 1}
        attachment = discord.Attachment(data=listed, state=client._connection)
        assert await read_picture(attachment, AT_ONCE) == sample_picture()
    assert len(server.calls("GET", "/cdn/")) == len(AT_ONCE) + 1
