"""Orders in direct messages with the bot, as a member sees them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import discord
import pytest
from simcord import InteractionResult, SetupError

from bot.chat.posting import shown_text
from bot.domain.guilds import OUTSIDE_SERVERS, Access
from bot.domain.jobs import Job, JobState
from bot.domain.policy import PolicyViolation, Requester, RuleName
from bot.domain.shards import Shard
from bot.operations.clock import utc_now
from bot.store.guilds import guild_settings
from bot.store.guilds.membership import MembershipStore
from bot.store.jobs.waiting_jobs import WaitingJobs
from tests.cogs.conftest import WITHIN_S, CogHarness, open_cog_harness, sample_picture


@pytest.fixture
async def direct(tmp_path: Path) -> AsyncIterator[CogHarness]:
    async with open_cog_harness(tmp_path, direct_orders=True) as harness:
        yield harness


def content(result: InteractionResult) -> str:
    """The text of the answer, whether it is an ordinary one or one of components."""
    if result.response is None:
        return ""
    return result.response.content or shown_text(result.response.message.components)


async def order(harness: CogHarness, prompt: str = "waves roll in", **options: Any) -> str:
    user = harness.offline.viewer.user
    return content(await user.slash("animate", image=("sea.png", sample_picture()), prompt=prompt, **options))


async def message_where(harness: CogHarness, wanted: Callable[[discord.Message], bool]) -> discord.Message:
    """The first message for which `wanted` holds in the member's direct messages."""
    user = harness.offline.viewer.user
    async with asyncio.timeout(WITHIN_S):
        while True:
            changed = harness.offline.changed
            found = [message for message in user.dm_channel.history(viewer=user) if wanted(message)]
            if found:
                return found[0]
            await changed.wait()


async def jobs_outside(harness: CogHarness) -> list[Job]:
    return await harness.app.service.recent(OUTSIDE_SERVERS, harness.offline.viewer.id)


async def test_an_order_in_direct_messages_is_answered_and_posted_there(direct: CogHarness) -> None:
    answer = await order(direct)
    video = await message_where(direct, lambda message: "here's your video" in message.content)

    assert "Got it!" in answer
    assert "**2 of 3**" in answer
    assert [file.filename for file in video.attachments] == ["sea.mp4"]
    assert direct.public() == []
    (job,) = await jobs_outside(direct)
    assert job.channel_id == direct.offline.viewer.user.dm_channel.id


async def test_its_links_lead_to_the_direct_messages(direct: CogHarness) -> None:
    await order(direct)
    video = await message_where(direct, lambda message: "here's your video" in message.content)
    while (await jobs_outside(direct))[0].state is not JobState.DELIVERED:
        await asyncio.sleep(0.01)

    listed = content(await direct.offline.viewer.user.slash("videos list"))

    assert f"https://discord.com/channels/@me/{video.channel.id}/{video.id}" in listed


async def test_a_server_and_direct_messages_list_and_count_their_own(direct: CogHarness) -> None:
    await order(direct, "a harbour")
    await direct.animate("a storm")
    await direct.wait_for_message("here's your video")
    await message_where(direct, lambda message: "here's your video" in message.content)

    here = content(await direct.offline.viewer.slash(direct.offline.channel, "videos list"))
    there = content(await direct.offline.viewer.user.slash("videos list"))

    assert ("a storm" in here, "a harbour" in here) == (True, False)
    assert ("a storm" in there, "a harbour" in there) == (False, True)
    assert "**1 of 5**" in await direct.offline.command("videos quota")
    assert "**1 of 3**" in content(await direct.offline.viewer.user.slash("videos quota"))


async def test_the_limit_is_the_operators_own_and_names_no_admin(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path, direct_orders=True, direct_videos_per_day=1) as harness:
        await order(harness)
        await message_where(harness, lambda message: "here's your video" in message.content)

        answer = await order(harness)

        assert "1 of 1 videos in direct messages" in answer
        assert "dmin" not in answer
        assert "Got it!" in await harness.animate()


async def test_the_budget_is_the_operators_own(tmp_path: Path) -> None:
    async with open_cog_harness(tmp_path, direct_orders=True, direct_budget_usd_per_day="0.20") as harness:
        assert "Got it!" in await order(harness)

        answer = await order(harness)

        assert "daily budget for videos in direct messages is used up" in answer
        assert "operator" in answer
        assert "Got it!" in await harness.animate()


async def test_no_servers_rules_apply_and_none_is_lifted(direct: CogHarness) -> None:
    async with direct.app.database.write() as connection:
        await guild_settings.write(connection, direct.offline.guild.id, {"paused": True})

    assert "have paused the bot" in await direct.animate()
    assert "Got it!" in await order(direct)


async def test_the_operator_can_block_direct_messages(direct: CogHarness) -> None:
    async with direct.app.database.write() as connection:
        await guild_settings.write(connection, OUTSIDE_SERVERS, {"access": Access.BLOCKED})

    assert "can't take orders in direct messages right now" in await order(direct)


async def test_a_queued_video_is_cancelled_by_its_card(direct: CogHarness) -> None:
    direct.app.worker.hold_submissions()
    await order(direct)
    user = direct.offline.viewer.user
    card = await message_where(direct, lambda message: bool(message.components))

    result = await user.click(card, label="Cancel")

    answers = [part.content for part in (result.response, *result.followups) if part]
    assert "Cancelled. It hadn't started" in "".join(answers)
    (job,) = await jobs_outside(direct)
    assert (job.state, job.charged) == (JobState.CANCELLED, False)


async def test_a_video_is_removed_by_its_button(direct: CogHarness) -> None:
    await order(direct)
    video = await message_where(direct, lambda message: "here's your video" in message.content)

    await direct.offline.viewer.user.click(video, label="Delete")

    user = direct.offline.viewer.user
    assert video.id not in [message.id for message in user.dm_channel.history(viewer=user)]
    (job,) = await jobs_outside(direct)
    assert job.is_removed


async def test_without_the_setting_no_command_is_offered_in_direct_messages(harness: CogHarness) -> None:
    with pytest.raises(SetupError, match="context"):
        await order(harness)


async def test_admins_commands_are_never_offered_in_direct_messages(direct: CogHarness) -> None:
    assert set(direct.offline.viewer.user.available_commands()) == {
        "animate",
        "help",
        "videos again",
        "videos extend",
        "videos quota",
        "videos list",
        "videos settings",
        "videos show",
        "videos cancel",
        "videos privacy show",
        "videos privacy export",
        "videos privacy delete",
    }


async def test_where_the_setting_was_switched_off_an_order_is_refused(harness: CogHarness) -> None:
    """As of a client that still shows the command."""
    who = Requester(OUTSIDE_SERVERS, 5, harness.offline.viewer.id)

    allowance = await harness.app.service.allowance(who)

    assert allowance.refusal == PolicyViolation(RuleName.DIRECT_ORDERS)


async def test_a_start_does_not_take_direct_messages_for_a_server_that_was_left(direct: CogHarness) -> None:
    direct.app.worker.hold_submissions()
    await order(direct)
    members = MembershipStore(direct.app.database)
    async with direct.app.database.write() as connection:
        await guild_settings.ensure(connection, OUTSIDE_SERVERS)

    await members.reconcile(Shard(0, 1), [direct.offline.guild.id], utc_now() + timedelta(days=1))

    assert await WaitingJobs(direct.app.database).cancel_where_left_or_blocked(utc_now()) == 0


async def test_the_list_and_the_settings_can_be_clicked_in_direct_messages(direct: CogHarness) -> None:
    user = direct.offline.viewer.user
    listed, settings = await user.slash("videos list"), await user.slash("videos settings")
    assert listed.response is not None
    assert settings.response is not None

    await user.select(listed.response.message, ["ready"], custom_id=f"zoetrope:list:filter:{user.id}")
    await user.click(settings.response.message, custom_id=f"zoetrope:set:watermark:on:{user.id}")

    assert "None of your videos here is ready." in shown_text(listed.response.message.components)
    assert (await direct.bot.services.settings.of(user.id)).watermark


async def test_a_member_deletes_their_data_in_direct_messages(direct: CogHarness) -> None:
    await order(direct)
    user = direct.offline.viewer.user
    await message_where(direct, lambda message: "here's your video" in message.content)
    question = await user.slash("videos privacy delete")
    assert question.response is not None

    result = await user.click(question.response.message, label="Delete my data")

    assert result.response is not None
    assert result.response.content.startswith("Done")


async def test_variations_are_cancelled_together_in_direct_messages(direct: CogHarness) -> None:
    direct.app.worker.hold_submissions()
    await order(direct, variations=2)
    card = await message_where(direct, lambda message: bool(message.components))

    await direct.offline.viewer.user.click(card, label="Cancel all")

    assert {job.state for job in await jobs_outside(direct)} == {JobState.CANCELLED}


async def test_a_video_in_direct_messages_is_extended_by_its_button(direct: CogHarness) -> None:
    await order(direct)
    video = await message_where(direct, lambda message: "here's your video" in message.content)

    result = await direct.offline.viewer.user.click(video, label="Extend")

    assert result.modal is not None
    assert result.modal["title"] == "Extend this video"
