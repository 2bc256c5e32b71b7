"""`/videos`: what a member may see and do about their own videos."""

import discord
from discord import app_commands
from discord.ext import commands

from bot.chat.id_input import CHOICES_MAX
from bot.chat.messages import member_texts
from bot.chat.permissions.channel_checks import requester
from bot.chat.permissions.command_permissions import may_manage
from bot.chat.transport.client import ZoetropeBot
from bot.chat.views.job_buttons import cancel
from bot.domain.jobs import ENDED


@app_commands.guild_only()
class Videos(commands.GroupCog, group_name="videos", group_description="Your own videos"):
    """One's own jobs and quota, always answered privately."""

    @app_commands.command(description="How many videos you've used, and when your next one unlocks")
    async def quota(self, interaction: discord.Interaction[ZoetropeBot]) -> None:
        """Shows the member's quota in this server."""
        await interaction.response.defer(ephemeral=True)
        result = await interaction.client.service.allowance(
            requester(interaction, admin=await may_manage(interaction, fresh=False))
        )
        await interaction.edit_original_response(content=member_texts.quota(result))

    @app_commands.command(name="list", description="Your latest videos: their status, and where to find them")
    async def list_jobs(self, interaction: discord.Interaction[ZoetropeBot]) -> None:
        """Shows the member's latest jobs in this server."""
        await interaction.response.defer(ephemeral=True)
        who = requester(interaction)
        jobs = await interaction.client.service.recent(who.guild_id, who.user_id)
        await interaction.edit_original_response(content=member_texts.job_list(jobs))

    @app_commands.command(name="cancel", description="Cancel a video that isn't finished")
    @app_commands.describe(video="Which one")
    async def cancel_job(self, interaction: discord.Interaction[ZoetropeBot], video: str) -> None:
        """Cancels one of the member's jobs; asks first where it is paid for already."""
        await interaction.response.defer(ephemeral=True)
        await cancel(interaction, video, paid_too=False)

    @cancel_job.autocomplete("video")
    async def own_active(
        self, interaction: discord.Interaction[ZoetropeBot], current: str
    ) -> list[app_commands.Choice[str]]:
        """The member's jobs that haven't ended."""
        who = requester(interaction)
        jobs = await interaction.client.service.recent(who.guild_id, who.user_id, limit=CHOICES_MAX)
        return [
            app_commands.Choice(name=member_texts.choice(job), value=job.id)
            for job in jobs
            if job.state not in ENDED and current.casefold() in member_texts.choice(job).casefold()
        ]


async def setup(bot: ZoetropeBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Videos())
