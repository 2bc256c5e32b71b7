"""`/video-admin`: members who can't make videos."""

import discord
from discord import app_commands
from discord.app_commands import Range

from bot.chat.context import Interaction
from bot.chat.messages import policy_texts
from bot.chat.messages.audit_texts import answer
from bot.chat.permissions.option_validation import reason_in
from bot.chat.replies import answer_long
from bot.domain.durations import parse_duration
from cogs.video_admin.group import begin, group

NO_REASON = "no reason given"


@group.command(name="ban", description="Stop a member from making videos in this server")
@app_commands.describe(
    member="Works by id too, for someone who left",
    reason="They see this when they ask for a video",
    expires="How long, such as 30m, 12h or 7d; leave it out for a permanent ban",
)
async def ban(
    interaction: Interaction,
    member: discord.User,
    reason: Range[str, 1, 300] = NO_REASON,
    expires: str | None = None,
) -> None:
    """Bans a member from the bot."""
    service, admin = await begin(interaction)
    lasting = None if expires is None else parse_duration(expires)
    result = await service.bans.ban(admin, member.id, reason_in(reason) or NO_REASON, lasting)
    await interaction.edit_original_response(content=policy_texts.banned(result))


@group.command(name="unban", description="Let a member make videos again, including one the bot paused")
@app_commands.describe(member="Works by id too; /video-admin bans shows who is banned")
async def unban(interaction: Interaction, member: discord.User) -> None:
    """Lifts a ban."""
    service, admin = await begin(interaction)
    entry = await service.bans.unban(admin, member.id)
    await interaction.edit_original_response(content=answer(entry))


@group.command(name="bans", description="Who is banned from making videos here, why and until when")
async def bans(interaction: Interaction) -> None:
    """Shows the bans."""
    service, admin = await begin(interaction)
    active = await service.bans.active(admin)
    whole = policy_texts.bans_file(active)
    await answer_long(interaction, policy_texts.bans(active), filename="bans.txt", whole=whole)
