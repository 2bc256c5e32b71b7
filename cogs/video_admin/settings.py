"""`/video-admin settings`, `pause` and `resume`: the server as a whole."""

import discord

from bot.chat.messages import admin_texts
from bot.chat.messages.audit_texts import answer
from bot.chat.permissions.command_permissions import admin_of
from bot.chat.transport.client import ZoetropeBot
from bot.chat.views.admin_buttons import show_settings
from cogs.video_admin.group import group


@group.command(
    name="settings", description="All settings for videos in this server, and the commands that change them"
)
async def settings(interaction: discord.Interaction[ZoetropeBot]) -> None:
    """Shows all that is set, with buttons for pause and resume."""
    await interaction.response.defer(ephemeral=True)
    await show_settings(interaction, await admin_of(interaction))


@group.command(name="pause", description="Stop taking new videos; queued and running ones are still finished")
async def pause(interaction: discord.Interaction[ZoetropeBot]) -> None:
    """Pauses the bot in this server."""
    await interaction.response.defer(ephemeral=True)
    entry = await interaction.client.admins.settings.pause(await admin_of(interaction))
    await interaction.edit_original_response(content=admin_texts.paused(entry))


@group.command(name="resume", description="Take new videos again")
async def resume(interaction: discord.Interaction[ZoetropeBot]) -> None:
    """Ends the pause."""
    await interaction.response.defer(ephemeral=True)
    entry = await interaction.client.admins.settings.resume(await admin_of(interaction))
    await interaction.edit_original_response(content=answer(entry))
