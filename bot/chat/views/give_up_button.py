"""The button under the question whether an admin gives up a video that is paid for.

It works for ever, like all buttons here: what it is about stands in its custom id. Whoever clicks it is asked
for the right to manage the bot once more.
"""

import re
from typing import TYPE_CHECKING, Any, Self

import discord

from bot.chat.messages import job_overview_texts
from bot.chat.permissions.command_permissions import admin_of
from bot.chat.views.persistent_button import answering
from bot.domain.jobs import CancelResult

if TYPE_CHECKING:
    from bot.chat.transport.client import ZoetropeBot


class GiveUpButton(
    discord.ui.DynamicItem[discord.ui.Button[Any]],
    template=r"zoetrope-admin:give-up:(?P<job>[A-Za-z0-9_-]{1,20})",
):
    """Cancels a server's video for an admin, though it is paid for."""

    def __init__(self, job_id: str) -> None:
        super().__init__(
            discord.ui.Button(
                label="Cancel it, though it is paid for",
                style=discord.ButtonStyle.danger,
                custom_id=f"zoetrope-admin:give-up:{job_id}",
            )
        )
        self.job_id = job_id

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """The button that was clicked."""
        del interaction, item
        return cls(match["job"])

    @answering
    async def callback(self, interaction: discord.Interaction["ZoetropeBot"]) -> None:
        """Gives the video up, if the one who clicks may; the answer takes the place of the question."""
        await interaction.response.defer()
        await cancel(interaction, self.job_id, paid_too=True)


async def cancel(interaction: discord.Interaction["ZoetropeBot"], job_id: str, *, paid_too: bool) -> None:
    """Cancels a job of the admin's server and says what that means; asks first where it is paid for.

    Deferred before. Raises: NotPossible.
    """
    admin = await admin_of(interaction)
    done = await interaction.client.admins.roster.cancel(admin, job_id, paid_too=paid_too)
    view = None
    if done.result is CancelResult.PAID:
        view = discord.ui.View(timeout=None)
        view.add_item(GiveUpButton(job_id))
    await interaction.edit_original_response(content=job_overview_texts.cancelled(done), view=view)
