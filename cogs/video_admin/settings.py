"""`/video-admin settings`, `pause` and `resume`: the server as a whole."""

from bot.chat.authorization import admin_of
from bot.chat.context import Interaction, services_of
from bot.chat.messages import admin_texts
from bot.chat.views.admin_buttons import show_settings
from cogs.video_admin.group import group


@group.command(name="settings", description="All that is set for videos in this server, and what changes it")
async def settings(interaction: Interaction) -> None:
    """Shows all that is set, with buttons for pause and resume."""
    await interaction.response.defer(ephemeral=True)
    await show_settings(interaction, await admin_of(interaction))


@group.command(name="pause", description="Take no new videos; what is queued is kept, what runs is posted")
async def pause(interaction: Interaction) -> None:
    """Pauses the bot in this server."""
    await interaction.response.defer(ephemeral=True)
    change = await services_of(interaction).admins.settings.pause(await admin_of(interaction))
    await interaction.edit_original_response(content=admin_texts.paused(change))


@group.command(name="resume", description="Take new videos again")
async def resume(interaction: Interaction) -> None:
    """Ends the pause."""
    await interaction.response.defer(ephemeral=True)
    change = await services_of(interaction).admins.settings.resume(await admin_of(interaction))
    await interaction.edit_original_response(content=admin_texts.changed(change))
