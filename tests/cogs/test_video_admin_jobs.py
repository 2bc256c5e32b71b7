from pathlib import Path

import discord
import pytest
from simcord import MemberActor

from bot.demo.faults import Fault, Route
from bot.domain.jobs import Job
from tests.cogs.admins import admin, another_guild, ask, plain, slip, slipped_choices, text_of
from tests.cogs.conftest import Town, a_town

COMMANDS = [
    ("video-admin jobs show", {}),
    ("video-admin jobs cancel", {"video": "x"}),
    ("video-admin jobs retry", {"video": "x"}),
]


async def jobs(town: Town) -> list[Job]:
    return await town.app.service.recent(town.offline.guild_id, town.offline.viewer_id)


async def a_running_job(town: Town) -> Job:
    town.gateway.task_seconds = 3600
    await town.animate("slow one")
    await town.saying("is being made")
    (job,) = await jobs(town)
    return job


async def a_failed_job(town: Town) -> Job:
    """One whose task is known, but whose look was answered as if it had failed."""
    failed = {"id": "x", "status": "failed", "error": {"code": 1, "message": "a *bad* day"}}
    town.gateway.fault(Route.LOOK, Fault(status=200, body=failed))
    await town.animate("unlucky one")
    await town.saying("didn't work. The video service couldn't make it")
    (job,) = await jobs(town)
    return job


async def offered(town: Town, who: MemberActor, command: str, typed: str = "") -> list[str]:
    found = await who.autocomplete(town.offline._channel, command, "video", typed)
    return [str(choice["value"]) for choice in found]


async def test_the_board_shows_the_members_videos_to_an_admin(town: Town) -> None:
    await a_running_job(town)

    text = await ask(town, admin(town), "video-admin jobs show")

    assert "**1 video in progress**" in text
    assert "🎞️ being made" in text
    assert f"<@{town.offline.viewer_id}>" in text
    assert "slow one" in text


async def test_an_empty_board_says_so(town: Town) -> None:
    assert "No videos are queued" in await ask(town, admin(town), "video-admin jobs show")


async def test_a_queued_video_is_cancelled_and_its_member_is_told(tmp_path: Path) -> None:
    async with a_town(tmp_path, upstream_max_running=1) as town:
        await a_running_job(town)
        await town.animate("the waiting one")
        await town.saying("the waiting one")
        waiting = (await jobs(town))[0]

        text = await ask(town, admin(town), "video-admin jobs cancel", video=waiting.id)

        assert "🚫 Cancelled" in text
        assert "doesn't count" in text
        told = await town.saying("your video was cancelled")
        assert "A server admin cancelled it. It doesn't count." in told.content
        assert told.mentions


async def test_a_running_video_is_asked_about_then_given_up_without_charging_the_member(town: Town) -> None:
    job = await a_running_job(town)
    who = admin(town)

    question = await who.slash(town.offline._channel, "video-admin jobs cancel", video=job.id)
    assert "paid for, so it can't be stopped" in text_of(question)
    assert not (await jobs(town))[0].cancel_requested

    assert question.response is not None
    await town.click(question.response.message, "Cancel it, though it is paid for", who)
    assert (await jobs(town))[0].cancel_requested

    town.gateway.task_seconds = 0
    await town.saying("was cancelled. A server admin cancelled it. It doesn't count")
    assert not any(message.attachments for message in town.public())
    assert "**0 of 5**" in await town.offline.command("videos quota")


async def test_the_answer_to_the_question_takes_its_place(town: Town) -> None:
    job = await a_running_job(town)
    who = admin(town)
    question = await who.slash(town.offline._channel, "video-admin jobs cancel", video=job.id)
    assert question.response is not None

    await town.click(question.response.message, "Cancel it, though it is paid for", who)

    assert "won't be posted" in question.response.content
    assert question.response.components == []


async def test_who_lost_the_right_is_refused_at_the_click(town: Town) -> None:
    job = await a_running_job(town)
    guild = town.offline._guild
    role = guild.create_role("Once", permissions=discord.Permissions(manage_guild=True))
    who = town.another_member("once", roles=[role])
    question = await who.slash(town.offline._channel, "video-admin jobs cancel", video=job.id)
    assert question.response is not None
    town.offline._env.backend.edit_role(guild.id, role.id, {"permissions": 0})

    await town.click(question.response.message, "Cancel it, though it is paid for", who)

    assert "Manage Server" in question.response.content
    assert not (await jobs(town))[0].cancel_requested


async def test_cancel_offers_what_is_not_over_and_finds_it_by_prompt_member_and_id(town: Town) -> None:
    job = await a_running_job(town)
    who = admin(town)

    for typed in ("", "SLOW", "being made", str(town.offline.viewer_id), job.id):
        assert await offered(town, who, "video-admin jobs cancel", typed) == [job.id]
    assert await offered(town, who, "video-admin jobs cancel", "something else") == []
    assert await offered(town, who, "video-admin jobs retry") == []


async def test_what_is_offered_says_whose_it_is(town: Town) -> None:
    job = await a_running_job(town)
    where, who = town.offline._channel, admin(town)

    (choice,) = await who.autocomplete(where, "video-admin jobs cancel", "video", "")

    assert "being made · You · " in choice["name"]
    assert await offered(town, who, "video-admin jobs cancel", "YOU") == [job.id]


async def test_a_video_of_somebody_who_left_is_offered_with_their_id(town: Town) -> None:
    job = await a_running_job(town)
    who = admin(town)
    town.offline._env.backend.remove_member(town.offline.guild_id, town.offline.viewer_id)

    (choice,) = await who.autocomplete(town.offline._channel, "video-admin jobs cancel", "video", "")

    assert choice["value"] == job.id
    assert f"being made · {town.offline.viewer_id} · " in choice["name"]


async def test_the_board_shows_what_failed_of_late(town: Town) -> None:
    await a_failed_job(town)

    text = await ask(town, admin(town), "video-admin jobs show")

    assert "**Recent failures**" in text
    assert r"a \*bad\* day" in text


async def test_a_failed_video_is_retried_and_posted_free(town: Town) -> None:
    job = await a_failed_job(town)
    who = admin(town)
    assert await offered(town, who, "video-admin jobs retry") == [job.id]

    text = await ask(town, who, "video-admin jobs retry", video=job.id)

    assert "'s video again and will post it" in text
    await town.saying("is ready")
    assert sum(bool(message.attachments) for message in town.public()) == 1
    assert "**0 of 5**" in await town.offline.command("videos quota")


async def test_a_video_that_goes_well_is_not_retried(town: Town) -> None:
    job = await a_running_job(town)

    assert "nothing has failed" in await ask(town, admin(town), "video-admin jobs retry", video=job.id)


@pytest.mark.parametrize("command", ["video-admin jobs cancel", "video-admin jobs retry"])
@pytest.mark.parametrize("forged", ["", "x", "' OR 1=1 --", "🎬" * 50])
async def test_a_made_up_video_is_refused(town: Town, command: str, forged: str) -> None:
    assert "don't know that video in this server" in await ask(town, admin(town), command, video=forged)


async def test_an_admin_of_another_server_sees_and_changes_nothing(town: Town) -> None:
    job = await a_running_job(town)
    guild, channel = another_guild(town)
    stranger = admin(town, "stranger", guild=guild)

    for command in ("video-admin jobs cancel", "video-admin jobs retry"):
        assert await stranger.autocomplete(channel, command, "video", "") == []
        assert await stranger.autocomplete(channel, command, "video", job.id) == []
        assert "don't know that video in this server" in text_of(
            await stranger.slash(channel, command, video=job.id)
        )
    shown = text_of(await stranger.slash(channel, "video-admin jobs show"))

    assert "No videos are queued" in shown
    assert not (await jobs(town))[0].cancel_requested


@pytest.mark.parametrize(("command", "options"), COMMANDS)
async def test_a_member_without_the_right_is_refused(town: Town, command: str, options: dict[str, str]) -> None:
    result = await slip(plain(town), town.offline._channel, command, **options)

    assert "Manage Server" in text_of(result)
    assert result.ephemeral


@pytest.mark.parametrize("command", ["video-admin jobs cancel", "video-admin jobs retry"])
async def test_a_member_without_the_right_is_offered_nothing(town: Town, command: str) -> None:
    await a_running_job(town)

    assert not await slipped_choices(plain(town), town.offline._channel, command, "video")


@pytest.mark.parametrize(("command", "options"), COMMANDS)
async def test_every_answer_is_private(town: Town, command: str, options: dict[str, str]) -> None:
    await ask(town, admin(town), command, **options)

    assert town.public() == []
