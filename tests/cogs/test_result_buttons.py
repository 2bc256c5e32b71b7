"""The buttons under a finished video, as members see them: Again, Edit, Info and Delete."""

import asyncio
from pathlib import Path
from typing import Any

import discord
import pytest
from simcord import InteractionResult, ResponseMessage

from bot.chat.form_times import FormTimes
from bot.chat.messages.markdown import escaped
from bot.chat.messages.video_list_texts import NOTHING_TO_REPEAT
from bot.domain.jobs import Job, JobState
from bot.store.schema import first_frames, kept_pictures
from tests.cogs.admins import admin, ask
from tests.cogs.conftest import CogHarness, open_cog_harness, sample_picture
from tests.faulty_gateway import Fault, Route


def answer(result: InteractionResult) -> ResponseMessage:
    """The private answer to a click."""
    assert result.response is not None
    assert result.response.ephemeral
    return result.response


async def jobs_of(harness: CogHarness, user_id: int | None = None) -> list[Job]:
    """A member's jobs, the first member's unless said otherwise, the newest first."""
    return await harness.app.service.recent(harness.offline.guild.id, user_id or harness.offline.viewer.id)


def videos(harness: CogHarness) -> list[discord.Message]:
    return [message for message in harness.public() if message.content and message.attachments]


async def a_video(harness: CogHarness, prompt: str = "waves roll in", **options: Any) -> discord.Message:
    """Orders a video and waits for it."""
    await harness.animate(prompt, **options)
    return await another_video(harness, prompt)


async def another_video(harness: CogHarness, prompt: str, after: int = 0) -> discord.Message:
    """The video with this prompt that was posted after that message."""
    return await harness.wait_for_message_where(
        lambda message: bool(message.attachments) and escaped(prompt) in message.content and message.id > after
    )


def labels(message: discord.Message) -> list[str | None]:
    return [button.label for row in message.components for button in row.children]  # type: ignore[union-attr]


async def delete_rows(harness: CogHarness) -> None:
    """Deletes all pictures, as retention does."""
    async with harness.app.database.write() as connection:
        await connection.execute(kept_pictures.delete())
        await connection.execute(first_frames.delete())


async def test_a_video_has_its_buttons(harness: CogHarness) -> None:
    video = await a_video(harness)

    assert labels(video) == ["Again", "Edit", "Variations", "Extend", "Info", "Delete"]


async def test_again_makes_the_same_video_with_another_seed(harness: CogHarness) -> None:
    video = await a_video(harness, seed=7, resolution="480P", negative_prompt="rain")

    said = answer(await harness.click(video, "Again"))

    assert said.content.startswith("Got it! Your video will appear in this channel")
    again, first = await jobs_of(harness)
    assert (again.order.prompt, again.order.negative_prompt, again.order.resolution) == (
        "waves roll in",
        "rain",
        "480P",
    )
    assert again.order.seed not in {None, first.order.seed}
    posted = await another_video(harness, "waves roll in", after=video.id)
    assert f"seed {again.order.seed}" in posted.content


async def test_again_by_another_member_is_theirs(harness: CogHarness) -> None:
    video, other = await a_video(harness), harness.another_member()

    said = answer(await harness.click(video, "Again", other))

    assert "**4 of 5** videos left" in said.content
    posted = await another_video(harness, "waves roll in", after=video.id)
    assert f"<@{other.id}>, here's your video" in posted.content
    assert len(await jobs_of(harness)) == len(await jobs_of(harness, other.id)) == 1


async def test_two_clicks_are_two_orders_within_the_limit(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path, quota_videos_per_day=3) as harness:
        video = await a_video(harness)

        for _ in range(2):
            assert answer(await harness.click(video, "Again")).content.startswith("Got it!")
        refused = answer(await harness.click(video, "Again"))

        assert "You've used 3 of 3 videos" in refused.content or "in progress" in refused.content
        assert len(await jobs_of(harness)) == 3


async def test_a_spoiler_stays_one(harness: CogHarness) -> None:
    await harness.offline.animate(sample_picture(), "SPOILER_sea.png", "a surprise")
    video = await another_video(harness, "a surprise")

    await harness.click(video, "Again")

    posted = await another_video(harness, "a surprise", after=video.id)
    assert posted.attachments[0].is_spoiler()


async def test_the_form_has_what_the_video_was_made_from(harness: CogHarness) -> None:
    video = await a_video(harness, "a *starry* night", seed=7, resolution="480P", negative_prompt="rain")

    shown = await harness.click(video, "Edit")

    assert shown.modal is not None
    inputs = [part["component"] for part in shown.modal["components"] if "component" in part]
    assert {field["custom_id"]: field.get("value") for field in inputs if "value" in field} == {
        "prompt": "a *starry* night",
        "negative_prompt": "rain",
        "seed": "7",
    }
    [select] = [field for field in inputs if field["custom_id"] == "resolution"]
    assert [option["value"] for option in select["options"] if option.get("default")] == ["480P"]


async def test_a_prompt_of_the_greatest_length_fits_the_form(harness: CogHarness) -> None:
    prompt = "🎬" * 800
    video = await a_video(harness, prompt, negative_prompt="🌧️" * 250)

    shown = await harness.click(video, "Edit")

    assert shown.modal is not None
    assert shown.modal["components"][1]["component"]["value"] == prompt


async def test_the_edited_video_is_made(harness: CogHarness) -> None:
    video, other = await a_video(harness, seed=7), harness.another_member()
    shown = await harness.click(video, "Edit", other)

    sent = {"prompt": "a storm", "negative_prompt": "", "resolution": ["480P"], "seed": "8"}
    said = answer(await other.submit_modal(shown, sent))

    assert said.content.startswith("Got it!")
    [job] = await jobs_of(harness, other.id)
    assert (job.order.prompt, job.order.resolution, job.order.seed) == ("a storm", "480P", 8)
    assert f"<@{other.id}>" in (await another_video(harness, "a storm")).content


async def test_an_empty_seed_becomes_another_one(harness: CogHarness) -> None:
    video = await a_video(harness, seed=7)
    shown = await harness.click(video, "Edit")

    await harness.offline.viewer.submit_modal(
        shown, {"prompt": "a storm", "negative_prompt": "", "resolution": ["720P"], "seed": ""}
    )

    job, _ = await jobs_of(harness)
    assert job.order.seed not in {None, 7}


@pytest.mark.parametrize(
    ("changed", "said"), [({"seed": "seven"}, "The seed has to be"), ({"prompt": "   "}, "Your prompt is empty")]
)
async def test_what_the_model_does_not_take_is_refused(
    harness: CogHarness, changed: dict[str, str], said: str
) -> None:
    video = await a_video(harness)
    shown = await harness.click(video, "Edit")
    sent = {"prompt": "a storm", "negative_prompt": "", "resolution": ["720P"], "seed": "8"} | changed

    refused = answer(await harness.offline.viewer.submit_modal(shown, sent))

    assert refused.content.startswith(said)
    assert len(await jobs_of(harness)) == 1


async def test_buttons_and_forms_work_after_a_restart(tmp_path: Path) -> None:
    """Nothing about them is in memory: the form that is submitted is one that this process never showed."""
    async with open_cog_harness(tmp_path) as harness:
        video = await a_video(harness)
        shown = await harness.click(video, "Edit")
        store = harness.bot._connection._view_store
        assert not store._modals

        said = answer(
            await harness.offline.viewer.submit_modal(
                shown, {"prompt": "a storm", "negative_prompt": "", "resolution": ["720P"], "seed": ""}
            )
        )

        assert said.content.startswith("Got it!")


@pytest.mark.parametrize("label", ["Again", "Edit"])
async def test_without_its_picture_the_buttons_say_how_to_go_on(harness: CogHarness, label: str) -> None:
    video = await a_video(harness)
    await delete_rows(harness)

    result = await harness.click(video, label)

    assert result.modal is None
    assert "I don't have that video's picture any more" in answer(result).content
    assert "`/animate`" in answer(result).content
    assert len(await jobs_of(harness)) == 1


async def test_a_picture_that_goes_while_its_form_is_open_is_told(harness: CogHarness) -> None:
    video = await a_video(harness)
    shown = await harness.click(video, "Edit")
    await delete_rows(harness)

    refused = answer(
        await harness.offline.viewer.submit_modal(
            shown, {"prompt": "a storm", "negative_prompt": "", "resolution": ["720P"], "seed": ""}
        )
    )

    assert "I don't have that video's picture any more" in refused.content


async def test_the_servers_rules_apply_to_again(harness: CogHarness) -> None:
    video, other = await a_video(harness), harness.another_member()
    await ask(harness, admin(harness), "video-admin words add", words="waves")

    refused = answer(await harness.click(video, "Again", other))

    assert "Your prompt contains something this server blocks" in refused.content
    assert await jobs_of(harness, other.id) == []


async def test_again_follows_the_servers_integration_settings(harness: CogHarness) -> None:
    """Discord guards the command with them, but no button."""
    video, channel = await a_video(harness), harness.offline.channel
    muted = harness.offline.guild.create_role("Muted")
    other = harness.another_member("muted", roles=[muted])
    harness.offline.guild.set_command_permissions(
        harness.bot.services.command_permissions.command_ids["animate"], {muted: False, channel: True}
    )

    refused = answer(await harness.click(video, "Again", other))

    assert "This server's settings don't let you make videos here" in refused.content
    assert await jobs_of(harness, other.id) == []
    assert answer(await harness.click(video, "Again", harness.another_member("free"))).content.startswith(
        "Got it!"
    )


async def test_info_shows_everything_to_everybody_but_the_cost(harness: CogHarness) -> None:
    video = await a_video(harness, seed=7, negative_prompt="rain", watermark=True)
    while (await jobs_of(harness))[0].state is not JobState.DELIVERED:
        await asyncio.sleep(0.01)

    [embed] = answer(await harness.click(video, "Info", harness.another_member())).message.embeds

    text = embed.description or ""
    for part in ("> waves roll in", "**Without:** rain", "720P", "`7`", "Watermark:** yes", "**Took:**", "Job `"):
        assert part in text
    assert "Cost" not in text


async def test_info_shows_the_cost_to_who_manages_the_bot(harness: CogHarness) -> None:
    video = await a_video(harness)
    role = harness.offline.guild.create_role("Staff", permissions=discord.Permissions(administrator=True))

    [embed] = answer(
        await harness.click(video, "Info", harness.another_member("boss", roles=[role]))
    ).message.embeds

    assert "**Cost:** $" in (embed.description or "")


async def test_delete_takes_the_message_the_picture_and_the_link(harness: CogHarness) -> None:
    video = await a_video(harness)

    assert answer(await harness.click(video, "Delete")).content.startswith("Deleted")

    assert videos(harness) == []
    [job] = await jobs_of(harness)
    assert not job.result_url
    assert await harness.app.store.frame(job.id) is None


async def test_a_failure_that_may_pass_can_be_tried_again(harness: CogHarness) -> None:
    harness.gateway.fault(Route.POLL, Fault(status=200, body={"id": "x", "status": "failed"}))
    await harness.animate("a heron")
    note = await harness.wait_for_message("didn't work")
    assert labels(note) == ["Remove", "Try again"]

    others = answer(await harness.click(note, "Try again", harness.another_member()))
    own = answer(await harness.click(note, "Try again"))

    assert "I don't know that video" in others.content
    assert own.content.startswith("Got it!")
    await another_video(harness, "a heron")


async def test_the_command_offers_own_videos_with_a_picture_and_makes_one_again(harness: CogHarness) -> None:
    video, channel, other = await a_video(harness), harness.offline.channel, harness.another_member()
    [job] = await jobs_of(harness)

    offered = await harness.offline.viewer.autocomplete(channel, "videos again", "video", "waves")
    assert [choice["value"] for choice in offered] == [job.id]
    nothing = [choice["name"] for choice in await other.autocomplete(channel, "videos again", "video", "")]
    assert nothing == [NOTHING_TO_REPEAT]
    assert "Got it!" in await harness.offline.command("videos again", video=job.id)
    refused = answer(await other.slash(channel, "videos again", video=job.id))

    assert "isn't one of your videos" in refused.content
    await another_video(harness, "waves roll in", after=video.id)
    await delete_rows(harness)
    left = await harness.offline.viewer.autocomplete(channel, "videos again", "video", "")
    assert [choice["name"] for choice in left] == [NOTHING_TO_REPEAT]


async def test_a_form_is_not_waited_for_longer_than_discord_does() -> None:
    assert max(FormTimes().lookup_s, FormTimes().quote_s) < 3
