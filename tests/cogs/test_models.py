"""A second model is configured: members choose it, admins allow it, and it costs what it costs."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import discord
import pytest
from pydantic import SecretStr
from simcord import InteractionResult, SetupError

from bot.domain.jobs import Job, JobState, Resolution
from bot.domain.models import WAN22_FLASH, WAN25_PREVIEW
from bot.store.guilds import guild_settings
from tests.cogs.admins import admin, ask, text_of
from tests.cogs.conftest import CogHarness, open_cog_harness, sample_picture

BOTH = (WAN22_FLASH.name, WAN25_PREVIEW.name)
TEN_SECONDS: dict[str, Any] = {"model": WAN25_PREVIEW.name, "resolution": "1080P", "duration": 10}


@pytest.fixture
async def two(tmp_path: Path) -> AsyncIterator[CogHarness]:
    """A bot that offers two models. Nothing listens where the second is made, so its jobs wait in the queue."""
    async with open_cog_harness(
        tmp_path,
        models=BOTH,
        providers=("vtrix", "dashscope"),
        dashscope_api_key=SecretStr("key-for-tests"),
        dashscope_base_url="http://127.0.0.1:9/api/v1",
    ) as harness:
        yield harness


async def allow_1080p(harness: CogHarness) -> None:
    await ask(harness, admin(harness), "video-admin resolutions", allow="480P, 720P and 1080P")


async def newest(harness: CogHarness) -> Job:
    return (await harness.jobs_of([harness.offline.viewer]))[0]


def options(harness: CogHarness, command: str) -> dict[str, list[str]]:
    """The options of a command as Discord has them, each with the names of its choices."""
    root, *path = command.split()
    found: Any = harness.bot.tree.get_command(root)
    for name in path:
        found = found.get_command(name)
    return {option.display_name: [str(choice.name) for choice in option.choices] for option in found.parameters}


def fields(form: InteractionResult) -> dict[str, dict[str, Any]]:
    """The fields of a form, by their custom ids."""
    assert form.modal is not None
    components = (label["component"] for label in form.modal["components"] if "component" in label)
    return {component["custom_id"]: component for component in components}


async def test_models_resolutions_and_durations_can_be_chosen(two: CogHarness) -> None:
    declared = options(two, "animate")

    assert declared["model"] == [
        "Wan 2.2 Flash (480P/720P, 5 s)",
        "Wan 2.5 Preview, with sound (480P/720P/1080P, 5 or 10 s)",
    ]
    assert declared["resolution"] == ["480P", "720P", "1080P"]
    assert declared["duration"] == ["5 seconds", "10 seconds"]
    command: Any = two.bot.tree.get_command("animate")
    assert command.description == "Turn a picture and a prompt into a 5- or 10-second video"


async def test_an_order_carries_what_was_chosen_and_costs_what_that_costs(two: CogHarness) -> None:
    await allow_1080p(two)

    assert "Got it!" in await two.animate("waves" * 300, **TEN_SECONDS)

    job = await newest(two)
    assert (job.order.model, job.order.resolution, job.order.duration_s) == (BOTH[1], Resolution.P1080, 10)
    assert job.estimated_cost_usd == Decimal("1.4")  # 10 s at 1 CNY


async def test_without_a_choice_the_first_model_makes_the_video_as_before(two: CogHarness) -> None:
    await two.animate()

    job = await newest(two)
    assert (job.order.model, job.order.resolution, job.order.duration_s) == (BOTH[0], Resolution.P720, 5)
    assert job.estimated_cost_usd == Decimal("0.14")


async def test_what_a_model_does_not_make_is_refused_with_what_it_makes(two: CogHarness) -> None:
    await allow_1080p(two)

    assert "Wan 2.2 Flash makes videos in 480P or 720P." in await two.animate(resolution="1080P")
    assert "Wan 2.2 Flash makes videos of 5 seconds." in await two.animate(duration=10)
    assert "the model reads at most 800" in await two.animate("a" * 801)
    assert await two.jobs_of([two.offline.viewer]) == []


async def test_1080p_needs_the_servers_permission(two: CogHarness) -> None:
    assert "only allows 480P or 720P videos" in await two.animate(**TEN_SECONDS)

    await two.animate(model=BOTH[1])

    assert (await newest(two)).order.resolution is Resolution.P720


async def test_admins_choose_which_models_are_allowed(two: CogHarness) -> None:
    admin_user = admin(two)
    assert options(two, "video-admin models")["allow"] == [
        "Wan 2.2 Flash and Wan 2.5 Preview",
        "Wan 2.2 Flash",
        "Wan 2.5 Preview",
    ]
    assert "models: **all**" in await ask(two, admin_user, "video-admin settings")

    said = await ask(two, admin_user, "video-admin models", allow="Wan 2.2 Flash")

    assert "Changed the allowed models: all → Wan 2.2 Flash" in said
    assert "models: **Wan 2.2 Flash**" in await ask(two, admin_user, "video-admin settings")
    assert "only allows videos by Wan 2.2 Flash. Please choose that as the `model`." in await two.animate(
        model=BOTH[1]
    )
    assert "Nothing changed" in await ask(two, admin_user, "video-admin models", allow="Wan 2.2 Flash")
    assert "all" in await ask(two, admin_user, "video-admin models", allow="Wan 2.2 Flash and Wan 2.5 Preview")
    assert "Got it!" in await two.animate(model=BOTH[1])


async def test_where_the_first_model_is_not_allowed_the_other_one_is_the_default(two: CogHarness) -> None:
    await ask(two, admin(two), "video-admin models", allow="Wan 2.5 Preview")

    await two.animate()

    assert (await newest(two)).order.model == BOTH[1]


async def test_a_server_whose_models_are_gone_is_told_to_choose_again(two: CogHarness) -> None:
    async with two.app.database.write() as connection:
        await guild_settings.write(connection, two.offline.guild.id, {"allowed_models": ["retired"]})

    assert "This server allows no model that can be used right now." in await two.animate()


async def test_the_form_of_a_message_has_the_same_choices(two: CogHarness) -> None:
    author = two.another_member()
    message = await author.send(two.offline.channel, "look", attachments=[("sea.png", sample_picture())])
    form = await two.offline.viewer.context_menu(two.offline.channel, "Animate this image", target=message)

    assert list(fields(form)) == ["prompt", "model", "resolution", "duration"]
    chosen = {"prompt": "waves roll in", "model": [BOTH[1]], "resolution": ["480P"], "duration": ["10"]}
    answer = await two.offline.viewer.submit_modal(form, chosen)

    assert "Got it!" in text_of(answer)
    job = await newest(two)
    assert (job.order.model, job.order.resolution, job.order.duration_s) == (BOTH[1], Resolution.P480, 10)


async def delivered(harness: CogHarness) -> discord.Message:
    """A video by the second model, ten seconds long, as if it had been made."""
    await harness.animate("waves roll in")
    video = await harness.wait_for_video("waves roll in")
    job = await newest(harness)
    async with harness.app.database.write() as connection:
        await connection.exec_driver_sql(
            "UPDATE jobs SET model = ?, duration_s = 10 WHERE id = ?", (BOTH[1], job.id)
        )
    return video


async def test_again_edit_and_extend_keep_the_model_and_the_duration(two: CogHarness) -> None:
    video = await delivered(two)

    assert "Got it!" in text_of(await two.click(video, "Again"))
    again = await newest(two)
    assert (again.order.model, again.order.duration_s) == (BOTH[1], 10)

    form = await two.click(video, "Edit")
    assert [option["value"] for option in fields(form)["resolution"]["options"]] == ["480P", "720P", "1080P"]
    assert fields(form)["prompt"]["max_length"] == WAN25_PREVIEW.prompt_max

    form = await two.click(video, "Extend")
    assert form.modal is not None
    assert "Another 10 seconds" in str(form.modal)


async def test_a_clip_is_as_long_as_its_parts(two: CogHarness) -> None:
    video = await delivered(two)
    form = await two.click(video, "Extend")
    answer = await two.offline.viewer.submit_modal(form, {"prompt": "a ship appears"})

    assert "one clip of 20 s. Only the new 10 s count." in text_of(answer)


async def test_info_shows_the_model(two: CogHarness) -> None:
    video = await delivered(two)

    assert "**Model:** Wan 2.5 Preview, with sound · **Length:** 10 s" in text_of(await two.click(video, "Info"))


async def test_a_member_can_choose_the_resolutions_of_all_models(two: CogHarness) -> None:
    result = await two.offline.viewer.slash(two.offline.channel, "videos settings")

    assert result.response is not None
    assert "1080P" in str([component.to_dict() for component in result.response.message.components])


async def test_what_is_not_offered_any_more_cannot_be_made_again(harness: CogHarness) -> None:
    video = await delivered(harness)

    for button in ("Again", "Edit", "Extend"):
        said = text_of(await harness.click(video, button))
        assert "Wan 2.5 Preview, the model that this needs, isn't offered any more." in said
    assert "**Model:** Wan 2.5 Preview, with sound" in text_of(await harness.click(video, "Info"))
    assert len(await harness.jobs_of([harness.offline.viewer])) == 1


async def test_with_one_model_nothing_of_the_choice_is_visible(harness: CogHarness) -> None:
    declared = options(harness, "animate")
    assert declared.keys().isdisjoint({"model", "duration"})
    assert declared["resolution"] == ["480P", "720P"]
    assert options(harness, "video-admin resolutions")["allow"] == ["480P and 720P", "480P", "720P"]
    with pytest.raises(SetupError):
        await ask(harness, admin(harness), "video-admin models", allow="all")
    assert "models" not in await ask(harness, admin(harness, "other"), "video-admin settings")

    await harness.animate()
    video = await harness.wait_for_video()
    assert "Wan" not in video.content
    assert "Model" not in text_of(await harness.click(video, "Info"))
    assert (await newest(harness)).state is JobState.DELIVERED
