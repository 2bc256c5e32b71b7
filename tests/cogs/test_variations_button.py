"""The button Variations under a finished video, for whoever sees it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bot.domain.jobs import JobState
from tests.cogs.conftest import CogHarness, open_cog_harness
from tests.cogs.test_result_buttons import a_video, answer, delete_rows, jobs_of
from tests.cogs.test_variations import wait_for_card

pytestmark = pytest.mark.full


@pytest.fixture
async def roomy(tmp_path: Path) -> AsyncIterator[CogHarness]:
    """The bot, for members who may have three videos in progress."""
    async with open_cog_harness(tmp_path, quota_running=3) as harness:
        yield harness


async def test_it_asks_how_many_with_what_is_left_and_makes_them(roomy: CogHarness) -> None:
    video = await a_video(roomy, "a *lighthouse*", seed=7)
    roomy.gateway.task_seconds = 3600

    asked = answer(await roomy.click(video, "Variations"))
    assert "You have **4 of 5** videos left in 24 hours." in asked.content
    assert "In progress: **0 of 3** at a time." in asked.content
    buttons = [(one["label"], one["disabled"]) for row in asked.components for one in row["components"]]
    assert buttons == [("2 videos", False), ("3 videos", False), ("4 videos", True)]

    said = await roomy.offline.viewer.click(asked, label="3 videos")

    assert said.response is not None
    assert "Got it! 3 variations are on their way." in said.response.content
    await wait_for_card(roomy, "### 🎲 3 variations")
    *new, first = await jobs_of(roomy)
    assert len({job.order.seed for job in (*new, first)}) == 4
    assert {job.order.prompt for job in new} == {"a *lighthouse*"}


async def test_those_of_another_member_are_theirs(roomy: CogHarness) -> None:
    video, other = await a_video(roomy), roomy.another_member()
    roomy.gateway.task_seconds = 3600

    asked = answer(await roomy.click(video, "Variations", other))
    assert "You have **5 of 5** videos left" in asked.content
    await other.click(asked, label="2 videos")

    assert len(await jobs_of(roomy)) == 1
    assert len(await jobs_of(roomy, other.id)) == 2


async def test_once_the_picture_is_gone_it_says_so(roomy: CogHarness) -> None:
    video = await a_video(roomy)
    asked = answer(await roomy.click(video, "Variations"))
    await delete_rows(roomy)

    late = await roomy.offline.viewer.click(asked, label="2 videos")
    assert late.response is not None
    assert "picture" in late.response.content
    assert "picture" in answer(await roomy.click(video, "Variations")).content
    assert [job.state for job in await jobs_of(roomy)] == [JobState.DELIVERED]


async def test_what_no_longer_fits_is_refused_as_a_whole(roomy: CogHarness) -> None:
    video = await a_video(roomy)
    roomy.gateway.task_seconds = 3600
    asked = answer(await roomy.click(video, "Variations"))
    for _ in range(2):
        await roomy.animate("something else")

    refused = await roomy.offline.viewer.click(asked, label="3 videos")

    assert refused.response is not None
    assert "Ask for" in refused.response.content or "Leave `variations` out" in refused.response.content
    assert len(await jobs_of(roomy)) == 3
