"""`/video-admin`: members who may order nothing."""

import discord
from discord import app_commands
from discord.app_commands import Range

from bot.chat.authorization import admin_of
from bot.chat.context import Interaction, services_of
from bot.chat.messages import admin_texts, policy_texts
from bot.chat.replies import answer_long
from bot.domain.durations import parse_span
from cogs.video_admin.group import group


@group.command(name="ban", description="Keep a member from making videos in this server")
@app_commands.describe(
    member="Also somebody who left, by id",
    reason="They read this when they ask for a video",
    expires="After how long, such as 30m, 12h or 7d; for good where you leave it out",
)
async def ban(
    interaction: Interaction,
    member: discord.User,
    reason: Range[str, 1, 300] = "no reason was given",
    expires: str | None = None,
) -> None:
    """Bans a member from the bot."""
    await interaction.response.defer(ephemeral=True)
    admin = await admin_of(interaction)
    lasting = None if expires is None else parse_span(expires)
    result = await services_of(interaction).admins.bans.ban(admin, member.id, reason, lasting)
    await interaction.edit_original_response(content=policy_texts.banned(result))


@group.command(name="unban", description="Let a member make videos again, also one the bot has paused")
@app_commands.describe(member="Also somebody who left, by id; /video-admin bans shows who is banned")
async def unban(interaction: Interaction, member: discord.User) -> None:
    """Lifts a ban."""
    await interaction.response.defer(ephemeral=True)
    admin = await admin_of(interaction)
    change = await services_of(interaction).admins.bans.unban(admin, member.id)
    await interaction.edit_original_response(content=admin_texts.changed(change))


@group.command(name="bans", description="Who may make no videos in this server, why and until when")
async def bans(interaction: Interaction) -> None:
    """Shows the bans."""
    await interaction.response.defer(ephemeral=True)
    admin = await admin_of(interaction)
    standing = await services_of(interaction).admins.bans.standing(admin)
    whole = policy_texts.bans_file(standing)
    await answer_long(interaction, policy_texts.bans(standing), filename="bans.txt", whole=whole)
