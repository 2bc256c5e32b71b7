from pathlib import Path

import discord
import pytest
from simcord import MemberActor

from bot.domain.jobs import Job
from tests.cogs.admins import (
    admin,
    another_guild,
    ask,
    bypass_client_check,
    choices_bypassing_client_check,
    plain,
    text_of,
)
from tests.cogs.conftest import CogHarness, open_cog_harness
from tests.faulty_gateway import Fault, Route

COMMANDS = [
    ("video-admin jobs show", {}),
    ("video-admin jobs cancel", {"video": "x"}),
    ("video-admin jobs retry", {"video": "x"}),
]


async def jobs(harness: CogHarness) -> list[Job]:
    return await harness.app.service.recent(harness.offline.guild.id, harness.offline.viewer.id)


async def a_running_job(harness: CogHarness) -> Job:
    await harness.order_endless("slow one")
    (job,) = await jobs(harness)
    return job


async def a_failed_job(harness: CogHarness) -> Job:
    """A job whose task is known and whose poll reported a failure."""
    failed = {"id": "x", "status": "failed", "error": {"code": 1, "message": "a *bad* day"}}
    harness.gateway.fault(Route.POLL, Fault(status=200, body=failed))
    await harness.animate("unlucky one")
    await harness.wait_for_message("didn't work. The video service couldn't make it")
    (job,) = await jobs(harness)
    return job


async def offered(harness: CogHarness, who: MemberActor, command: str, typed: str = "") -> list[str]:
    found = await who.autocomplete(harness.offline.channel, command, "video", typed)
    return [str(choice["value"]) for choice in found]


async def test_the_overview_shows_the_members_videos_to_an_admin(harness: CogHarness) -> None:
    await a_running_job(harness)

    text = await ask(harness, admin(harness), "video-admin jobs show")

    assert "**1 video in progress**" in text
    assert "🎞️ being made" in text
    assert f"<@{harness.offline.viewer.id}>" in text
    assert "slow one" in text


async def test_an_empty_overview_says_so(harness: CogHarness) -> None:
    assert "No videos are queued" in await ask(harness, admin(harness), "video-admin jobs show")


async def test_a_queued_video_is_cancelled_and_its_member_is_notified(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path, upstream_max_running=1) as harness:
        await a_running_job(harness)
        await harness.animate("the waiting one")
        await harness.wait_for_message("the waiting one")
        waiting = (await jobs(harness))[0]

        text = await ask(harness, admin(harness), "video-admin jobs cancel", video=waiting.id)

        assert "🚫 Cancelled" in text
        assert "doesn't count" in text
        told = await harness.wait_for_message("your video was cancelled")
        assert "A server admin cancelled it. It doesn't count." in told.content
        assert told.mentions


async def test_cancelling_a_running_video_needs_confirmation_and_does_not_charge_the_member(
    harness: CogHarness,
) -> None:
    job = await a_running_job(harness)
    who = admin(harness)

    question = await who.slash(harness.offline.channel, "video-admin jobs cancel", video=job.id)
    assert "paid for, so it can't be stopped" in text_of(question)
    assert not (await jobs(harness))[0].cancel_requested

    assert question.response is not None
    await harness.click(question.response.message, "Cancel it anyway", who)
    assert (await jobs(harness))[0].cancel_requested

    harness.gateway.task_seconds = 0
    await harness.wait_for_message("was cancelled. A server admin cancelled it. It doesn't count")
    assert not harness.videos()
    assert "**0 of 5**" in await harness.offline.command("videos quota")


async def test_the_result_replaces_the_confirmation(harness: CogHarness) -> None:
    job = await a_running_job(harness)
    who = admin(harness)
    question = await who.slash(harness.offline.channel, "video-admin jobs cancel", video=job.id)
    assert question.response is not None

    await harness.click(question.response.message, "Cancel it anyway", who)

    assert "won't be posted" in question.response.content
    assert question.response.components == []


async def test_an_admin_who_lost_manage_server_is_refused_at_the_click(harness: CogHarness) -> None:
    job = await a_running_job(harness)
    guild = harness.offline.guild
    role = guild.create_role("Once", permissions=discord.Permissions(manage_guild=True))
    who = harness.another_member("once", roles=[role])
    question = await who.slash(harness.offline.channel, "video-admin jobs cancel", video=job.id)
    assert question.response is not None
    harness.offline._env.backend.edit_role(guild.id, role.id, {"permissions": 0})

    await harness.click(question.response.message, "Cancel it anyway", who)

    assert "Manage Server" in question.response.content
    assert not (await jobs(harness))[0].cancel_requested


async def test_cancel_offers_unfinished_videos_and_finds_them_by_prompt_state_member_and_id(
    harness: CogHarness,
) -> None:
    job = await a_running_job(harness)
    who = admin(harness)

    for typed in ("", "SLOW", "being made", str(harness.offline.viewer.id), job.id):
        assert await offered(harness, who, "video-admin jobs cancel", typed) == [job.id]
    assert await offered(harness, who, "video-admin jobs cancel", "something else") == []
    assert await offered(harness, who, "video-admin jobs retry") == []


async def test_a_choice_names_its_member(harness: CogHarness) -> None:
    job = await a_running_job(harness)
    where, who = harness.offline.channel, admin(harness)

    (choice,) = await who.autocomplete(where, "video-admin jobs cancel", "video", "")

    assert "being made · You · " in choice["name"]
    assert await offered(harness, who, "video-admin jobs cancel", "YOU") == [job.id]


async def test_a_choice_names_a_member_who_left_by_id(harness: CogHarness) -> None:
    job = await a_running_job(harness)
    who = admin(harness)
    harness.offline._env.backend.remove_member(harness.offline.guild.id, harness.offline.viewer.id)

    (choice,) = await who.autocomplete(harness.offline.channel, "video-admin jobs cancel", "video", "")

    assert choice["value"] == job.id
    assert f"being made · {harness.offline.viewer.id} · " in choice["name"]


async def test_the_overview_shows_recent_failures(harness: CogHarness) -> None:
    await a_failed_job(harness)

    text = await ask(harness, admin(harness), "video-admin jobs show")

    assert "**Recent failures**" in text
    assert r"a \*bad\* day" in text


async def test_a_failed_video_is_retried_and_posted_for_free(harness: CogHarness) -> None:
    job = await a_failed_job(harness)
    who = admin(harness)
    assert await offered(harness, who, "video-admin jobs retry") == [job.id]

    text = await ask(harness, who, "video-admin jobs retry", video=job.id)

    assert "'s video again and will post it" in text
    await harness.wait_for_video()
    assert len(harness.videos()) == 1
    assert "**0 of 5**" in await harness.offline.command("videos quota")


async def test_a_video_that_has_not_failed_is_not_retried(harness: CogHarness) -> None:
    job = await a_running_job(harness)

    assert "nothing has failed" in await ask(harness, admin(harness), "video-admin jobs retry", video=job.id)


@pytest.mark.parametrize("command", ["video-admin jobs cancel", "video-admin jobs retry"])
@pytest.mark.parametrize("forged", ["", "x", "' OR 1=1 --", "🎬" * 50])
async def test_an_unknown_video_is_refused(harness: CogHarness, command: str, forged: str) -> None:
    assert "don't know that video in this server" in await ask(harness, admin(harness), command, video=forged)


async def test_an_admin_of_another_server_sees_and_changes_nothing(harness: CogHarness) -> None:
    job = await a_running_job(harness)
    guild, channel = another_guild(harness)
    stranger = admin(harness, "stranger", guild=guild)

    for command in ("video-admin jobs cancel", "video-admin jobs retry"):
        assert await stranger.autocomplete(channel, command, "video", "") == []
        assert await stranger.autocomplete(channel, command, "video", job.id) == []
        assert "don't know that video in this server" in text_of(
            await stranger.slash(channel, command, video=job.id)
        )
    shown = text_of(await stranger.slash(channel, "video-admin jobs show"))

    assert "No videos are queued" in shown
    assert not (await jobs(harness))[0].cancel_requested


@pytest.mark.parametrize(("command", "options"), COMMANDS)
async def test_a_member_without_manage_server_is_refused(
    harness: CogHarness, command: str, options: dict[str, str]
) -> None:
    result = await bypass_client_check(plain(harness), harness.offline.channel, command, **options)

    assert "Manage Server" in text_of(result)
    assert result.ephemeral


@pytest.mark.parametrize("command", ["video-admin jobs cancel", "video-admin jobs retry"])
async def test_a_member_without_manage_server_gets_no_choices(harness: CogHarness, command: str) -> None:
    await a_running_job(harness)

    assert not await choices_bypassing_client_check(plain(harness), harness.offline.channel, command, "video")


@pytest.mark.parametrize(("command", "options"), COMMANDS)
async def test_every_reply_is_private(harness: CogHarness, command: str, options: dict[str, str]) -> None:
    await ask(harness, admin(harness), command, **options)

    assert harness.public() == []
