import asyncio
from pathlib import Path

import discord
import pytest
from simcord import InteractionResult, ResponseMessage
from sqlalchemy import insert

from bot.chat.messages.video_list_texts import NOTHING_TO_CANCEL
from bot.chat.posting import shown_text
from bot.domain.jobs import Job, JobState
from bot.operations.clock import utc_now
from bot.store.money import credit_grants
from bot.store.money.credit_grants import Attribution
from bot.store.schema import limit_overrides
from tests.cogs.conftest import CogHarness, open_cog_harness


async def jobs(harness: CogHarness) -> list[Job]:
    return await harness.app.service.recent(harness.offline.guild.id, harness.offline.viewer.id)


def answer(result: InteractionResult) -> ResponseMessage:
    """The answer to a click or a command."""
    assert result.response is not None
    return result.response


async def a_running_job(harness: CogHarness) -> discord.Message:
    """Orders a video that keeps running; returns its status card."""
    return await harness.order_endless("slow one")


async def test_the_quota_is_shown_privately(harness: CogHarness) -> None:
    await harness.animate()
    await harness.wait_for_video()

    answer = await harness.offline.command("videos quota")

    assert "**1 of 5** videos in the last 24 hours" in answer
    assert "In progress: **0 of 2**" in answer


async def test_the_quota_comes_with_a_picture_that_is_described(harness: CogHarness) -> None:
    result = await harness.offline.viewer.slash(harness.offline.channel, "videos quota")

    [picture] = answer(result).attachments
    assert picture.filename == "quota.png"
    assert picture.description == "5 of 5 videos left in 24 hours."


async def test_the_quota_shows_its_origin_and_the_remaining_credits(harness: CogHarness) -> None:
    role = harness.offline.guild.create_role("Boosters")
    booster = harness.another_member("booster", roles=[role])
    guild_id = harness.offline.guild.id
    async with harness.app.database.write() as connection:
        nine = {"guild_id": guild_id, "kind": "role", "target_id": role.id, "videos_per_window": 9}
        await connection.execute(insert(limit_overrides).values(nine))
        await credit_grants.grant(connection, guild_id, booster.id, 3, Attribution(1, utc_now(), "thanks"))

    theirs = answer(await booster.slash(harness.offline.channel, "videos quota")).content
    others = await harness.offline.command("videos quota")

    assert f"**0 of 9** videos in the last 24 hours (from <@&{role.id}>)" in theirs
    assert "**3 credits**" in theirs
    assert "**0 of 5**" in others
    assert "credit" not in others


@pytest.mark.parametrize(
    ("command", "options"),
    [("videos quota", {}), ("videos list", {}), ("videos cancel", {"video": "no video of mine"})],
)
async def test_every_videos_command_replies_privately(
    harness: CogHarness, command: str, options: dict[str, str]
) -> None:
    result = await harness.offline.viewer.slash(harness.offline.channel, command, **options)

    assert answer(result).ephemeral
    assert harness.public() == []


async def test_an_empty_list_says_how_to_make_the_first_one(harness: CogHarness) -> None:
    assert "/animate" in await harness.offline.command("videos list")


async def test_the_list_shows_state_prompt_and_a_link_to_the_message(harness: CogHarness) -> None:
    await harness.animate("a *starry* night")
    await harness.wait_for_video()
    video = await harness.wait_for_video()

    answer = await harness.offline.command("videos list")

    assert "✅ ready" in answer
    assert video.jump_url in answer
    assert r"a \*starry\* night" in answer


async def test_the_list_shows_no_other_members_videos(harness: CogHarness) -> None:
    await harness.animate("mine alone")
    other = harness.another_member()

    result = await other.slash(harness.offline.channel, "videos list")

    assert "mine alone" not in shown_text(answer(result).message.components)


async def test_a_queued_video_is_cancelled_by_its_button_for_free(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path, upstream_max_running=1) as harness:
        await a_running_job(harness)
        await harness.animate("the waiting one")
        waiting = await harness.wait_for_message("the waiting one")

        result = await harness.click(waiting, "Cancel")

        assert answer(result).content.startswith("Cancelled. It hadn't started")
        assert answer(result).ephemeral
        await harness.wait_until_gone(waiting)
        assert "**1 of 5**" in await harness.offline.command("videos quota")


async def test_a_running_video_is_cancelled_only_after_confirmation(harness: CogHarness) -> None:
    status = await a_running_job(harness)

    result = await harness.click(status, "Cancel")

    question = answer(result)
    assert "already being made and paid for" in question.content
    (job,) = await jobs(harness)
    assert job.cancel_requested is False

    await harness.click(question.message, "Cancel anyway")
    (job,) = await jobs(harness)
    assert job.cancel_requested is True


async def test_a_cancelled_running_video_is_never_posted_and_counts(harness: CogHarness) -> None:
    status = await a_running_job(harness)
    question = answer(await harness.click(status, "Cancel"))
    await harness.click(question.message, "Cancel anyway")

    harness.gateway.task_seconds = 0
    await harness.wait_until_gone(status)

    assert harness.public() == []
    assert "**1 of 5**" in await harness.offline.command("videos quota")


async def test_the_cancel_command_offers_the_members_own_unfinished_videos(harness: CogHarness) -> None:
    await a_running_job(harness)
    (job,) = await jobs(harness)

    channel = harness.offline.channel
    mine = await harness.offline.viewer.autocomplete(channel, "videos cancel", "video", "slow")
    others = await harness.another_member().autocomplete(channel, "videos cancel", "video", "")

    assert [choice["value"] for choice in mine] == [job.id]
    assert [choice["name"] for choice in others] == [NOTHING_TO_CANCEL]


async def test_the_cancel_command_offers_no_finished_video(harness: CogHarness) -> None:
    await harness.animate("the quick one")
    await harness.wait_for_video()
    await a_running_job(harness)

    offered = await harness.offline.viewer.autocomplete(harness.offline.channel, "videos cancel", "video", "")

    assert [choice["value"] for choice in offered] == [
        job.id for job in await jobs(harness) if job.state is JobState.RUNNING
    ]
    assert len(offered) == 1


async def test_the_cancel_command_asks_for_confirmation_like_the_button(harness: CogHarness) -> None:
    await a_running_job(harness)
    (job,) = await jobs(harness)

    assert "already being made and paid for" in await harness.offline.command("videos cancel", video=job.id)


@pytest.mark.parametrize("forged", ["", "x", "no such job", "../../etc", "' OR 1=1 --", "🎬" * 50])
async def test_an_unknown_video_is_refused(harness: CogHarness, forged: str) -> None:
    assert "isn't one of your videos" in await harness.offline.command("videos cancel", video=forged)


async def test_another_members_cancel_is_refused_privately(harness: CogHarness) -> None:
    status = await a_running_job(harness)

    result = await harness.click(status, "Cancel", harness.another_member())

    assert "isn't one of your videos" in answer(result).content
    (job,) = await jobs(harness)
    assert job.cancel_requested is False


async def test_the_requester_removes_their_video(harness: CogHarness) -> None:
    await harness.animate()
    video = await harness.wait_for_video()

    await harness.click(video, "Delete")

    assert not harness.videos()


async def test_another_member_cannot_remove_a_video(harness: CogHarness) -> None:
    await harness.animate()
    video = await harness.wait_for_video()

    result = await harness.click(video, "Delete", harness.another_member())

    assert "isn't one of your videos" in answer(result).content
    assert harness.videos()


async def test_a_moderator_removes_a_video(harness: CogHarness) -> None:
    await harness.animate()
    video = await harness.wait_for_video()
    role = harness.offline.guild.create_role("Mods", permissions=discord.Permissions(manage_messages=True))

    await harness.click(video, "Delete", harness.another_member("mod", roles=[role]))

    assert not harness.videos()


async def test_a_status_card_that_somebody_deleted_stops_nothing(harness: CogHarness) -> None:
    status = await a_running_job(harness)
    await status.delete()

    harness.gateway.task_seconds = 0

    video = await harness.wait_for_video()
    assert [message.id for message in harness.public()] == [video.id]


async def test_each_finished_job_is_posted_exactly_once(harness: CogHarness) -> None:
    await harness.animate("one")
    await harness.animate("two")
    while not all(job.state is JobState.DELIVERED and job.due_at is None for job in await jobs(harness)):
        await asyncio.sleep(0.01)

    assert len(harness.videos()) == len(harness.public()) == 2
