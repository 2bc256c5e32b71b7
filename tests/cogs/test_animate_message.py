"""The command on a message, *Animate this image*, as a member sees it."""

import json
from dataclasses import replace
from typing import Any

import discord
import pytest
from simcord import InteractionResult

from bot.chat.offered_pictures import OfferedPictures
from tests.cogs.conftest import CogHarness, sample_picture

NAME = "Animate this image"


async def start(harness: CogHarness, message: discord.Message) -> InteractionResult:
    return await harness.offline.viewer.context_menu(harness.offline.channel, NAME, message)


async def posted(harness: CogHarness, *files: tuple[str, bytes], text: str = "") -> discord.Message:
    return await harness.another_member().send(harness.offline.channel, text, attachments=files)


async def fill(harness: CogHarness, shown: InteractionResult, **values: Any) -> str:
    answer = await harness.offline.viewer.submit_modal(shown, values)
    assert answer.response is not None
    return answer.response.content


async def test_a_picture_in_a_message_becomes_a_video(harness: CogHarness) -> None:
    message = await posted(harness, ("sea.png", sample_picture()))

    shown = await start(harness, message)
    assert shown.modal is not None
    assert "Got it!" in await fill(harness, shown, prompt="waves roll in", resolution=["480P"])

    video = await harness.wait_for_message_where(lambda one: "here's your video" in one.content)
    assert [file.filename for file in video.attachments] == ["sea.mp4"]
    assert f"{harness.offline.viewer.mention}, here's your video" in video.content
    assert "-# 480P" in video.content


async def test_without_a_resolution_it_is_the_best_that_the_server_allows(harness: CogHarness) -> None:
    shown = await start(harness, await posted(harness, ("sea.png", sample_picture())))

    await fill(harness, shown, prompt="waves roll in")

    await harness.wait_for_message("-# 720P")


async def test_it_follows_the_integration_settings_of_animate(harness: CogHarness) -> None:
    """A server that lets only some members order need not know of this command as well."""
    muted, channel = harness.offline.guild.create_role("Muted"), harness.offline.channel
    other, message = (
        harness.another_member("muted", roles=[muted]),
        await posted(harness, ("sea.png", sample_picture())),
    )
    harness.offline.guild.set_command_permissions(
        harness.bot.services.command_permissions.command_ids["animate"], {muted: False, channel: True}
    )

    shown = await other.context_menu(channel, NAME, message)
    answer = await other.submit_modal(shown, {"prompt": "waves roll in"})

    assert answer.response is not None
    assert "This server's settings don't let you make videos here" in answer.response.content
    assert "Got it!" in await fill(harness, await start(harness, message), prompt="waves roll in")


async def test_the_form_is_called_like_the_picture(harness: CogHarness) -> None:
    shown = await start(harness, await posted(harness, (f"{'a' * 80}.png", sample_picture())))

    assert shown.modal is not None
    assert shown.modal["title"].startswith("Animate aaa")
    assert len(shown.modal["title"]) <= 45


async def test_of_several_pictures_one_is_chosen(harness: CogHarness) -> None:
    pictures = [
        ("one.png", sample_picture()),
        ("notes.txt", b"no picture"),
        ("two.png", sample_picture((500, 400))),
    ]
    asked = await start(harness, await posted(harness, *pictures))

    assert asked.response is not None
    assert asked.response.ephemeral
    assert "several pictures" in json.dumps(asked.response.components)
    shown = await harness.offline.viewer.select(asked.response, ["1"])
    assert "Got it!" in await fill(harness, shown, prompt="a storm")

    video = await harness.wait_for_message_where(lambda one: "here's your video" in one.content)
    assert [file.filename for file in video.attachments] == ["two.mp4"]


async def test_the_choice_shows_each_picture_and_keeps_spoilers_hidden(harness: CogHarness) -> None:
    message = await posted(harness, ("one.png", sample_picture()), ("SPOILER_two.png", sample_picture()))

    asked = await start(harness, message)

    assert asked.response is not None
    _, gallery, row = asked.response.components
    assert [item.get("spoiler", False) for item in gallery["items"]] == [False, True]
    assert [option["label"] for option in row["components"][0]["options"]] == ["one.png", "two.png"]


async def test_a_spoiler_stays_one(harness: CogHarness) -> None:
    shown = await start(harness, await posted(harness, ("SPOILER_sea.png", sample_picture())))

    await fill(harness, shown, prompt="waves roll in")

    video = await harness.wait_for_message_where(lambda one: "here's your video" in one.content)
    assert video.attachments[0].is_spoiler()


async def test_a_forwarded_picture_counts(harness: CogHarness) -> None:
    message = await posted(harness, ("sea.png", sample_picture()))
    forwarded = await harness.offline.viewer.forward(message, harness.offline.channel)

    shown = await start(harness, forwarded)

    assert "Got it!" in await fill(harness, shown, prompt="waves roll in")


async def test_a_message_without_a_picture_is_answered_with_what_is_looked_for(harness: CogHarness) -> None:
    answer = await start(harness, await posted(harness, ("notes.txt", b"hello"), text="just words"))

    assert answer.response is not None
    assert answer.response.ephemeral
    assert "can't find a picture" in answer.response.content
    assert "`/animate`" in answer.response.content


async def test_where_nothing_can_be_posted_no_form_opens(harness: CogHarness) -> None:
    bot_user = harness.bot.user
    assert bot_user is not None
    channel = harness.offline.guild.create_text_channel(
        "no-files", overwrites={bot_user: discord.PermissionOverwrite(attach_files=False)}
    )
    message = await harness.another_member().send(channel, attachments=[("sea.png", sample_picture())])

    answer = await harness.offline.viewer.context_menu(channel, NAME, message)

    assert answer.modal is None
    assert answer.response is not None
    assert "**Attach Files**" in answer.response.content


def restart(harness: CogHarness) -> None:
    """Forgets what a restart forgets."""
    harness.bot.services = replace(harness.bot.services, pictures=OfferedPictures())


@pytest.mark.parametrize("count", [1, 2])
async def test_after_a_restart_the_member_is_asked_to_start_again(harness: CogHarness, count: int) -> None:
    pictures = [("one.png", sample_picture()), ("two.png", sample_picture())][:count]
    asked = await start(harness, await posted(harness, *pictures))

    restart(harness)
    if count > 1:
        assert asked.response is not None
        answer = await harness.offline.viewer.select(asked.response, ["1"])
    else:
        answer = await harness.offline.viewer.submit_modal(asked, {"prompt": "waves"})

    assert answer.response is not None
    assert answer.response.ephemeral
    assert "start again" in answer.response.content
    assert not harness.gateway.received


async def test_a_form_takes_the_same_rules_as_the_command(harness: CogHarness) -> None:
    shown = await start(harness, await posted(harness, ("sea.png", b"not a picture")))

    assert "can't find a picture in this file" in await fill(harness, shown, prompt="waves roll in")
    assert not harness.gateway.received
