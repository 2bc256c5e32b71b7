"""The buttons under the bot's messages. They work for ever: all they know stands in their custom ids.

A custom id is `zoetrope:<kind>:<job id>`. It also marks the message as belonging to that job, which is how a
message posted by a process that died is found again.
"""

import contextlib
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

import discord

from bot.chat.messages import member_texts
from bot.chat.permissions.channel_checks import requester
from bot.chat.views.button_errors import answering
from bot.domain.jobs import ENDED, CancelResult, Job

if TYPE_CHECKING:
    from bot.chat.transport.client import ZoetropeBot


class ButtonKind(StrEnum):
    """What a button is for, and so which message it stands under."""

    CANCEL = "cancel"  # the status message of a job that is not over
    CANCEL_PAID = "spend"  # the question whether to give up what is paid for
    STATUS = "status"  # removes the status message of a job that is over
    VIDEO = "video"  # removes the video
    NOTE = "note"  # removes the note about a failure


STATUS_KINDS = frozenset({ButtonKind.CANCEL, ButtonKind.STATUS})

_LABELS = {
    ButtonKind.CANCEL: ("Cancel", discord.ButtonStyle.secondary),
    ButtonKind.CANCEL_PAID: ("Cancel anyway", discord.ButtonStyle.danger),
    ButtonKind.STATUS: ("Remove", discord.ButtonStyle.secondary),
    ButtonKind.VIDEO: ("Remove", discord.ButtonStyle.secondary),
    ButtonKind.NOTE: ("Remove", discord.ButtonStyle.secondary),
}


def custom_id(kind: ButtonKind, job_id: str) -> str:
    """The custom id of a button of that kind for that job."""
    return f"zoetrope:{kind}:{job_id}"


class JobButton(
    discord.ui.DynamicItem[discord.ui.Button[Any]],
    template=r"zoetrope:(?P<kind>cancel|spend|status|video|note):(?P<job>[A-Za-z0-9_-]{1,20})",
):
    """One button of one job, rebuilt from its custom id whenever somebody clicks it."""

    def __init__(self, kind: ButtonKind, job_id: str) -> None:
        label, style = _LABELS[kind]
        super().__init__(discord.ui.Button(label=label, style=style, custom_id=custom_id(kind, job_id)))
        self.kind = kind
        self.job_id = job_id

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """The button that was clicked."""
        del interaction, item
        return cls(ButtonKind(match["kind"]), match["job"])

    @answering
    async def callback(self, interaction: discord.Interaction["ZoetropeBot"]) -> None:
        """Does what the button says, if the one who clicks may."""
        asked = self.kind is ButtonKind.CANCEL_PAID
        # "Thinking" makes a private answer of its own; the question is itself private and answered in place.
        await interaction.response.defer(ephemeral=True, thinking=not asked)
        if asked or self.kind is ButtonKind.CANCEL:
            await cancel(interaction, self.job_id, paid_too=asked)
        else:
            await self._remove(interaction)

    async def _remove(self, interaction: discord.Interaction["ZoetropeBot"]) -> None:
        if not interaction.permissions.manage_messages:
            await interaction.client.service.own_job(self.job_id, requester(interaction))
        if interaction.message is not None:
            with contextlib.suppress(discord.NotFound):  # clicked twice, or a moderator was quicker
                await interaction.message.delete()
        await interaction.edit_original_response(content=member_texts.REMOVED)


async def cancel(interaction: discord.Interaction["ZoetropeBot"], job_id: str, *, paid_too: bool) -> None:
    """Cancels a member's own job and says what that means; asks first where it is paid for. Deferred before."""
    result = await interaction.client.service.cancel(job_id, requester(interaction), paid_too=paid_too)
    if result is CancelResult.PAID:
        question = view(ButtonKind.CANCEL_PAID, job_id)
        await interaction.edit_original_response(content=member_texts.CANCEL_ASKS, view=question)
        return
    free = result is CancelResult.CANCELLED
    text = member_texts.CANCELLED_FREE if free else member_texts.CANCELLED_PAID
    await interaction.edit_original_response(content=text, view=None)


def view(kind: ButtonKind, job_id: str) -> discord.ui.View:
    """A row of one button. It holds nothing in memory: the click is routed by the custom id."""
    row = discord.ui.View(timeout=None)
    row.add_item(JobButton(kind, job_id))
    return row


def status_view(job: Job) -> discord.ui.View:
    """The button under a status message: cancel while there is something to cancel, then remove."""
    return view(ButtonKind.STATUS if job.state in ENDED else ButtonKind.CANCEL, job.id)
