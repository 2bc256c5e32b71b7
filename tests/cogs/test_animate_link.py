"""`/animate` with a link to a picture on Discord, as a member sees it."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from bot.providers.discord_files import DiscordFiles
from tests.cogs.conftest import CogHarness, sample_picture
from tests.providers.discord_cdn import discord_cdn
from tests.providers.servers import ScriptedServer

LINK = "https://cdn.discordapp.com/attachments/1/2/sea.png?ex=1&is=2&hm=3"


@pytest.fixture
async def cdn(harness: CogHarness) -> AsyncIterator[ScriptedServer]:
    async with discord_cdn() as (server, files):
        use(harness, files)
        yield server


def use(harness: CogHarness, files: DiscordFiles) -> None:
    harness.bot.services = replace(harness.bot.services, discord_files=files)


async def test_the_picture_behind_a_link_becomes_a_video(harness: CogHarness, cdn: ScriptedServer) -> None:
    cdn.answers(sample_picture())

    assert "Got it!" in await harness.offline.command("animate", link=LINK, prompt="waves roll in")

    video = await harness.wait_for_message_where(lambda one: "here's your video" in one.content)
    assert [file.filename for file in video.attachments] == ["sea.mp4"]


@pytest.mark.parametrize(
    "link", ["https://example.org/sea.png", "sea.png", "https://discord.com/channels/1/2/3", "http://127.0.0.1/"]
)
async def test_a_link_to_anything_else_is_refused(harness: CogHarness, cdn: ScriptedServer, link: str) -> None:
    answer = await harness.offline.command("animate", link=link, prompt="waves roll in")

    assert "only use links to pictures on Discord" in answer
    assert cdn.seen == []


async def test_an_expired_link_is_refused_with_what_to_do(harness: CogHarness, cdn: ScriptedServer) -> None:
    cdn.answers(b"This content is no longer available.", 404)

    answer = await harness.offline.command("animate", link=LINK, prompt="waves roll in")

    assert "copy its link again" in answer
    assert "Nothing was charged" in answer
    assert harness.public() == []


async def test_an_order_without_a_picture_is_asked_for_one(harness: CogHarness) -> None:
    answer = await harness.offline.command("animate", prompt="waves roll in")

    assert "`image`" in answer
    assert "`link`" in answer


async def test_an_order_with_two_pictures_is_refused(harness: CogHarness, cdn: ScriptedServer) -> None:
    answer = await harness.animate(link=LINK)

    assert "not both" in answer
    assert cdn.seen == []
