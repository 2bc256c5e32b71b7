"""`/videos privacy`: what is kept about a member, a copy of it, and its deletion. Always answered privately."""

import io

import discord
from discord import app_commands

from bot.chat.messages import privacy_texts
from bot.chat.transport.client import ZoetropeBot
from bot.chat.views.erase_button import erase_view

group = app_commands.Group(name="privacy", description="Your data in all servers")


@group.command(name="show", description="What I keep about you, why and how long")
async def show(interaction: discord.Interaction[ZoetropeBot]) -> None:
    """Shows the terms as they are set."""
    text = privacy_texts.terms(interaction.client.privacy.terms)
    await interaction.response.send_message(text, ephemeral=True)


@group.command(name="export", description="Get a copy of everything I keep about you, as a file")
async def export(interaction: discord.Interaction[ZoetropeBot]) -> None:
    """Sends the member's own data over all servers."""
    await interaction.response.defer(ephemeral=True)
    parcel = await interaction.client.privacy.export(interaction.user.id, interaction.filesize_limit)
    file = discord.File(io.BytesIO(parcel.data), parcel.filename)
    await interaction.edit_original_response(content=privacy_texts.exported(parcel), attachments=[file])


@group.command(name="delete", description="Delete everything I keep about you (I'll ask first)")
async def delete(interaction: discord.Interaction[ZoetropeBot]) -> None:
    """Asks whether the member means it."""
    await interaction.response.defer(ephemeral=True)
    privacy = interaction.client.privacy
    text = privacy_texts.question(await privacy.outlook(interaction.user.id), privacy.terms)
    await interaction.edit_original_response(content=text, view=erase_view(interaction.user.id))


async def setup(bot: ZoetropeBot) -> None:
    """Called by discord.py when the extension is loaded, after that of `/videos`."""
    videos = bot.tree.get_command("videos")
    if not isinstance(videos, app_commands.Group):
        raise TypeError("cogs.videos has to be loaded before")
    videos.add_command(group)
