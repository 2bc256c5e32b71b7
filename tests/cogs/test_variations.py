"""Several videos of one picture and prompt, as a member orders, follows and cancels them."""

from collections.abc import AsyncIterator
from pathlib import Path

import discord
import pytest
from simcord import SetupError

from bot.chat.posting import components_within, shown_text
from bot.domain.jobs import JobState
from tests.cogs.conftest import CogHarness, open_cog_harness
from tests.cogs.test_videos import answer, jobs


def text_of(message: discord.Message) -> str:
    return message.content or shown_text(message.components)


def buttons(message: discord.Message) -> list[str | None]:
    return [one.label for one in components_within(message.components) if isinstance(one, discord.Button)]


async def wait_for_card(harness: CogHarness, text: str) -> discord.Message:
    return await harness.wait_for_message_where(
        lambda message: "variation" in text_of(message) and text in text_of(message)
    )


def videos(harness: CogHarness) -> list[discord.Message]:
    return [message for message in harness.public() if message.attachments and not message.flags.components_v2]


@pytest.fixture
async def roomy(tmp_path: Path) -> AsyncIterator[CogHarness]:
    """The bot, for members who may have four videos in progress, of which one at a time is made."""
    async with open_cog_harness(tmp_path, quota_running=4, upstream_max_running=1) as harness:
        yield harness


async def test_each_becomes_a_video_with_its_own_seed(roomy: CogHarness) -> None:
    said = await roomy.animate("waves roll in", variations=3, seed=7)
    assert "Got it! 3 variations are on their way." in said
    assert "You have **2 of 5** videos left" in said

    for seed in (7, 8, 9):
        await roomy.wait_for_message(f"seed {seed}")
    await roomy.app.worker.stop(grace_s=30)

    assert len(videos(roomy)) == 3
    assert [received.body["input"][0]["params"]["parameters"]["seed"] for received in roomy.gateway.received] == [
        7,
        8,
        9,
    ]


async def test_one_card_shows_them_all_and_goes_when_all_have_ended(roomy: CogHarness) -> None:
    roomy.gateway.task_seconds = 3600
    await roomy.animate("waves roll in", variations=3)

    card = await wait_for_card(roomy, "🎞️ being made")
    assert "### 🎲 3 variations" in text_of(card)
    assert text_of(card).count("⏳ in the queue") == 2
    assert buttons(card) == ["Cancel 1", "Cancel 2", "Cancel 3", "Cancel all"]
    assert roomy.public() == [card]


@pytest.mark.full
async def test_one_of_them_is_cancelled_for_free_and_the_others_go_on(roomy: CogHarness) -> None:
    roomy.gateway.task_seconds = 3600
    await roomy.animate(variations=3)
    card = await wait_for_card(roomy, "🎞️ being made")

    result = await roomy.click(card, "Cancel 2")

    assert answer(result).content.startswith("Cancelled. It hadn't started")
    card = await wait_for_card(roomy, "**2.** 🚫 cancelled")
    assert buttons(card) == ["Cancel 1", "Cancel 3", "Cancel all"]


@pytest.mark.full
async def test_all_are_cancelled_and_what_is_paid_for_only_after_a_question(roomy: CogHarness) -> None:
    roomy.gateway.task_seconds = 3600
    await roomy.animate(variations=3)
    card = await wait_for_card(roomy, "🎞️ being made")

    asked = answer(await roomy.click(card, "Cancel all"))
    assert "Cancelled 2 videos." in asked.content
    assert "1 video is already being made" in asked.content
    assert sorted(job.state for job in await jobs(roomy)) == [
        JobState.CANCELLED,
        JobState.CANCELLED,
        JobState.RUNNING,
    ]

    await roomy.offline.viewer.click(asked, label="Cancel all anyway")
    await wait_for_card(roomy, "it was already paid for, so it counts")


@pytest.mark.full
async def test_nobody_else_can_cancel_them(roomy: CogHarness) -> None:
    roomy.gateway.task_seconds = 3600
    await roomy.animate(variations=2)
    card = await wait_for_card(roomy, "🎞️ being made")

    result = await roomy.click(card, "Cancel all", roomy.another_member())

    assert "isn't one of your videos" in answer(result).content
    assert {job.state for job in await jobs(roomy)} == {JobState.RUNNING, JobState.QUEUED}


async def test_more_than_fit_are_refused_with_the_number_that_does(harness: CogHarness) -> None:
    said = await harness.animate(variations=4)

    assert "You can have 2 videos in progress at a time, and each of the 4 variations counts." in said
    assert "Ask for `variations: 2`." in said
    assert await jobs(harness) == []


@pytest.mark.parametrize("number", [1, 5])
async def test_discord_offers_two_to_four(harness: CogHarness, number: int) -> None:
    with pytest.raises(SetupError):
        await harness.animate(variations=number)
