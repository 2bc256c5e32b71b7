"""`/video-admin log`: where changes, refusals and failures are reported, and who changed what."""

import discord
from discord import app_commands

from bot.chat.authorization import admin_of
from bot.chat.context import Interaction, services_of
from bot.chat.messages import admin_texts
from bot.chat.permissions.channel_permissions import is_public, refuse_unfit
from bot.chat.replies import answer_long
from bot.services.admin.settings import TRAIL_MAX
from cogs.video_admin.group import group

log = app_commands.Group(
    name="log", description="Where it is told what happened, and who changed what", parent=group
)


@log.command(name="channel", description="The channel where changes, refusals and failures are reported")
@app_commands.describe(channel="Best one that only moderators see")
async def set_channel(interaction: Interaction, channel: discord.TextChannel) -> None:
    """Sets the log channel, once the bot may post there."""
    await interaction.response.defer(ephemeral=True)
    refuse_unfit(channel)
    change = await services_of(interaction).admins.settings.log_to(await admin_of(interaction), channel.id)
    text = admin_texts.log_channel(change, channel.id, public=is_public(channel))
    await interaction.edit_original_response(content=text)


@log.command(name="off", description="Report nothing any more; the audit trail is still kept")
async def off(interaction: Interaction) -> None:
    """Unsets the log channel."""
    await interaction.response.defer(ephemeral=True)
    change = await services_of(interaction).admins.settings.log_to(await admin_of(interaction), None)
    await interaction.edit_original_response(content=admin_texts.changed(change))


@log.command(name="show", description="The audit trail: who changed what, newest first")
@app_commands.describe(number="How many changes; 15, if left out")
async def show(interaction: Interaction, number: app_commands.Range[int, 1, TRAIL_MAX] = 15) -> None:
    """Shows the latest changes, as a file where they are many."""
    await interaction.response.defer(ephemeral=True)
    found = await services_of(interaction).admins.settings.trail(await admin_of(interaction), number)
    text, whole = admin_texts.trail(found), admin_texts.trail_file(found)
    await answer_long(interaction, text, filename="audit-trail.txt", whole=whole)
