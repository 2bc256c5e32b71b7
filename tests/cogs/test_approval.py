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

CARD_TEXT = "would like a video"


@dataclass
class ApprovalHarness:
    """A harness whose server requires approval, with its log channel and a moderator."""

    harness: CogHarness
    log: ChannelHandle
    moderator: MemberActor

    async def wait_for_log_message(self, wanted: Callable[[discord.Message], bool]) -> discord.Message:
        """The first message in the log channel for which `wanted` holds, as soon as it is there."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                changed = self.harness.offline.changed
                if found := next(filter(wanted, self.log.history()), None):
                    return found
                await changed.wait()

    async def card(self, text: str = CARD_TEXT) -> discord.Message:
        """The approval card, as soon as it contains the text."""
        return await self.wait_for_log_message(
            lambda message: CARD_TEXT in message.content and text in message.content
        )

    async def order_and_wait_for_card(self) -> discord.Message:
        """A member orders a video; returns the card, once the worker has recorded its message id."""
        await self.harness.animate("a *sea*")
        card = await self.card()
        async with asyncio.timeout(WITHIN_S):
            while (await self.job()).approval_message_id is None:
                await asyncio.sleep(0)
        return card

    async def post_copy_of_buttons(self, channel: ChannelHandle | None = None) -> discord.Message:
        """Posts the buttons once more, in the log channel or another one, for a click that arrives late."""
        found = self.harness.bot.get_channel((channel or self.log).id)
        assert isinstance(found, discord.TextChannel)
        return await found.send("a copy", view=approval_view((await self.job()).id))

    async def job(self) -> Job:
        """The member's latest job."""
        service, offline = self.harness.app.service, self.harness.offline
        return (await service.recent(offline.guild.id, offline.viewer.id))[0]

    async def set(self, **columns: object) -> None:
        """Changes the server's settings."""
        async with self.harness.app.database.write() as connection:
            await guild_settings.write(connection, self.harness.offline.guild.id, columns)

    async def age_job(self, span: timedelta) -> None:
        """Makes the job older by `span`."""
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


async def test_the_card_shows_the_order_and_the_status_card_says_that_it_waits(
    approval_harness: ApprovalHarness,
) -> None:
    card = await approval_harness.order_and_wait_for_card()
    assert "a \\*sea\\*" in card.content
    assert f"<@{approval_harness.harness.offline.viewer.id}>" in card.content
    assert [held.filename.partition(".")[0] for held in card.attachments] == ["first-frame"]
    await approval_harness.harness.wait_for_message("Waiting for a moderator")
    assert (await approval_harness.job()).upstream_id is None


async def test_an_approved_video_is_made_and_posted(approval_harness: ApprovalHarness) -> None:
    card = await approval_harness.order_and_wait_for_card()
    result = await approval_harness.moderator.click(card, label="Approve")
    assert result.ephemeral
    assert "You approved it" in text_of(result)
    await approval_harness.harness.wait_for_message("here's your video")
    closed = await approval_harness.card(f"<@{approval_harness.moderator.id}> approved it")
    assert closed.components == []
    await approval_harness.wait_for_log_message(lambda message: message.content.startswith("✅"))


async def test_a_declined_video_notifies_the_member_and_does_not_count(
    approval_harness: ApprovalHarness,
) -> None:
    card = await approval_harness.order_and_wait_for_card()
    result = await approval_harness.moderator.click(card, label="Decline")
    assert "You declined it." in text_of(result)
    await approval_harness.harness.wait_for_message("a moderator declined your video.")
    await approval_harness.card(f"<@{approval_harness.moderator.id}> declined it")
    assert "**0 of 5**" in await approval_harness.harness.offline.command("videos quota")
    assert (await approval_harness.job()).upstream_id is None


async def test_the_second_moderator_is_told_who_decided_first(approval_harness: ApprovalHarness) -> None:
    card, second = await approval_harness.order_and_wait_for_card(), admin(approval_harness.harness, "second")
    copy = await approval_harness.post_copy_of_buttons()
    await approval_harness.moderator.click(card, label="Decline")
    result = await second.click(copy, label="Approve")
    assert f"<@{approval_harness.moderator.id}> already declined that video" in text_of(result)
    assert (await approval_harness.job()).state is JobState.FAILED


async def test_a_member_without_manage_server_cannot_decide(approval_harness: ApprovalHarness) -> None:
    card = await approval_harness.order_and_wait_for_card()
    for who in (plain(approval_harness.harness), approval_harness.harness.offline.viewer):
        result = await who.click(card, label="Approve")
        assert result.ephemeral
        assert "Manage Server" in text_of(result)
    assert (await approval_harness.job()).state is JobState.AWAITING
    assert (await approval_harness.card()).components != []


async def test_a_moderator_who_lost_manage_server_cannot_decide(approval_harness: ApprovalHarness) -> None:
    card = await approval_harness.order_and_wait_for_card()
    role = approval_harness.harness.offline.guild.roles["Managers moderator"]
    guild = approval_harness.harness.bot.get_guild(approval_harness.harness.offline.guild.id)
    cached = None if guild is None else guild.get_role(role.id)
    assert cached is not None
    await cached.edit(permissions=discord.Permissions.none())
    result = await approval_harness.moderator.click(card, label="Approve")
    assert "Manage Server" in text_of(result)
    assert (await approval_harness.job()).state is JobState.AWAITING


async def test_an_admin_of_another_server_cannot_decide_with_a_forged_button(
    approval_harness: ApprovalHarness,
) -> None:
    await approval_harness.order_and_wait_for_card()
    guild, channel = another_guild(approval_harness.harness)
    other_admin = admin(approval_harness.harness, "other_admin", guild=guild)
    forged = await approval_harness.post_copy_of_buttons(channel)
    result = await other_admin.click(forged, label="Approve")
    assert "I can't find that video in this server" in text_of(result)
    assert (await approval_harness.job()).state is JobState.AWAITING


async def test_a_member_can_cancel_a_job_that_awaits_approval(approval_harness: ApprovalHarness) -> None:
    await approval_harness.order_and_wait_for_card()
    waiting = await approval_harness.harness.wait_for_message("Waiting for a moderator")
    await approval_harness.harness.click(waiting, "Cancel")
    assert (await approval_harness.card("Cancelled")).components == []
    await approval_harness.harness.wait_until_gone(waiting)
    assert (await approval_harness.job()).upstream_id is None


async def test_after_a_day_a_job_expires_and_cannot_be_approved(approval_harness: ApprovalHarness) -> None:
    await approval_harness.order_and_wait_for_card()
    copy = await approval_harness.post_copy_of_buttons()
    await approval_harness.age_job(APPROVAL_TIMEOUT)
    approval_harness.harness.app.worker.wake()
    await approval_harness.harness.wait_for_message("no moderator answered within a day")
    assert (await approval_harness.card("expired")).components == []
    result = await approval_harness.moderator.click(copy, label="Approve")
    assert "expired" in text_of(result)


async def test_without_a_log_channel_an_order_fails_unsubmitted(approval_harness: ApprovalHarness) -> None:
    await approval_harness.set(log_channel_id=None)
    await approval_harness.harness.animate()
    note = await approval_harness.harness.wait_for_message("your video didn't work")
    assert "An admin needs to set one" in note.content
    assert (await approval_harness.job()).upstream_id is None


async def test_a_card_in_a_former_log_channel_loses_its_buttons_when_the_job_has_ended(
    approval_harness: ApprovalHarness,
) -> None:
    card = await approval_harness.order_and_wait_for_card()
    await approval_harness.set(
        log_channel_id=approval_harness.harness.offline.guild.create_text_channel("new-log").id
    )
    waiting = await approval_harness.harness.wait_for_message("Waiting for a moderator")
    await approval_harness.harness.click(waiting, "Cancel")
    await approval_harness.harness.wait_until_gone(waiting)
    result = await approval_harness.moderator.click(card, label="Approve")
    assert "was cancelled" in text_of(result)
    assert (await approval_harness.card()).components == []
