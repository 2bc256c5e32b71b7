"""`/help`: what a member can do here and now."""

from discord import app_commands
from discord.ext import commands

from bot.chat.context import Interaction, ServiceBot
from bot.chat.help_screen import help_view


class Help(commands.Cog):
    """The first command that a newcomer tries."""

    @app_commands.command(name="help", description="What you can do here, and what you have left")
    @app_commands.guild_only()
    async def show_help(self, interaction: Interaction) -> None:
        """Shows the commands that the member may use, and whether they can order a video."""
        await interaction.response.defer(ephemeral=True)
        await interaction.edit_original_response(view=await help_view(interaction))


async def setup(bot: ServiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    await bot.add_cog(Help())
