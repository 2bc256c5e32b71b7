import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import discord
import pytest
from simcord import ChannelHandle, MemberActor
from sqlalchemy import update

from bot.chat.views.approval_cards import review_view
from bot.domain.approvals import PATIENCE
from bot.domain.jobs import Job, JobState
from bot.operations.clock import utc_now
from bot.store.guilds import guild_settings
from bot.store.schema import jobs
from tests.cogs.admins import admin, another_guild, plain, text_of
from tests.cogs.conftest import WITHIN_S, Town

ASKED = "would like a video"


@dataclass
class Court:
    """A town whose server wants each video let through, its log channel and a moderator."""

    town: Town
    log: ChannelHandle
    moderator: MemberActor

    async def in_log(self, wanted: Callable[[discord.Message], bool]) -> discord.Message:
        """The first message in the log channel for which `wanted` holds, as soon as it is there."""
        async with asyncio.timeout(WITHIN_S):
            while True:
                changed = self.town.offline.changed
                if found := next(filter(wanted, self.log.history()), None):
                    return found
                await changed.wait()

    async def card(self, text: str = ASKED) -> discord.Message:
        """The question, as soon as it says so."""
        return await self.in_log(lambda message: ASKED in message.content and text in message.content)

    async def asked(self) -> discord.Message:
        """A member orders a video; the question, once the worker has written down where it stands."""
        await self.town.animate("a *sea*")
        card = await self.card()
        async with asyncio.timeout(WITHIN_S):
            while (await self.job()).approval_message_id is None:
                await asyncio.sleep(0)
        return card

    async def copy_of_buttons(self, channel: ChannelHandle | None = None) -> discord.Message:
        """The buttons once more, in the log channel or another one: a click that is on its way."""
        found = self.town.bot.get_channel((channel or self.log).id)
        assert isinstance(found, discord.TextChannel)
        return await found.send("a copy", view=review_view((await self.job()).id))

    async def job(self) -> Job:
        """The member's latest job."""
        service, offline = self.town.app.service, self.town.offline
        return (await service.recent(offline.guild_id, offline.viewer_id))[0]

    async def set(self, **columns: object) -> None:
        """What the server's admins have set."""
        async with self.town.app.database.write() as connection:
            await guild_settings.write(connection, self.town.offline.guild_id, columns)

    async def let_pass(self, span: timedelta) -> None:
        """As if all had happened so much earlier."""
        job = await self.job()
        earlier = {"created_at": job.created_at - span, "due_at": utc_now()}
        async with self.town.app.database.write() as connection:
            await connection.execute(update(jobs).where(jobs.c.id == job.id).values(earlier))


@pytest.fixture
async def court(town: Town) -> Court:
    court = Court(town, town.offline._guild.create_text_channel("mod-log"), admin(town, "moderator"))
    await court.set(approval_required=True, log_channel_id=court.log.id)
    return court


async def test_the_moderators_see_what_is_asked_for_and_the_member_that_it_waits(court: Court) -> None:
    card = await court.asked()
    assert "a \\*sea\\*" in card.content
    assert f"<@{court.town.offline.viewer_id}>" in card.content
    assert [held.filename.partition(".")[0] for held in card.attachments] == ["first-frame"]
    assert "is waiting for a moderator" in (await court.town.saying("A video for")).content
    assert (await court.job()).upstream_id is None


async def test_an_approved_video_is_made_and_posted(court: Court) -> None:
    card = await court.asked()
    result = await court.moderator.click(card, label="Approve")
    assert result.ephemeral
    assert "You approved it" in text_of(result)
    await court.town.saying("here's your video")
    closed = await court.card(f"<@{court.moderator.id}> approved it")
    assert closed.components == []
    await court.in_log(lambda message: message.content.startswith("✅"))


async def test_a_declined_video_is_told_to_the_member_and_counts_for_nothing(court: Court) -> None:
    card = await court.asked()
    result = await court.moderator.click(card, label="Decline")
    assert "You declined it" in text_of(result)
    await court.town.saying("a moderator declined your video.")
    await court.card(f"<@{court.moderator.id}> declined it")
    assert "**0 of 5**" in await court.town.offline.command("videos quota")
    assert (await court.job()).upstream_id is None


async def test_the_second_moderator_is_told_who_was_first(court: Court) -> None:
    card, second = await court.asked(), admin(court.town, "second")
    copy = await court.copy_of_buttons()
    await court.moderator.click(card, label="Decline")
    result = await second.click(copy, label="Approve")
    assert f"<@{court.moderator.id}> already declined that video" in text_of(result)
    assert (await court.job()).state is JobState.FAILED


async def test_a_member_who_may_not_manage_decides_nothing(court: Court) -> None:
    card = await court.asked()
    for who in (plain(court.town), court.town.offline._viewer):
        result = await who.click(card, label="Approve")
        assert result.ephemeral
        assert "Manage Server" in text_of(result)
    assert (await court.job()).state is JobState.AWAITING
    assert (await court.card()).components != []


async def test_a_moderator_who_lost_the_right_meanwhile_decides_nothing(court: Court) -> None:
    card = await court.asked()
    role = court.town.offline._guild.roles["Managers moderator"]
    guild = court.town.bot.get_guild(court.town.offline.guild_id)
    cached = None if guild is None else guild.get_role(role.id)
    assert cached is not None
    await cached.edit(permissions=discord.Permissions.none())
    result = await court.moderator.click(card, label="Approve")
    assert "Manage Server" in text_of(result)
    assert (await court.job()).state is JobState.AWAITING


async def test_an_admin_of_another_server_decides_nothing_with_a_made_up_button(court: Court) -> None:
    await court.asked()
    guild, channel = another_guild(court.town)
    foreigner = admin(court.town, "foreigner", guild=guild)
    forged = await court.copy_of_buttons(channel)
    result = await foreigner.click(forged, label="Approve")
    assert "I can't find that video in this server" in text_of(result)
    assert (await court.job()).state is JobState.AWAITING


async def test_a_member_cancels_while_it_waits(court: Court) -> None:
    await court.asked()
    await court.town.click(await court.town.saying("waiting for a moderator"), "Cancel")
    assert (await court.card("Cancelled")).components == []
    await court.town.saying("was cancelled. It doesn't count.")
    assert (await court.job()).upstream_id is None


async def test_after_a_day_it_expires_and_can_not_be_let_through(court: Court) -> None:
    await court.asked()
    copy = await court.copy_of_buttons()
    await court.let_pass(PATIENCE)
    court.town.app.worker.wake()
    await court.town.saying("no moderator answered within a day")
    assert (await court.card("expired")).components == []
    result = await court.moderator.click(copy, label="Approve")
    assert "expired" in text_of(result)


async def test_without_a_log_channel_nothing_is_let_through(court: Court) -> None:
    await court.set(log_channel_id=None)
    await court.town.animate()
    note = await court.town.saying("your video didn't work")
    assert "An admin needs to set one" in note.content
    assert (await court.job()).upstream_id is None


async def test_a_question_in_a_channel_that_is_not_the_log_any_more_loses_its_buttons_when_it_is_over(
    court: Court,
) -> None:
    card = await court.asked()
    await court.set(log_channel_id=court.town.offline._guild.create_text_channel("new-log").id)
    await court.town.click(await court.town.saying("waiting for a moderator"), "Cancel")
    await court.town.saying("was cancelled")
    result = await court.moderator.click(card, label="Approve")
    assert "was cancelled" in text_of(result)
    assert (await court.card()).components == []
