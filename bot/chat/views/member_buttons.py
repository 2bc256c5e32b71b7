"""The buttons for members: under the messages about their videos, and under the question about their data.

Custom ids are `zoetrope:<kind>:<job id>` and `zoetrope:erase:<user id>`. The former also show which job a message
belongs to, which is how a message posted by a process that crashed is found again.
"""

from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum

import discord

from bot.chat.authorization import is_elsewhere, requester
from bot.chat.context import Interaction, services_of
from bot.chat.messages import cancellation_texts, member_texts, privacy_texts
from bot.chat.messages.reason_texts import Said
from bot.chat.posting import unless_deleted
from bot.chat.views.persistent_button import PersistentButton, job_custom_id, row_of
from bot.domain.errors import NotPossible, Problem
from bot.domain.guilds import OUTSIDE_SERVERS
from bot.domain.jobs import ENDED, CancelResult, Job, JobState


class ButtonKind(StrEnum):
    """What a button about a job does, and so which message it is under."""

    CANCEL = "cancel"  # on the status card of a job in progress
    CANCEL_PAID = "spend"  # under the question whether to cancel a video that is paid for
    STATUS = "status"  # removes a status card that says how its job failed, or ended in an earlier version
    VIDEO = "video"  # deletes the video, under it; see `bot.chat.views.result_buttons`
    NOTE = "note"  # removes the note about a failure


STATUS_KINDS = frozenset({ButtonKind.CANCEL, ButtonKind.STATUS})

_LABELS = {
    ButtonKind.CANCEL: "Cancel",
    ButtonKind.CANCEL_PAID: "Cancel anyway",
    ButtonKind.STATUS: "Remove",
    ButtonKind.VIDEO: "Delete",
    ButtonKind.NOTE: "Remove",
}


class JobButton(
    PersistentButton,
    template=r"zoetrope:(?P<kind>cancel|spend|status|video|note):(?P<job>[A-Za-z0-9_-]{1,20})",
):
    """One button of one job."""

    works_in_direct_messages = True

    def __init__(self, kind: str, job: str) -> None:
        self.kind, self.job_id = ButtonKind(kind), job
        confirms = self.kind is ButtonKind.CANCEL_PAID
        style = discord.ButtonStyle.danger if confirms else discord.ButtonStyle.secondary
        super().__init__(_LABELS[self.kind], job_custom_id(self.kind, job), style)

    async def act(self, interaction: Interaction) -> None:
        """Cancels the job or removes the message."""
        if self.kind is ButtonKind.VIDEO and is_elsewhere(interaction):
            await self._remove_answer(interaction)
            return
        cancels = self.kind in {ButtonKind.CANCEL, ButtonKind.CANCEL_PAID}
        if interaction.guild_id is None and not cancels:
            await self._remove_direct(interaction)
            return
        paid_too = self.kind is ButtonKind.CANCEL_PAID
        # "Thinking" creates a new private reply; the question is already private, so the answer replaces it.
        await interaction.response.defer(ephemeral=True, thinking=not paid_too)
        if cancels:
            await cancel(interaction, self.job_id, even_if_paid=paid_too)
        else:
            await self._remove(interaction)

    async def _remove_direct(self, interaction: Interaction) -> None:
        """Removes what was sent as a direct message, for the member that it was sent to."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        job = await services_of(interaction).jobs.find(self.job_id)
        if job is None or job.user_id != interaction.user.id or not self._is_sent(job, interaction.channel_id):
            raise NotPossible(Problem.NOT_YOUR_VIDEO)
        await self._remove_message(interaction)

    async def _remove_answer(self, interaction: Interaction) -> None:
        """Removes a video where the bot isn't, which it can do only through the click itself."""
        await interaction.response.defer()
        jobs = services_of(interaction).jobs
        who = requester(interaction)
        if interaction.guild_id is not None and interaction.permissions.manage_messages:
            await jobs.visible(self.job_id, who)
        else:
            await jobs.own_job(self.job_id, who)
        if interaction.message is not None:
            await jobs.video_removed(self.job_id, interaction.message.id, guild_id=who.guild_id)
        with unless_deleted():
            await interaction.delete_original_response()
        await interaction.followup.send(member_texts.DELETED, ephemeral=True)

    def _is_sent(self, job: Job, channel_id: int | None) -> bool:
        """Whether this button may be under a direct message; perhaps it isn't written yet what was sent."""
        if (job.guild_id, job.channel_id) == (OUTSIDE_SERVERS, channel_id):
            return True
        match self.kind:
            case ButtonKind.VIDEO if job.result_channel_id is None:
                return job.state is JobState.DELIVERING or _failed_before(job)
            case ButtonKind.VIDEO:
                return job.result_channel_id == channel_id
            case ButtonKind.NOTE:
                return job.state in ENDED or _failed_before(job)
            case _:
                return False

    async def _remove(self, interaction: Interaction) -> None:
        jobs, who, message = services_of(interaction).jobs, requester(interaction), interaction.message
        job = await jobs.find(self.job_id)
        if job is not None and message is not None and not job.has_channel and job.result_message_id == message.id:
            who = replace(who, guild_id=OUTSIDE_SERVERS)  # put there before the bot was a member of this server
        if not interaction.permissions.manage_messages:
            await jobs.own_job(self.job_id, who)
        await self._remove_message(interaction, guild_id=who.guild_id)

    async def _remove_message(self, interaction: Interaction, *, guild_id: int | None = None) -> None:
        if interaction.message is not None:
            # First: as long as the message is there, a click that was interrupted can be repeated.
            if self.kind is ButtonKind.VIDEO:
                jobs, message_id = services_of(interaction).jobs, interaction.message.id
                await jobs.video_removed(self.job_id, message_id, guild_id=guild_id)
            with unless_deleted():  # clicked twice, or a moderator was quicker
                await interaction.message.delete()
        text = member_texts.DELETED if self.kind is ButtonKind.VIDEO else member_texts.REMOVED
        await interaction.edit_original_response(content=text)


def _failed_before(job: Job) -> bool:
    """Whether the job failed, and perhaps was resumed, which stays free."""
    return not job.charged


async def cancel(interaction: Interaction, job_id: str, *, even_if_paid: bool) -> None:
    """Cancels a member's own job and says what that means; asks first if it is paid for.

    The interaction is already deferred. Raises: NotPossible.
    """
    done = await services_of(interaction).jobs.cancel(job_id, requester(interaction), even_if_paid=even_if_paid)
    question = view(ButtonKind.CANCEL_PAID, job_id) if done.result is CancelResult.PAID else None
    await interaction.edit_original_response(content=cancellation_texts.of_member(done), view=question)


def view(kind: ButtonKind, job_id: str, component_id: int | None = None) -> discord.ui.View:
    """A row of one button. component_id: Discord keeps it; see `bot.chat.posting.find_by_button`."""
    button = JobButton(kind, job_id)
    if component_id is not None:
        button.item.id = component_id
    return row_of(button)


def cancel_row(job_ids: Sequence[str]) -> discord.ui.View:
    """A button that cancels each of these jobs."""
    buttons = [JobButton(ButtonKind.CANCEL, job_id) for job_id in job_ids]
    for number, button in enumerate(buttons, 1):
        if len(buttons) > 1:
            button.item.label = f"Cancel {number}"
    return row_of(*buttons)


class EraseButton(PersistentButton, template=r"zoetrope:erase:(?P<user>[0-9]{1,20})"):
    """Confirms that a member's data is to be deleted; works only for that member."""

    works_in_direct_messages = True

    def __init__(self, user: str | int) -> None:
        super().__init__("Delete my data", f"zoetrope:erase:{user}", discord.ButtonStyle.danger)
        self.user_id = int(user)

    async def act(self, interaction: Interaction) -> None:
        """Deletes the data; the answer replaces the question."""
        is_theirs = interaction.user.id == self.user_id
        await interaction.response.defer(ephemeral=True, thinking=not is_theirs)
        if not is_theirs:
            raise NotPossible(Said(privacy_texts.NOT_YOURS))
        result = await services_of(interaction).privacy.erase(self.user_id)
        await interaction.edit_original_response(content=privacy_texts.erased(result), view=None)
