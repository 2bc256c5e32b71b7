"""`/video-admin`: the server as a whole. Its settings, pausing, the log and the usage report."""

import io
from typing import Literal

import discord
from discord import app_commands

from bot.chat.context import Interaction
from bot.chat.messages import admin_texts, audit_texts, usage_texts
from bot.chat.permissions.channel_permissions import is_public, refuse_unusable_log_channel
from bot.chat.replies import answer_long
from bot.chat.views.admin_buttons import show_settings
from bot.domain.usage_stats import Period
from bot.services.admin.settings import AUDIT_LOG_MAX
from cogs.video_admin.group import begin, group

log = app_commands.Group(name="log", description="Where I report what happens, and who changed what", parent=group)


@group.command(
    name="settings", description="All settings for videos in this server, and the commands that change them"
)
async def settings(interaction: Interaction) -> None:
    """Shows all settings, with buttons for pause and resume."""
    _, admin = await begin(interaction)
    await show_settings(interaction, admin)


@group.command(name="pause", description="Stop taking new videos; queued and running ones are still finished")
async def pause(interaction: Interaction) -> None:
    """Pauses the bot in this server."""
    service, admin = await begin(interaction)
    entry = await service.settings.set_paused(admin, paused=True)
    await interaction.edit_original_response(content=admin_texts.paused(entry))


@group.command(name="resume", description="Take new videos again")
async def resume(interaction: Interaction) -> None:
    """Ends the pause."""
    service, admin = await begin(interaction)
    entry = await service.settings.set_paused(admin, paused=False)
    await interaction.edit_original_response(content=audit_texts.answer(entry))


@group.command(name="quotes", description="Whether I say what a video takes and costs before it's ordered")
@app_commands.describe(
    shown="on: members see what it takes of their limits, admins also the cost; off: nothing is said"
)
async def set_quotes(interaction: Interaction, shown: Literal["on", "off"]) -> None:
    """Sets whether orders are preceded by what they take."""
    service, admin = await begin(interaction)
    entry = await service.settings.set_quotes_shown(admin, shown=shown == "on")
    await interaction.edit_original_response(content=audit_texts.answer(entry))


@log.command(name="channel", description="Choose the channel where I report changes, refusals and failures")
@app_commands.describe(channel="Preferably one that only moderators can see")
async def set_channel(interaction: Interaction, channel: discord.TextChannel) -> None:
    """Sets the log channel, if the bot can post there."""
    service, admin = await begin(interaction)
    refuse_unusable_log_channel(channel)
    entry = await service.settings.log_to(admin, channel.id)
    text = admin_texts.log_channel(entry, channel.id, public=is_public(channel))
    await interaction.edit_original_response(content=text)


@log.command(name="off", description="Stop reporting; the audit log is still kept")
async def off(interaction: Interaction) -> None:
    """Turns the log off."""
    service, admin = await begin(interaction)
    entry = await service.settings.log_to(admin, None)
    await interaction.edit_original_response(content=audit_texts.answer(entry))


@log.command(name="show", description="The audit log: who changed what, newest first")
@app_commands.describe(number="How many changes; 15 if you leave it out")
async def show(interaction: Interaction, number: app_commands.Range[int, 1, AUDIT_LOG_MAX] = 15) -> None:
    """Shows the latest changes, as a file if there are many."""
    service, admin = await begin(interaction)
    entries = await service.settings.audit_log(admin, number)
    text, whole = audit_texts.audit_log_lines(entries), audit_texts.audit_log_file(entries)
    await answer_long(interaction, text, filename="audit-log.txt", whole=whole)


@group.command(
    name="usage", description="Videos, members, failures, waiting times and cost, with a chart and a table"
)
@app_commands.describe(period="Which days (UTC); the last 7 days if you leave it out")
@app_commands.choices(
    period=[app_commands.Choice(name=text, value=period.value) for period, text in usage_texts.PERIODS.items()]
)
async def show_usage(interaction: Interaction, period: str = Period.WEEK.value) -> None:
    """Shows the server's usage in a period."""
    service, admin = await begin(interaction)
    report = await service.usage.report(admin, Period(period), limit_bytes=interaction.filesize_limit)
    files = [discord.File(io.BytesIO(report.csv), usage_texts.csv_name(report))] if report.csv_lines else []
    if report.chart is not None:
        files.insert(
            0, discord.File(io.BytesIO(report.chart), "usage.png", description=usage_texts.described(report))
        )
    await interaction.edit_original_response(content=usage_texts.usage(report), attachments=files)
