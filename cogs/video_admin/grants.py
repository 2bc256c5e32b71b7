"""`/video-admin grant` and `revoke`: extra videos for members."""

import discord
from discord import app_commands

from bot.chat.context import Interaction
from bot.chat.messages import admin_texts
from bot.chat.permissions.option_validation import reason_in
from bot.services.admin.credits import CREDITS_MAX, REASON_MAX
from cogs.video_admin.group import begin, group

Number = app_commands.Range[int, 1, CREDITS_MAX]
Reason = app_commands.Range[str, 1, REASON_MAX]


@group.command(name="grant", description="Give a member extra videos, used once their window is full")
@app_commands.describe(
    member="Who gets them",
    credits="How many",
    expires="When they expire, such as 12h or 30d; never if you leave it out",
    reason="Why; kept in the ledger and the audit log",
)
async def grant(
    interaction: Interaction,
    member: discord.Member,
    credits: Number,  # noqa: A002 - what the option is called
    expires: app_commands.Range[str, 1, 60] | None = None,
    reason: Reason | None = None,
) -> None:
    """Grants credits to a member of the server."""
    service, admin = await begin(interaction)
    change = await service.credits.grant(admin, member.id, credits, expires=expires, reason=reason_in(reason))
    await interaction.edit_original_response(content=admin_texts.credits_changed(change))


@group.command(name="revoke", description="Take extra videos back from a member")
@app_commands.describe(
    member="From whom",
    credits="How many; all of them if you leave it out",
    reason="Why; kept in the ledger and the audit log",
)
async def revoke(
    interaction: Interaction,
    member: discord.User,
    credits: Number | None = None,  # noqa: A002 - what the option is called
    reason: Reason | None = None,
) -> None:
    """Takes credits back, also from one who left; never those that a running job holds."""
    service, admin = await begin(interaction)
    change = await service.credits.revoke(admin, member.id, credits, reason=reason_in(reason))
    await interaction.edit_original_response(content=admin_texts.credits_changed(change))
