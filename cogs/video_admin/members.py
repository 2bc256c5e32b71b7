"""`/video-admin`: what a single member gets or loses. Extra videos and bans; limits are in `limits`."""

import discord
from discord import app_commands
from discord.app_commands import Range

from bot.chat.context import Interaction
from bot.chat.messages import admin_texts, audit_texts, policy_texts
from bot.chat.permissions.option_validation import reason_in
from bot.chat.replies import answer_long
from bot.domain.durations import parse_duration
from bot.services.admin.credits import CREDITS_MAX, REASON_MAX
from cogs.video_admin.group import begin, group

Number = Range[int, 1, CREDITS_MAX]
ReasonText = Range[str, 1, REASON_MAX]


@group.command(name="grant", description="Give a member extra videos, used once they've reached their limit")
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
    expires: Range[str, 1, 60] | None = None,
    reason: ReasonText | None = None,
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
    reason: ReasonText | None = None,
) -> None:
    """Takes credits back, even from one who left; never those that a running job uses."""
    service, admin = await begin(interaction)
    change = await service.credits.revoke(admin, member.id, credits, reason=reason_in(reason))
    await interaction.edit_original_response(content=admin_texts.credits_changed(change))


@group.command(name="ban", description="Stop a member from making videos in this server")
@app_commands.describe(
    member="Works by id too, for someone who left",
    reason="They see this when they ask for a video",
    expires="How long, such as 30m, 12h or 7d; leave it out for a permanent ban",
)
async def ban(
    interaction: Interaction,
    member: discord.User,
    reason: Range[str, 1, 300] = audit_texts.NO_REASON,
    expires: str | None = None,
) -> None:
    """Bans a member from the bot."""
    service, admin = await begin(interaction)
    lasting = None if expires is None else parse_duration(expires)
    result = await service.bans.ban(admin, member.id, reason_in(reason) or audit_texts.NO_REASON, lasting)
    await interaction.edit_original_response(content=policy_texts.banned(result))


@group.command(name="unban", description="Let a member make videos again, including one the bot paused")
@app_commands.describe(member="Works by id too; /video-admin bans shows who is banned or paused")
async def unban(interaction: Interaction, member: discord.User) -> None:
    """Lifts a ban."""
    service, admin = await begin(interaction)
    entry = await service.bans.unban(admin, member.id)
    await interaction.edit_original_response(content=audit_texts.answer(entry))


@group.command(name="bans", description="Who is banned or paused here, why and until when")
async def bans(interaction: Interaction) -> None:
    """Shows the bans."""
    service, admin = await begin(interaction)
    active = await service.bans.active(admin)
    whole = policy_texts.bans_file(active)
    await answer_long(interaction, policy_texts.bans(active), filename="bans.txt", whole=whole)
