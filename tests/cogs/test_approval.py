import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import discord
import pytest
from simcord import ChannelHandle, MemberActor
from sqlalchemy import update

from bot.chat.views.approval_cards import approval_view
from bot.domain.approvals import APPROVAL_TIMEOUT
from bot.domain.jobs import Job, JobState
from bot.operations.clock import utc_now
from bot.store.guilds import guild_settings
from bot.store.schema import jobs
from tests.cogs.admins import admin, another_guild, plain, text_of
from tests.cogs.conftest import WITHIN_S, CogHarness

ASKED = "would like a video"


@dataclass
class ApprovalHarness:
    """A harness whose server requires approval, with its log channel and a moderator."""

    harness: CogHarness
    log: ChannelHandle
    moderator: MemberActor

    async def in_log(self, wanted: Callable[[discord.Message], bool]) -> discord.Message:
        """The first message in the log channel for which `wanted` holds, as soon as it is there."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                changed = self.harness.offline.changed
                if found := next(filter(wanted, self.log.history()), None):
                    return found
                await changed.wait()

    async def card(self, text: str = ASKED) -> discord.Message:
        """The question, as soon as it says so."""
        return await self.in_log(lambda message: ASKED in message.content and text in message.content)

    async def asked(self) -> discord.Message:
        """A member orders a video; the question, once the worker has written down where it stands."""
        await self.harness.animate("a *sea*")
        card = await self.card()
        async with asyncio.timeout(WITHIN_S):
            while (await self.job()).approval_message_id is None:
                await asyncio.sleep(0)
        return card

    async def copy_of_buttons(self, channel: ChannelHandle | None = None) -> discord.Message:
        """The buttons once more, in the log channel or another one: a click that is on its way."""
        found = self.harness.bot.get_channel((channel or self.log).id)
        assert isinstance(found, discord.TextChannel)
        return await found.send("a copy", view=approval_view((await self.job()).id))

    async def job(self) -> Job:
        """The member's latest job."""
        service, offline = self.harness.app.service, self.harness.offline
        return (await service.recent(offline.guild.id, offline.viewer.id))[0]

    async def set(self, **columns: object) -> None:
        """What the server's admins have set."""
        async with self.harness.app.database.write() as connection:
            await guild_settings.write(connection, self.harness.offline.guild.id, columns)

    async def let_pass(self, span: timedelta) -> None:
        """As if all had happened so much earlier."""
        job = await self.job()
        earlier = {"created_at": job.created_at - span, "due_at": utc_now()}
        async with self.harness.app.database.write() as connection:
            await connection.execute(update(jobs).where(jobs.c.id == job.id).values(earlier))


@pytest.fixture
async def approval_harness(harness: CogHarness) -> ApprovalHarness:
    approval_harness = ApprovalHarness(
        harness, harness.offline.guild.create_text_channel("mod-log"), admin(harness, "moderator")
    )
    await approval_harness.set(approval_required=True, log_channel_id=approval_harness.log.id)
    return approval_harness


async def test_the_moderators_see_what_is_asked_for_and_the_member_that_it_waits(
    approval_harness: ApprovalHarness,
) -> None:
    card = await approval_harness.asked()
    assert "a \\*sea\\*" in card.content
    assert f"<@{approval_harness.harness.offline.viewer.id}>" in card.content
    assert [held.filename.partition(".")[0] for held in card.attachments] == ["first-frame"]
    assert "is waiting for a moderator" in (await approval_harness.harness.wait_for_message("A video for")).content
    assert (await approval_harness.job()).upstream_id is None


async def test_an_approved_video_is_made_and_posted(approval_harness: ApprovalHarness) -> None:
    card = await approval_harness.asked()
    result = await approval_harness.moderator.click(card, label="Approve")
    assert result.ephemeral
    assert "You approved it" in text_of(result)
    await approval_harness.harness.wait_for_message("here's your video")
    closed = await approval_harness.card(f"<@{approval_harness.moderator.id}> approved it")
    assert closed.components == []
    await approval_harness.in_log(lambda message: message.content.startswith("✅"))


async def test_a_declined_video_is_told_to_the_member_and_counts_for_nothing(
    approval_harness: ApprovalHarness,
) -> None:
    card = await approval_harness.asked()
    result = await approval_harness.moderator.click(card, label="Decline")
    assert "You declined it." in text_of(result)
    await approval_harness.harness.wait_for_message("a moderator declined your video.")
    await approval_harness.card(f"<@{approval_harness.moderator.id}> declined it")
    assert "**0 of 5**" in await approval_harness.harness.offline.command("videos quota")
    assert (await approval_harness.job()).upstream_id is None


async def test_the_second_moderator_is_told_who_was_first(approval_harness: ApprovalHarness) -> None:
    card, second = await approval_harness.asked(), admin(approval_harness.harness, "second")
    copy = await approval_harness.copy_of_buttons()
    await approval_harness.moderator.click(card, label="Decline")
    result = await second.click(copy, label="Approve")
    assert f"<@{approval_harness.moderator.id}> already declined that video" in text_of(result)
    assert (await approval_harness.job()).state is JobState.FAILED


async def test_a_member_who_may_not_manage_decides_nothing(approval_harness: ApprovalHarness) -> None:
    card = await approval_harness.asked()
    for who in (plain(approval_harness.harness), approval_harness.harness.offline.viewer):
        result = await who.click(card, label="Approve")
        assert result.ephemeral
        assert "Manage Server" in text_of(result)
    assert (await approval_harness.job()).state is JobState.AWAITING
    assert (await approval_harness.card()).components != []


async def test_a_moderator_who_lost_the_right_meanwhile_decides_nothing(approval_harness: ApprovalHarness) -> None:
    card = await approval_harness.asked()
    role = approval_harness.harness.offline.guild.roles["Managers moderator"]
    guild = approval_harness.harness.bot.get_guild(approval_harness.harness.offline.guild.id)
    cached = None if guild is None else guild.get_role(role.id)
    assert cached is not None
    await cached.edit(permissions=discord.Permissions.none())
    result = await approval_harness.moderator.click(card, label="Approve")
    assert "Manage Server" in text_of(result)
    assert (await approval_harness.job()).state is JobState.AWAITING


async def test_an_admin_of_another_server_decides_nothing_with_a_made_up_button(
    approval_harness: ApprovalHarness,
) -> None:
    await approval_harness.asked()
    guild, channel = another_guild(approval_harness.harness)
    foreigner = admin(approval_harness.harness, "foreigner", guild=guild)
    forged = await approval_harness.copy_of_buttons(channel)
    result = await foreigner.click(forged, label="Approve")
    assert "I can't find that video in this server" in text_of(result)
    assert (await approval_harness.job()).state is JobState.AWAITING


async def test_a_member_cancels_while_it_waits(approval_harness: ApprovalHarness) -> None:
    await approval_harness.asked()
    await approval_harness.harness.click(
        await approval_harness.harness.wait_for_message("waiting for a moderator"), "Cancel"
    )
    assert (await approval_harness.card("Cancelled")).components == []
    await approval_harness.harness.wait_for_message("was cancelled. It doesn't count.")
    assert (await approval_harness.job()).upstream_id is None


async def test_after_a_day_it_expires_and_can_not_be_let_through(approval_harness: ApprovalHarness) -> None:
    await approval_harness.asked()
    copy = await approval_harness.copy_of_buttons()
    await approval_harness.let_pass(APPROVAL_TIMEOUT)
    approval_harness.harness.app.worker.wake()
    await approval_harness.harness.wait_for_message("no moderator answered within a day")
    assert (await approval_harness.card("expired")).components == []
    result = await approval_harness.moderator.click(copy, label="Approve")
    assert "expired" in text_of(result)


async def test_without_a_log_channel_nothing_is_let_through(approval_harness: ApprovalHarness) -> None:
    await approval_harness.set(log_channel_id=None)
    await approval_harness.harness.animate()
    note = await approval_harness.harness.wait_for_message("your video didn't work")
    assert "An admin needs to set one" in note.content
    assert (await approval_harness.job()).upstream_id is None


async def test_a_question_in_a_channel_that_is_not_the_log_any_more_loses_its_buttons_when_it_is_over(
    approval_harness: ApprovalHarness,
) -> None:
    card = await approval_harness.asked()
    await approval_harness.set(
        log_channel_id=approval_harness.harness.offline.guild.create_text_channel("new-log").id
    )
    await approval_harness.harness.click(
        await approval_harness.harness.wait_for_message("waiting for a moderator"), "Cancel"
    )
    await approval_harness.harness.wait_for_message("was cancelled")
    result = await approval_harness.moderator.click(card, label="Approve")
    assert "was cancelled" in text_of(result)
    assert (await approval_harness.card()).components == []
