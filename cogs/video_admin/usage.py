"""`/video-admin usage`: what the server used, made and spent, with a chart and a table."""

import io

import discord
from discord import app_commands

from bot.chat.context import Interaction
from bot.chat.messages import usage_texts
from bot.domain.usage_stats import Period
from cogs.video_admin.group import begin, group


@group.command(
    name="usage", description="Videos, members, failures, waiting times and cost, with a chart and a table"
)
@app_commands.describe(period="Which days (UTC); the last 7 days if you leave it out")
@app_commands.choices(
    period=[app_commands.Choice(name=text, value=period.value) for period, text in usage_texts.PERIODS.items()]
)
async def show_usage(interaction: Interaction, period: str = Period.WEEK.value) -> None:
    """Shows what the server used in a period."""
    service, admin = await begin(interaction)
    report = await service.usage.report(admin, Period(period), limit_bytes=interaction.filesize_limit)
    files = [discord.File(io.BytesIO(report.csv), usage_texts.csv_name(report))] if report.csv_lines else []
    if report.chart is not None:
        files.insert(
            0, discord.File(io.BytesIO(report.chart), "usage.png", description=usage_texts.described(report))
        )
    await interaction.edit_original_response(content=usage_texts.usage(report), attachments=files)
