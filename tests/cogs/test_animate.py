import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import discord
import pytest
from simcord import SetupError

from bot.demo.faults import Fault, Route
from bot.domain.jobs import FailureReason, JobState
from bot.operations.clock import utc_now
from bot.services.videos import AcceptedOrder, VideoService
from bot.store.guilds import guild_settings
from tests.cogs.conftest import WITHIN_S, Town, a_picture, a_town


async def test_a_picture_and_a_prompt_become_a_video_in_the_channel(town: Town) -> None:
    await town.animate("waves roll in")

    video = await town.offline.wait_for_video(timeout_s=WITHIN_S)

    assert video.filename.endswith(".mp4")
    assert video.data[4:8] == b"ftyp"
    assert "> waves roll in" in video.text


async def test_the_order_is_answered_privately(town: Town) -> None:
    answer = await town.animate()

    assert "Got it!" in answer
    private = [message for message in town.offline.messages() if message.flags.ephemeral]
    assert len(private) == 1


async def test_the_video_names_and_pings_only_its_requester(town: Town) -> None:
    await town.animate("hello @everyone <@&1> <@2>")

    posted = await town.message(lambda message: bool(message.attachments))

    assert [member.id for member in posted.mentions] == [town.offline.viewer_id]
    assert posted.mention_everyone is False
    assert posted.role_mentions == []


async def test_the_video_carries_the_numbers_that_repeat_it(town: Town) -> None:
    await town.animate(seed=42, resolution="480P")

    posted = await town.message(lambda message: bool(message.attachments))

    assert "-# 480P · seed 42" in posted.content


async def test_the_status_message_says_how_it_ended_with_a_link(town: Town) -> None:
    await town.animate()

    ended = await town.saying("is ready")
    video = await town.message(lambda message: bool(message.attachments))

    assert video.jump_url in ended.content
    assert len(town.public()) == 2


async def test_what_the_member_chose_reaches_the_upstream(town: Town) -> None:
    await town.animate("a", negative_prompt="b", resolution="480P", seed=7, prompt_extend=False, watermark=True)
    await town.offline.wait_for_video(timeout_s=WITHIN_S)

    (received,) = town.gateway.received
    params: dict[str, Any] = received.body["input"][0]["params"]
    assert {key: params["input"][key] for key in ("prompt", "negative_prompt")} == {
        "prompt": "a",
        "negative_prompt": "b",
    }
    assert params["parameters"] == {
        "resolution": "480P",
        "duration": 5,
        "seed": 7,
        "prompt_extend": False,
        "watermark": True,
    }


async def test_what_the_member_did_not_choose_has_the_models_defaults(town: Town) -> None:
    await town.animate()
    await town.offline.wait_for_video(timeout_s=WITHIN_S)

    (received,) = town.gateway.received
    params = received.body["input"][0]["params"]
    assert params["parameters"] == {
        "resolution": "720P",
        "duration": 5,
        "prompt_extend": True,
        "watermark": False,
    }
    assert "negative_prompt" not in params["input"]


async def test_a_picture_that_had_to_be_changed_is_told_in_one_line(town: Town) -> None:
    answer = await town.offline.animate(a_picture((2400, 1200)), "wide.png", "pan")

    assert "scaled down from 2400×1200 to 2000×1000" in answer


async def test_a_file_that_is_no_picture_is_refused_privately_and_costs_nothing(town: Town) -> None:
    answer = await town.offline.animate(b"<html>not a picture</html>", "cat.png", "dance")

    assert "picture" in answer
    assert town.offline.errors == []
    assert town.public() == []
    assert not town.gateway.received
    assert "**0 of 5**" in await town.offline.command("videos quota")


async def test_a_prompt_of_white_space_is_refused_privately(town: Town) -> None:
    answer = await town.animate("   ")

    assert "prompt is empty" in answer
    assert town.public() == []


async def test_a_missing_permission_is_named_before_anything_is_ordered(town: Town) -> None:
    bot_user = town.bot.user
    assert bot_user is not None
    channel = town.offline._guild.create_text_channel(
        "no-files", overwrites={bot_user: discord.PermissionOverwrite(attach_files=False)}
    )

    result = await town.offline._viewer.slash(channel, "animate", image=("a.png", a_picture()), prompt="x")

    assert result.response is not None
    assert "**Attach Files**" in result.response.content
    assert "admin" in result.response.content
    assert result.response.ephemeral
    assert not town.gateway.received


async def test_over_the_quota_the_answer_says_what_is_used_and_when_it_frees(tmp_path: Path) -> None:
    async with a_town(tmp_path, quota_videos_per_day=1) as town:
        await town.animate()
        await town.saying("is ready")

        answer = await town.animate()

        assert "1 of 1 videos in the last 24 hours" in answer
        assert "Server admins can" in answer
        assert "<t:" in answer
        assert len(town.gateway.received) == 1


async def test_an_admin_of_a_server_that_exempts_its_admins_has_no_limits(tmp_path: Path) -> None:
    async with a_town(tmp_path, quota_videos_per_day=0) as town:
        guild = town.offline._guild
        async with town.app.database.write() as connection:
            await guild_settings.write(connection, town.offline.guild_id, {"admins_exempt": True})
        role = guild.create_role("Managers", permissions=discord.Permissions(manage_guild=True))
        admin = town.another_member("admin", roles=[role])

        refused = await town.animate()
        result = await admin.slash(town.offline._channel, "animate", image=("a.png", a_picture()), prompt="x")

        assert "your limit is 0" in refused
        assert result.response is not None
        assert "Got it!" in result.response.content


async def test_in_a_server_with_approval_the_answer_says_who_is_waited_for(town: Town) -> None:
    async with town.app.database.write() as connection:
        await guild_settings.write(connection, town.offline.guild_id, {"approval_required": True})

    assert "A moderator has to approve your video" in await town.animate()
    assert not town.gateway.received


async def test_a_failed_video_pings_its_requester_says_why_and_does_not_count(town: Town) -> None:
    failed = {"id": "x", "status": "failed", "error": {"code": 1, "message": "the *picture* is odd"}}
    town.gateway.fault(Route.LOOK, Fault(status=200, body=failed))

    await town.animate()
    told = await town.saying("your video didn't work")

    assert [member.id for member in told.mentions] == [town.offline.viewer_id]
    assert r"the \*picture\* is odd" in told.content
    await town.saying("didn't work. The video service couldn't make it")
    assert "**0 of 5**" in await town.offline.command("videos quota")


async def test_an_order_whose_answer_was_lost_is_never_sent_again(town: Town) -> None:
    town.gateway.fault(Route.CREATE, Fault(status=502, body="bad gateway", takes_effect=True))

    await town.animate()
    told = await town.saying("your video didn't work")

    (job,) = await town.app.service.recent(town.offline.guild_id, town.offline.viewer_id)
    assert job.failure_reason is FailureReason.OUTCOME_UNKNOWN
    assert job.id.replace("-", r"\-").replace("_", r"\_") in told.content
    assert len(town.gateway.received) == 1


async def test_while_the_key_is_refused_jobs_wait_and_none_fails(town: Town) -> None:
    town.gateway.fault(Route.CREATE, Fault(status=401, body={"message": "bad key"}))

    await town.animate()
    await town.saying("is queued")
    while not (await town.app.store.gate()).failures:
        await asyncio.sleep(0.01)
    (job,) = await town.app.service.recent(town.offline.guild_id, town.offline.viewer_id)

    assert job.state in {JobState.QUEUED, JobState.SUBMITTING}
    assert job.failure_reason is None


class BrokenService(VideoService):
    """Fails as a bug would."""

    async def accept(self, *_: object, **__: object) -> AcceptedOrder:
        raise RuntimeError("details that are nobody's business")


async def test_a_fault_of_the_bot_is_answered_with_a_reference_and_no_details(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    broken = BrokenService(town.app.store, wake=town.app.worker.wake, clock=utc_now)
    town.bot.services = replace(town.bot.services, jobs=broken)

    answer = await town.animate()

    assert "Something broke on my side" in answer
    assert "nobody's business" not in answer
    assert answer.split("**")[1] in caplog.text


@pytest.mark.parametrize(
    ("option", "value"),
    [("prompt", "x" * 801), ("negative_prompt", "x" * 501), ("seed", -1), ("seed", 2**31), ("resolution", "4K")],
)
async def test_discords_client_is_told_the_limits(town: Town, option: str, value: object) -> None:
    given: dict[str, Any] = {"prompt": "x", option: value}

    with pytest.raises(SetupError):
        await town.animate(**given)


async def test_the_commands_are_declared_for_servers_only(town: Town) -> None:
    in_servers = [0]  # Discord's interaction context for servers

    declared = [command.to_dict(town.bot.tree) for command in town.bot.tree.get_commands()]

    assert {command["name"] for command in declared} == {"animate", "videos", "video-admin"}
    assert all(command["contexts"] == in_servers for command in declared)


async def test_only_the_guilds_intent_is_asked_for(town: Town) -> None:
    assert town.bot.intents == discord.Intents(guilds=True)
