"""A video goes on from its last picture, as members do it in Discord."""

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import discord
import pytest
from simcord import InteractionResult, MemberActor

from bot.chat.posting import shown_text
from bot.domain.errors import StoreError
from bot.domain.extensions import Extension
from bot.domain.jobs import Job
from bot.services.extensions import ExtensionService
from tests.cogs.conftest import CogHarness, open_cog_harness, sample_picture
from tests.faulty_gateway import Fault, Route


async def a_video(harness: CogHarness, prompt: str = "waves roll in", **options: Any) -> discord.Message:
    """Orders a video; returns its message."""
    await harness.animate(prompt, **options)
    return await posted(harness, prompt)


async def posted(harness: CogHarness, prompt: str) -> discord.Message:
    """The message with the video of a prompt."""
    return await harness.wait_for_message_where(
        lambda message: bool(message.attachments) and f"> {prompt}\n" in message.content
    )


async def is_written(harness: CogHarness) -> Job:
    """The latest job, once it is written that its video is posted, and its status card is gone."""
    while True:
        changed = harness.offline.changed
        if len(harness.public()) == 1:
            return (await jobs(harness))[0]
        await changed.wait()


async def extend(harness: CogHarness, video: discord.Message, prompt: str, who: MemberActor | None = None) -> str:
    """Clicks *Extend* and sends the form; returns the answer."""
    form = await harness.click(video, "Extend", who)
    answered = await (who or harness.offline.viewer).submit_modal(form, {field_of(form)["custom_id"]: prompt})
    assert answered.response is not None
    return answered.response.content or ""


def field_of(form: InteractionResult) -> dict[str, str]:
    """The form's only field; above it stands what the new part takes."""
    assert form.modal is not None
    *_, label = form.modal["components"]
    field: dict[str, str] = label["component"]
    return field


async def frames_of(video: discord.Message) -> int:
    [attachment] = video.attachments
    with av.open(io.BytesIO(await attachment.read()), "r") as container:
        return len(list(container.decode(video=0)))


async def jobs(harness: CogHarness, who: MemberActor | None = None) -> list[Job]:
    """A member's jobs, the newest first."""
    user_id = (who or harness.offline.viewer).id
    return await harness.app.service.recent(harness.offline.guild.id, user_id)


async def test_a_video_goes_on_and_comes_back_as_one_clip(harness: CogHarness) -> None:
    first = await a_video(harness, seed=7, resolution="480P")

    answer = await extend(harness, first, "a ship appears")
    clip = await posted(harness, "a ship appears")

    assert "as one clip of 10 s" in answer
    assert "**3 of 5** videos left" in answer
    assert first.jump_url in answer
    assert "Extended to 10 s (2 pieces, each counted)" in clip.content
    assert "-# 480P\n" in clip.content
    assert await frames_of(clip) == 2 * await frames_of(first) - 1
    assert [one.id for one in harness.public() if one.attachments][:1] == [first.id]  # untouched


async def test_the_form_holds_the_prompt_of_the_video(harness: CogHarness) -> None:
    form = await harness.click(await a_video(harness, "a fox runs"), "Extend")
    assert field_of(form)["value"] == "a fox runs"


class Unavailable(ExtensionService):
    """What the form needs can't be read."""

    def __init__(self) -> None:
        """Needs nothing."""

    async def extendable(self, *_: object, **__: object) -> tuple[Job, Extension]:
        raise StoreError("the database doesn't answer")


async def test_the_form_opens_while_the_database_does_not_answer(harness: CogHarness) -> None:
    first = await a_video(harness)
    harness.bot.services = replace(harness.bot.services, extensions=Unavailable())
    form = await harness.click(first, "Extend")
    assert "value" not in field_of(form)


@pytest.mark.full
async def test_a_clip_goes_on_again_up_to_the_limit(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path, extend_max_seconds=15) as harness:
        first = await a_video(harness)
        await extend(harness, first, "a ship appears")
        second = await posted(harness, "a ship appears")
        await extend(harness, second, "it sails away")
        third = await posted(harness, "it sails away")

        assert "Extended to 15 s (3 pieces, each counted)" in third.content
        assert await frames_of(third) == 3 * await frames_of(first) - 2
        refused = await harness.click(third, "Extend")
        assert refused.response is not None
        assert "That clip has 15 s already, and clips here have up to 15 s" in (refused.response.content or "")
        assert len(await jobs(harness)) == 3


@pytest.mark.full
async def test_what_others_made_is_extended_under_ones_own_quota(harness: CogHarness) -> None:
    first = await a_video(harness)
    other = harness.another_member()

    answer = await extend(harness, first, "a ship appears", other)
    clip = await posted(harness, "a ship appears")

    assert "**4 of 5** videos left" in answer
    assert [member.id for member in clip.mentions] == [other.id]
    assert "Extended to 10 s" in clip.content
    assert len(await jobs(harness)) == len(await jobs(harness, other)) == 1


async def test_extend_follows_the_servers_integration_settings(harness: CogHarness) -> None:
    """Discord guards the command that orders videos with them, but neither buttons nor forms."""
    video, channel = await a_video(harness), harness.offline.channel
    muted = harness.offline.guild.create_role("Muted")
    other = harness.another_member("muted", roles=[muted])
    harness.offline.guild.set_command_permissions(
        harness.bot.services.command_permissions.command_ids["animate"], {muted: False, channel: True}
    )

    assert "This server's settings don't let you make videos here" in await extend(harness, video, "a ship", other)
    assert await jobs(harness, other) == []
    assert "as one clip" in await extend(harness, video, "a ship", harness.another_member("free"))


async def test_a_video_of_another_channel_cannot_be_extended_by_its_id(harness: CogHarness) -> None:
    await a_video(harness)
    job = await is_written(harness)
    other, elsewhere = harness.another_member(), harness.offline.add_channel("elsewhere", topic="")

    refused = await other.slash(elsewhere, "videos extend", video=job.id, prompt="a ship appears")

    assert refused.response is not None
    assert "I can't find that finished video here" in (refused.response.content or "")
    assert await jobs(harness, other) == []


async def test_a_spoiler_stays_one(harness: CogHarness) -> None:
    await harness.offline.animate(sample_picture(), "SPOILER_sea.png", "waves roll in")
    await extend(harness, await posted(harness, "waves roll in"), "a ship appears")
    clip = await posted(harness, "a ship appears")
    assert clip.attachments[0].is_spoiler()


@pytest.mark.full
async def test_a_new_part_is_posted_alone_if_the_video_before_is_deleted_meanwhile(harness: CogHarness) -> None:
    first = await a_video(harness)
    harness.gateway.task_seconds = 3600
    await extend(harness, first, "a ship appears")
    await harness.click(first, "Delete")
    harness.gateway.task_seconds = 0

    clip = await posted(harness, "a ship appears")

    assert "This is the new part alone: the video that it goes on from was deleted meanwhile." in clip.content
    [job, _] = await jobs(harness)
    assert job.charged
    assert "as one clip of 10 s" in await extend(harness, clip, "it sails away")  # it counts as one piece


@pytest.mark.full
async def test_a_failed_part_is_free_and_leaves_the_video_before_as_it_is(harness: CogHarness) -> None:
    first = await a_video(harness)
    harness.gateway.fault(Route.POLL, Fault(status=200, body={"id": "x", "status": "failed"}))

    await extend(harness, first, "a ship appears")
    note = await harness.wait_for_message("your video didn't work")

    assert "It doesn't count against the quota." in note.content
    assert len(harness.videos()) == 1
    assert [job.charged for job in await jobs(harness)] == [False, True]


async def test_a_removed_video_cannot_be_extended(harness: CogHarness) -> None:
    first = await a_video(harness)
    job = await is_written(harness)
    await harness.click(first, "Delete")

    answer = await harness.offline.command("videos extend", video=job.id, prompt="a ship appears")

    assert "That video was removed, so nothing can go on from it." in answer
    assert len(await jobs(harness)) == 1


async def test_a_video_whose_message_was_deleted_cannot_be_extended(harness: CogHarness) -> None:
    first = await a_video(harness)
    job = await is_written(harness)
    await first.delete()

    answer = await harness.offline.command("videos extend", video=job.id, prompt="a ship appears")

    assert "That video was removed" in answer


@pytest.mark.full
async def test_ones_own_videos_are_offered_and_extended_by_command(harness: CogHarness) -> None:
    await a_video(harness)
    job = await is_written(harness)
    choices = await harness.offline.viewer.autocomplete(harness.offline.channel, "videos extend", "video", "")
    assert [choice["value"] for choice in choices] == [job.id]

    answer = await harness.offline.command("videos extend", video=job.id, prompt="a ship appears")

    assert "as one clip of 10 s" in answer
    assert "Extended to 10 s" in (await posted(harness, "a ship appears")).content


async def test_the_status_card_says_what_a_video_goes_on_from(harness: CogHarness) -> None:
    first = await a_video(harness)
    harness.gateway.task_seconds = 3600
    await extend(harness, first, "a ship appears")
    await harness.wait_for_message_where(
        lambda message: f"going on from {first.jump_url}" in shown_text(message.components)
    )
