"""The buttons for a server's admins: under the settings, and under the question about a video that is paid for.

Each click checks again whether the member may manage the bot.
"""

import discord

from bot.chat.authorization import admin_of
from bot.chat.context import Interaction, services_of
from bot.chat.messages import admin_texts, cancellation_texts
from bot.chat.messages.audit_texts import answer
from bot.chat.views.persistent_button import PersistentButton, row_of
from bot.domain.jobs import CancelResult
from bot.services.admin.audited import Admin


class PauseResumeButton(PersistentButton, template=r"zoetrope-admin:(?P<kind>pause|resume)"):
    """Pauses or resumes the bot in the server where it is clicked."""

    def __init__(self, kind: str, *, disabled: bool = False) -> None:
        self.pauses = kind == "pause"
        style = discord.ButtonStyle.danger if self.pauses else discord.ButtonStyle.success
        super().__init__(kind.capitalize(), f"zoetrope-admin:{kind}", style, disabled=disabled)

    async def act(self, interaction: Interaction) -> None:
        """Pauses or resumes, updates the message and says what changed."""
        admin = await admin_of(interaction)  # before the message is touched: a refusal leaves it as it is
        await interaction.response.defer()
        settings = services_of(interaction).admins.settings
        entry = await settings.set_paused(admin, paused=self.pauses)
        text = admin_texts.paused(entry) if self.pauses else answer(entry)
        await show_settings(interaction, admin)
        await interaction.followup.send(text, ephemeral=True)


async def show_settings(interaction: Interaction, admin: Admin) -> None:
    """Shows all settings. The interaction is already deferred."""
    overview = await services_of(interaction).admins.settings.overview(admin)
    paused = overview.guild.settings.paused
    row = row_of(PauseResumeButton("pause", disabled=paused), PauseResumeButton("resume", disabled=not paused))
    await interaction.edit_original_response(embed=admin_texts.settings(overview), view=row)


class CancelPaidButton(
    PersistentButton,
    template=r"zoetrope-admin:give-up:(?P<job>[A-Za-z0-9_-]{1,20})",
):
    """Confirms that a member's video is cancelled although it is paid for."""

    def __init__(self, job: str) -> None:
        label, style = "Cancel it anyway", discord.ButtonStyle.danger
        super().__init__(label, f"zoetrope-admin:give-up:{job}", style)
        self.job_id = job

    async def act(self, interaction: Interaction) -> None:
        """Cancels the video; the answer replaces the question."""
        await interaction.response.defer()
        await cancel(interaction, self.job_id, even_if_paid=True)


async def cancel(interaction: Interaction, job_id: str, *, even_if_paid: bool) -> None:
    """Cancels a job of the admin's server and says what that means; asks first if it is paid for.

    The interaction is already deferred. Raises: NotPossible.
    """
    admin = await admin_of(interaction)
    done = await services_of(interaction).admins.jobs.cancel(admin, job_id, even_if_paid=even_if_paid)
    view = row_of(CancelPaidButton(job_id)) if done.result is CancelResult.PAID else None
    await interaction.edit_original_response(content=cancellation_texts.of_admin(done), view=view)
