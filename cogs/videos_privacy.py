"""`/videos privacy`: what is kept about a member, a copy of it, and its deletion. Always answered privately."""

import io

import discord
from discord import app_commands

from bot.chat.context import Interaction, ServiceBot, services_of
from bot.chat.messages import privacy_texts
from bot.chat.views.member_buttons import EraseButton
from bot.chat.views.persistent_button import row_of

group = app_commands.Group(name="privacy", description="Your data in all servers")


@group.command(name="show", description="What I keep about you, why and how long")
async def show(interaction: Interaction) -> None:
    """Shows the terms as set."""
    text = privacy_texts.terms(services_of(interaction).privacy.retention_policy)
    await interaction.response.send_message(text, ephemeral=True)


@group.command(name="export", description="Get a copy of everything I keep about you, as a file")
async def export(interaction: Interaction) -> None:
    """Sends the member's own data over all servers."""
    await interaction.response.defer(ephemeral=True)
    export = await services_of(interaction).privacy.export(interaction.user.id, interaction.filesize_limit)
    file = discord.File(io.BytesIO(export.data), export.filename)
    await interaction.edit_original_response(content=privacy_texts.exported(export), attachments=[file])


@group.command(name="delete", description="Delete everything I keep about you (I'll ask first)")
async def delete(interaction: Interaction) -> None:
    """Asks whether the member means it."""
    await interaction.response.defer(ephemeral=True)
    privacy = services_of(interaction).privacy
    text = privacy_texts.question(await privacy.preview_erasure(interaction.user.id), privacy.retention_policy)
    await interaction.edit_original_response(content=text, view=row_of(EraseButton(interaction.user.id)))


async def setup(bot: ServiceBot) -> None:
    """Called by discord.py when the extension is loaded, after that of `/videos`."""
    videos = bot.tree.get_command("videos")
    if not isinstance(videos, app_commands.Group):
        raise TypeError("cogs.videos has to be loaded before")
    videos.add_command(group)
    bot.add_dynamic_items(EraseButton)
