"""The settings message and its buttons. They work for ever: all they know stands in their custom ids.

Who clicks is asked for anew each time: the message may be older than the right to it.
"""

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

import discord

from bot.chat.messages import admin_texts
from bot.chat.messages.audit_texts import answer
from bot.chat.permissions.command_permissions import admin_of
from bot.chat.views.button_errors import answering
from bot.services.admin.audited import Admin

if TYPE_CHECKING:
    from bot.chat.transport.client import ZoetropeBot


class AdminAct(StrEnum):
    """What a button under the settings does."""

    PAUSE = "pause"
    RESUME = "resume"


_LABELS = {
    AdminAct.PAUSE: ("Pause", discord.ButtonStyle.danger),
    AdminAct.RESUME: ("Resume", discord.ButtonStyle.success),
}


class AdminButton(
    discord.ui.DynamicItem[discord.ui.Button[Any]], template=r"zoetrope-admin:(?P<act>pause|resume)"
):
    """Pauses or resumes the bot in the server where it is clicked."""

    def __init__(self, act: AdminAct, *, disabled: bool = False) -> None:
        label, style = _LABELS[act]
        super().__init__(
            discord.ui.Button(label=label, style=style, custom_id=f"zoetrope-admin:{act}", disabled=disabled)
        )
        self.act = act

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """The button that was clicked."""
        del interaction, item
        return cls(AdminAct(match["act"]))

    @answering
    async def callback(self, interaction: discord.Interaction["ZoetropeBot"]) -> None:
        """Does it, tells before → after, and brings the message up to date."""
        admin = await admin_of(interaction)  # before the message is touched: a refusal leaves it as it is
        await interaction.response.defer()
        settings = interaction.client.admins.settings
        if self.act is AdminAct.PAUSE:
            told = admin_texts.paused(await settings.pause(admin))
        else:
            told = answer(await settings.resume(admin))
        await show_settings(interaction, admin)
        await interaction.followup.send(told, ephemeral=True)


async def show_settings(interaction: discord.Interaction["ZoetropeBot"], admin: Admin) -> None:
    """Shows all that is set in the answer to the interaction, which is deferred."""
    overview = await interaction.client.admins.settings.overview(admin)
    paused = overview.guild.settings.paused
    row = discord.ui.View(timeout=None)
    row.add_item(AdminButton(AdminAct.PAUSE, disabled=paused))
    row.add_item(AdminButton(AdminAct.RESUME, disabled=not paused))
    await interaction.edit_original_response(embed=admin_texts.settings(overview), view=row)
