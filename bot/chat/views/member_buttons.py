"""The buttons for members: under the messages about their videos, and under the question about their data.

Custom ids are `zoetrope:<kind>:<job id>` and `zoetrope:erase:<user id>`. The former also mark the message as
belonging to that job, which is how a message posted by a process that died is found again.
"""

import contextlib
from enum import StrEnum

import discord

from bot.chat.authorization import requester
from bot.chat.context import Interaction, services_of
from bot.chat.messages import member_texts, privacy_texts
from bot.chat.messages.reason_texts import Said
from bot.chat.views.persistent_button import PersistentButton, row_of
from bot.domain.errors import NotPossible
from bot.domain.jobs import ENDED, CancelResult, Job


class ButtonKind(StrEnum):
    """What a button about a job does, and so which message it is under."""

    CANCEL = "cancel"  # the status message of a job that is not over
    CANCEL_PAID = "spend"  # the question whether to give up what is paid for
    STATUS = "status"  # removes the status message of a job that is over
    VIDEO = "video"  # removes the video
    NOTE = "note"  # removes the note about a failure


STATUS_KINDS = frozenset({ButtonKind.CANCEL, ButtonKind.STATUS})

_LABELS = {
    ButtonKind.CANCEL: "Cancel",
    ButtonKind.CANCEL_PAID: "Cancel anyway",
    ButtonKind.STATUS: "Remove",
    ButtonKind.VIDEO: "Remove",
    ButtonKind.NOTE: "Remove",
}


def custom_id(kind: ButtonKind, job_id: str) -> str:
    """The custom id of a button of that kind for that job."""
    return f"zoetrope:{kind}:{job_id}"


class JobButton(
    PersistentButton,
    template=r"zoetrope:(?P<kind>cancel|spend|status|video|note):(?P<job>[A-Za-z0-9_-]{1,20})",
):
    """One button of one job."""

    def __init__(self, kind: str, job: str) -> None:
        self.kind, self.job_id = ButtonKind(kind), job
        is_last_word = self.kind is ButtonKind.CANCEL_PAID
        style = discord.ButtonStyle.danger if is_last_word else discord.ButtonStyle.secondary
        super().__init__(_LABELS[self.kind], custom_id(self.kind, job), style)

    async def act(self, interaction: Interaction) -> None:
        """Cancels the job or removes the message."""
        asked = self.kind is ButtonKind.CANCEL_PAID
        # "Thinking" makes a private answer of its own; the question is itself private and answered in place.
        await interaction.response.defer(ephemeral=True, thinking=not asked)
        if asked or self.kind is ButtonKind.CANCEL:
            await cancel(interaction, self.job_id, even_if_paid=asked)
        else:
            await self._remove(interaction)

    async def _remove(self, interaction: Interaction) -> None:
        if not interaction.permissions.manage_messages:
            await services_of(interaction).jobs.own_job(self.job_id, requester(interaction))
        if interaction.message is not None:
            with contextlib.suppress(discord.NotFound):  # clicked twice, or a moderator was quicker
                await interaction.message.delete()
        await interaction.edit_original_response(content=member_texts.REMOVED)


async def cancel(interaction: Interaction, job_id: str, *, even_if_paid: bool) -> None:
    """Cancels a member's own job and says what that means; asks first where it is paid for. Deferred before."""
    result = await services_of(interaction).jobs.cancel(job_id, requester(interaction), even_if_paid=even_if_paid)
    if result is CancelResult.PAID:
        question = view(ButtonKind.CANCEL_PAID, job_id)
        await interaction.edit_original_response(content=member_texts.CANCEL_ASKS, view=question)
        return
    free = result is CancelResult.CANCELLED
    text = member_texts.CANCELLED_FREE if free else member_texts.CANCELLED_PAID
    await interaction.edit_original_response(content=text, view=None)


def view(kind: ButtonKind, job_id: str) -> discord.ui.View:
    """A row of one button."""
    return row_of(JobButton(kind, job_id))


def status_view(job: Job) -> discord.ui.View:
    """The button under a status message: cancel while there is something to cancel, then remove."""
    return view(ButtonKind.STATUS if job.state in ENDED else ButtonKind.CANCEL, job.id)


class EraseButton(PersistentButton, template=r"zoetrope:erase:(?P<user>[0-9]{1,20})"):
    """Confirms that a member's data is to be deleted. Nobody else's click does anything."""

    def __init__(self, user: str | int) -> None:
        super().__init__("Delete my data", f"zoetrope:erase:{user}", discord.ButtonStyle.danger)
        self.user_id = int(user)

    async def act(self, interaction: Interaction) -> None:
        """Deletes, and answers in place of the question."""
        theirs = interaction.user.id == self.user_id
        await interaction.response.defer(ephemeral=True, thinking=not theirs)
        if not theirs:
            raise NotPossible(Said(privacy_texts.NOT_YOURS))
        result = await services_of(interaction).privacy.erase(self.user_id)
        await interaction.edit_original_response(content=privacy_texts.erased(result), view=None)
