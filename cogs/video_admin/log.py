"""`/video-admin log`: where changes, refusals and failures are reported, and who changed what."""

import discord
from discord import app_commands

from bot.chat.context import Interaction
from bot.chat.messages import admin_texts, audit_texts
from bot.chat.permissions.channel_permissions import is_public, refuse_unusable_log_channel
from bot.chat.replies import answer_long
from bot.services.admin.settings import AUDIT_LOG_MAX
from cogs.video_admin.group import begin, group

log = app_commands.Group(name="log", description="Where I report what happens, and who changed what", parent=group)


@log.command(name="channel", description="Choose the channel where I report changes, refusals and failures")
@app_commands.describe(channel="Preferably one that only moderators can see")
async def set_channel(interaction: Interaction, channel: discord.TextChannel) -> None:
    """Sets the log channel, once the bot may post there."""
    service, admin = await begin(interaction)
    refuse_unusable_log_channel(channel)
    entry = await service.settings.log_to(admin, channel.id)
    text = admin_texts.log_channel(entry, channel.id, public=is_public(channel))
    await interaction.edit_original_response(content=text)


@log.command(name="off", description="Stop reporting; the audit log is still kept")
async def off(interaction: Interaction) -> None:
    """Unsets the log channel."""
    service, admin = await begin(interaction)
    entry = await service.settings.log_to(admin, None)
    await interaction.edit_original_response(content=audit_texts.answer(entry))


@log.command(name="show", description="The audit log: who changed what, newest first")
@app_commands.describe(number="How many changes; 15 if you leave it out")
async def show(interaction: Interaction, number: app_commands.Range[int, 1, AUDIT_LOG_MAX] = 15) -> None:
    """Shows the latest changes; as a file if they are many."""
    service, admin = await begin(interaction)
    entries = await service.settings.audit_log(admin, number)
    text, whole = audit_texts.audit_log_lines(entries), audit_texts.audit_log_file(entries)
    await answer_long(interaction, text, filename="audit-log.txt", whole=whole)
