import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import discord
import pytest
from simcord import SetupError

from bot.domain.jobs import FailureReason, JobState
from bot.operations.clock import utc_now
from bot.services.videos import AcceptedOrder, VideoService
from bot.store.guilds import guild_settings
from tests.cogs.admins import admin, ask
from tests.cogs.conftest import CogHarness, open_cog_harness, sample_picture
from tests.fakes import TASK_LIFETIME, prepare_frame_in_thread
from tests.faulty_gateway import Fault, Route
from tests.providers_asked import VTRIX


async def test_a_picture_and_a_prompt_become_a_video_in_the_channel(harness: CogHarness) -> None:
    await harness.animate("waves roll in")

    message = await harness.wait_for_video()

    [video] = message.attachments
    assert video.filename.endswith(".mp4")
    assert (await video.read())[4:8] == b"ftyp"
    assert "> waves roll in" in message.content


async def test_the_reply_to_an_order_is_private(harness: CogHarness) -> None:
    answer = await harness.animate()

    assert "Got it!" in answer
    private = [message for message in harness.offline.messages() if message.flags.ephemeral]
    assert len(private) == 1


async def test_the_video_names_and_pings_only_its_requester(harness: CogHarness) -> None:
    await harness.animate("hello @everyone <@&1> <@2>")

    posted = await harness.wait_for_video()

    assert [member.id for member in posted.mentions] == [harness.offline.viewer.id]
    assert posted.mention_everyone is False
    assert posted.role_mentions == []


async def test_the_video_message_shows_resolution_and_seed(harness: CogHarness) -> None:
    await harness.animate(seed=42, resolution="480P")

    posted = await harness.wait_for_video()

    assert "-# 480P · seed 42" in posted.content


async def test_the_video_is_the_only_message_that_stays(harness: CogHarness) -> None:
    await harness.animate()

    video = await harness.wait_for_video()

    assert [message.id for message in harness.public()] == [video.id]


async def test_while_a_video_is_made_a_card_shows_its_picture_and_its_prompt(harness: CogHarness) -> None:
    harness.gateway.task_seconds = 3600

    await harness.animate("waves roll in")
    card = await harness.wait_for_message("> waves roll in")

    assert [file.filename for file in card.attachments] == ["picture.jpg"]


async def test_the_reply_says_what_is_left(harness: CogHarness) -> None:
    assert "You have **4 of 5** videos left" in await harness.animate()


async def test_the_members_options_reach_the_upstream(harness: CogHarness) -> None:
    await harness.animate("a", negative_prompt="b", resolution="480P", seed=7, prompt_extend=False, watermark=True)
    await harness.wait_for_video()

    (received,) = harness.gateway.received
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


async def test_omitted_options_have_the_models_defaults(harness: CogHarness) -> None:
    await harness.animate()
    await harness.wait_for_video()

    (received,) = harness.gateway.received
    params = received.body["input"][0]["params"]
    assert params["parameters"] == {
        "resolution": "720P",
        "duration": 5,
        "prompt_extend": True,
        "watermark": False,
    }
    assert "negative_prompt" not in params["input"]


async def test_the_reply_says_how_the_picture_was_changed(harness: CogHarness) -> None:
    answer = await harness.offline.animate(sample_picture((2400, 1200)), "wide.png", "pan")

    assert "scaled down from 2400×1200 to 2000×1000" in answer


async def test_a_file_that_is_not_a_picture_is_refused_privately_and_costs_nothing(harness: CogHarness) -> None:
    answer = await harness.offline.animate(b"<html>not a picture</html>", "cat.png", "dance")

    assert "picture" in answer
    assert "Nothing was charged" in answer
    assert harness.offline.errors == []
    assert harness.public() == []
    assert not harness.gateway.received
    assert "**0 of 5**" in await harness.offline.command("videos quota")


async def test_a_blank_prompt_is_refused_privately(harness: CogHarness) -> None:
    answer = await harness.animate("   ")

    assert "prompt is empty" in answer
    assert harness.public() == []


async def test_a_missing_permission_is_named_before_anything_is_ordered(harness: CogHarness) -> None:
    bot_user = harness.bot.user
    assert bot_user is not None
    channel = harness.offline.guild.create_text_channel(
        "no-files", overwrites={bot_user: discord.PermissionOverwrite(attach_files=False)}
    )

    result = await harness.offline.viewer.slash(channel, "animate", image=("a.png", sample_picture()), prompt="x")

    assert result.response is not None
    assert "**Attach Files**" in result.response.content
    assert "admin" in result.response.content
    assert result.response.ephemeral
    assert not harness.gateway.received


async def test_over_the_quota_the_reply_says_what_is_used_and_when_the_next_video_unlocks(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path, quota_videos_per_day=1) as harness:
        await harness.animate()
        await harness.wait_for_video()

        answer = await harness.animate()

        assert "1 of 1 videos in the last 24 hours" in answer
        assert "Server admins can" in answer
        assert "<t:" in answer
        assert len(harness.gateway.received) == 1


async def test_an_admin_of_a_server_that_exempts_its_admins_has_no_limits(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path, quota_videos_per_day=0) as harness:
        guild = harness.offline.guild
        async with harness.app.database.write() as connection:
            await guild_settings.write(connection, harness.offline.guild.id, {"admins_exempt": True})
        role = guild.create_role("Managers", permissions=discord.Permissions(manage_guild=True))
        admin = harness.another_member("admin", roles=[role])

        refused = await harness.animate()
        result = await admin.slash(
            harness.offline.channel, "animate", image=("a.png", sample_picture()), prompt="x"
        )

        assert "your limit is 0" in refused
        assert result.response is not None
        assert "Got it!" in result.response.content


async def test_if_approval_is_required_the_reply_says_so(harness: CogHarness) -> None:
    async with harness.app.database.write() as connection:
        await guild_settings.write(connection, harness.offline.guild.id, {"approval_required": True})

    assert "A moderator has to approve your video" in await harness.animate()
    assert not harness.gateway.received


async def test_a_failed_video_pings_its_requester_says_why_and_does_not_count(harness: CogHarness) -> None:
    failed = {"id": "x", "status": "failed", "error": {"code": 1, "message": "the *picture* is odd"}}
    harness.gateway.fault(Route.POLL, Fault(status=200, body=failed))

    await harness.animate()
    told = await harness.wait_for_message("your video didn't work")

    assert [member.id for member in told.mentions] == [harness.offline.viewer.id]
    assert r"the \*picture\* is odd" in told.content
    while harness.public() != [told]:
        await harness.offline.changed.wait()
    assert "**0 of 5**" in await harness.offline.command("videos quota")


async def test_refused_content_is_told_as_such_counts_where_admins_want_that_and_costs_nothing(
    harness: CogHarness,
) -> None:
    inappropriate = {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content."}
    harness.gateway.fault(Route.CREATE, Fault(status=400, body=inappropriate), times=2)
    said = await ask(harness, admin(harness), "video-admin words strikes", count=2, refused_content="on")
    assert "→ after 2 in 24 hours, for 24 hours, counting what the video service's moderation refuses" in said

    await harness.animate()
    told = await harness.wait_for_message("moderation refused its picture or prompt")
    assert "“Input data may contain inappropriate content”. It doesn't count against the quota." in told.content
    assert "one more and you'll be paused" in told.content
    assert "**0 of 5**" in await harness.offline.command("videos quota")

    await harness.animate()
    await harness.wait_for_message("so you're paused until")
    assert "too many of your prompts were blocked" in await harness.animate()


async def test_an_order_whose_response_was_lost_is_never_submitted_again(harness: CogHarness) -> None:
    harness.gateway.fault(Route.CREATE, Fault(status=502, body="bad gateway", takes_effect=True))

    await harness.animate()
    told = await harness.wait_for_message("your video didn't work")

    (job,) = await harness.app.service.recent(harness.offline.guild.id, harness.offline.viewer.id)
    assert job.failure_reason is FailureReason.OUTCOME_UNKNOWN
    assert f"`{job.id}`" in told.content
    assert len(harness.gateway.received) == 1


async def test_while_the_api_key_is_refused_jobs_wait_and_do_not_fail(harness: CogHarness) -> None:
    harness.gateway.fault(Route.CREATE, Fault(status=401, body={"message": "bad key"}))

    await harness.animate()
    await harness.wait_for_message("In the queue")
    while not (await harness.app.store.gate(VTRIX)).failures:
        await asyncio.sleep(0.01)
    (job,) = await harness.app.service.recent(harness.offline.guild.id, harness.offline.viewer.id)

    assert job.state in {JobState.QUEUED, JobState.SUBMITTING}
    assert job.failure_reason is None


class BrokenService(VideoService):
    """Fails as a bug would."""

    async def accept(self, *_: object, **__: object) -> AcceptedOrder:
        raise RuntimeError("details that are nobody's business")


async def test_an_internal_error_is_reported_with_a_reference_and_no_details(
    harness: CogHarness, caplog: pytest.LogCaptureFixture
) -> None:
    broken = BrokenService(
        harness.app.store,
        wake=harness.app.worker.wake,
        clock=utc_now,
        prepare_first_frame=prepare_frame_in_thread,
        task_lifetime=TASK_LIFETIME,
    )
    harness.bot.services = replace(harness.bot.services, jobs=broken)

    answer = await harness.animate()

    assert "Something broke on my side" in answer
    assert "nobody's business" not in answer
    assert answer.split("**")[1] in caplog.text


@pytest.mark.parametrize(
    ("option", "value"),
    [("prompt", "x" * 801), ("negative_prompt", "x" * 501), ("seed", -1), ("seed", 2**31), ("resolution", "4K")],
)
async def test_the_declared_options_enforce_the_limits(harness: CogHarness, option: str, value: object) -> None:
    given: dict[str, Any] = {"prompt": "x", option: value}

    with pytest.raises(SetupError):
        await harness.animate(**given)
