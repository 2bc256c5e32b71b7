import asyncio
from pathlib import Path

import discord
import pytest
from simcord import InteractionResult, ResponseMessage
from sqlalchemy import insert

from bot.domain.jobs import Job, JobState
from bot.operations.clock import utc_now
from bot.store.money import credit_grants
from bot.store.money.credit_grants import Attribution
from bot.store.schema import limit_overrides
from tests.cogs.conftest import Town, a_town


async def jobs(town: Town) -> list[Job]:
    return await town.app.service.recent(town.offline.guild_id, town.offline.viewer_id)


def answer(result: InteractionResult) -> ResponseMessage:
    """The answer to a click or a command."""
    assert result.response is not None
    return result.response


async def a_running_job(town: Town) -> discord.Message:
    """Orders a video that stays in the making; its status message."""
    town.gateway.task_seconds = 3600
    await town.animate("slow one")
    return await town.saying("is being made")


async def test_the_quota_is_shown_privately(town: Town) -> None:
    await town.animate()
    await town.saying("is ready")

    answer = await town.offline.command("videos quota")

    assert "**1 of 5** videos in the last 24 hours" in answer
    assert "**0 of 2** are in progress" in answer


async def test_the_quota_says_where_it_comes_from_and_what_is_left_of_credits(town: Town) -> None:
    role = town.offline._guild.create_role("Boosters")
    booster = town.another_member("booster", roles=[role])
    guild_id = town.offline.guild_id
    async with town.app.database.write() as connection:
        nine = {"guild_id": guild_id, "kind": "role", "target_id": role.id, "videos_per_window": 9}
        await connection.execute(insert(limit_overrides).values(nine))
        await credit_grants.grant(connection, guild_id, booster.id, 3, Attribution(1, utc_now(), "thanks"))

    theirs = answer(await booster.slash(town.offline._channel, "videos quota")).content
    others = await town.offline.command("videos quota")

    assert f"**0 of 9** videos in the last 24 hours (from <@&{role.id}>)" in theirs
    assert "**3 credits**" in theirs
    assert "**0 of 5**" in others
    assert "credit" not in others


@pytest.mark.parametrize(
    ("command", "options"),
    [("videos quota", {}), ("videos list", {}), ("videos cancel", {"video": "no video of mine"})],
)
async def test_every_command_about_ones_own_videos_answers_privately(
    town: Town, command: str, options: dict[str, str]
) -> None:
    result = await town.offline._viewer.slash(town.offline._channel, command, **options)

    assert answer(result).ephemeral
    assert town.public() == []


async def test_an_empty_list_says_how_to_make_the_first_one(town: Town) -> None:
    assert "/animate" in await town.offline.command("videos list")


async def test_the_list_shows_state_prompt_and_a_link_to_the_message(town: Town) -> None:
    await town.animate("a *starry* night")
    await town.saying("is ready")
    video = await town.message(lambda message: bool(message.attachments))

    answer = await town.offline.command("videos list")

    assert "✅ ready" in answer
    assert video.jump_url in answer
    assert r"a \*starry\* night" in answer


async def test_the_list_shows_no_other_members_videos(town: Town) -> None:
    await town.animate("mine alone")
    other = town.another_member()

    result = await other.slash(town.offline._channel, "videos list")

    assert "mine alone" not in str(result.response and result.response.content)


async def test_a_queued_video_is_cancelled_by_its_button_for_free(tmp_path: Path) -> None:
    async with a_town(tmp_path, upstream_max_running=1) as town:
        await a_running_job(town)
        await town.animate("the waiting one")
        waiting = await town.saying("the waiting one")

        result = await town.click(waiting, "Cancel")

        assert answer(result).content.startswith("Cancelled. It hadn't started")
        assert answer(result).ephemeral
        await town.saying("was cancelled. It doesn't count")
        assert "**1 of 5**" in await town.offline.command("videos quota")


async def test_a_video_in_the_making_is_cancelled_only_after_the_question(town: Town) -> None:
    status = await a_running_job(town)

    result = await town.click(status, "Cancel")

    question = answer(result)
    assert "already being made and paid for" in question.content
    (job,) = await jobs(town)
    assert job.cancel_requested is False

    await town.click(question.message, "Cancel anyway")
    (job,) = await jobs(town)
    assert job.cancel_requested is True


async def test_a_cancelled_running_video_is_never_posted_and_counts(town: Town) -> None:
    status = await a_running_job(town)
    question = answer(await town.click(status, "Cancel"))
    await town.click(question.message, "Cancel anyway")

    town.gateway.task_seconds = 0
    await town.saying("was cancelled. It was already paid for, so it counts")

    assert not any(message.attachments for message in town.public())
    assert "**1 of 5**" in await town.offline.command("videos quota")


async def test_cancel_by_command_offers_ones_own_videos_that_are_not_over(town: Town) -> None:
    await a_running_job(town)
    (job,) = await jobs(town)

    channel = town.offline._channel
    mine = await town.offline._viewer.autocomplete(channel, "videos cancel", "video", "slow")
    others = await town.another_member().autocomplete(channel, "videos cancel", "video", "")

    assert [choice["value"] for choice in mine] == [job.id]
    assert others == []


async def test_cancel_by_command_offers_no_video_that_is_over(town: Town) -> None:
    await town.animate("the quick one")
    await town.saying("is ready")
    await a_running_job(town)

    offered = await town.offline._viewer.autocomplete(town.offline._channel, "videos cancel", "video", "")

    assert [choice["value"] for choice in offered] == [
        job.id for job in await jobs(town) if job.state is JobState.RUNNING
    ]
    assert len(offered) == 1


async def test_cancel_by_command_asks_as_the_button_does(town: Town) -> None:
    await a_running_job(town)
    (job,) = await jobs(town)

    assert "already being made and paid for" in await town.offline.command("videos cancel", video=job.id)


@pytest.mark.parametrize("forged", ["", "x", "no such job", "../../etc", "' OR 1=1 --", "🎬" * 50])
async def test_a_made_up_video_is_refused(town: Town, forged: str) -> None:
    assert "isn't one of your videos" in await town.offline.command("videos cancel", video=forged)


async def test_another_members_cancel_is_refused_privately(town: Town) -> None:
    status = await a_running_job(town)

    result = await town.click(status, "Cancel", town.another_member())

    assert "isn't one of your videos" in answer(result).content
    (job,) = await jobs(town)
    assert job.cancel_requested is False


async def test_the_requester_removes_their_video(town: Town) -> None:
    await town.animate()
    video = await town.message(lambda message: bool(message.attachments))

    await town.click(video, "Remove")

    assert not any(message.attachments for message in town.public())


async def test_another_member_cannot_remove_a_video(town: Town) -> None:
    await town.animate()
    video = await town.message(lambda message: bool(message.attachments))

    result = await town.click(video, "Remove", town.another_member())

    assert "isn't one of your videos" in answer(result).content
    assert any(message.attachments for message in town.public())


async def test_a_moderator_removes_a_video(town: Town) -> None:
    await town.animate()
    video = await town.message(lambda message: bool(message.attachments))
    role = town.offline._guild.create_role("Mods", permissions=discord.Permissions(manage_messages=True))

    await town.click(video, "Remove", town.another_member("mod", roles=[role]))

    assert not any(message.attachments for message in town.public())


async def test_the_status_message_of_a_deleted_status_is_posted_anew_at_the_end(town: Town) -> None:
    status = await a_running_job(town)
    await status.delete()

    town.gateway.task_seconds = 0

    ended = await town.saying("is ready")
    assert ended.id != status.id


async def test_jobs_end_announced_exactly_once(town: Town) -> None:
    await town.animate("one")
    await town.animate("two")
    while not all(job.state is JobState.DELIVERED and job.due_at is None for job in await jobs(town)):
        await asyncio.sleep(0.01)

    texts = [message.content for message in town.public()]
    assert sum("is ready" in text for text in texts) == 2
    assert sum(bool(message.attachments) for message in town.public()) == 2
