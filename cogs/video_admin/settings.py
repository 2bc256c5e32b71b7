"""`/video-admin settings`, `pause` and `resume`: the server as a whole."""

import discord
from bot.chat.permissions.command_permissions import admin_of

from bot.chat.messages import admin_texts
from bot.chat.transport.client import ZoetropeBot
from bot.chat.views.settings_buttons import show_settings
from cogs.video_admin.group import group


@group.command(name="settings", description="All that is set for videos in this server, and what changes it")
async def settings(interaction: discord.Interaction[ZoetropeBot]) -> None:
    """Shows all that is set, with buttons for pause and resume."""
    await interaction.response.defer(ephemeral=True)
    await show_settings(interaction, await admin_of(interaction))


@group.command(name="pause", description="Take no new videos; what is queued is kept, what runs is posted")
async def pause(interaction: discord.Interaction[ZoetropeBot]) -> None:
    """Pauses the bot in this server."""
    await interaction.response.defer(ephemeral=True)
    change = await interaction.client.admins.settings.pause(await admin_of(interaction))
    await interaction.edit_original_response(content=admin_texts.paused(change))


@group.command(name="resume", description="Take new videos again")
async def resume(interaction: discord.Interaction[ZoetropeBot]) -> None:
    """Ends the pause."""
    await interaction.response.defer(ephemeral=True)
    change = await interaction.client.admins.settings.resume(await admin_of(interaction))
    await interaction.edit_original_response(content=admin_texts.changed(change))
