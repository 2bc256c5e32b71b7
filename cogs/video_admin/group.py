"""The group that all `/video-admin` commands belong to.

Discord shows it to those with *Manage Server* unless the server's integration settings say otherwise; the command
tree checks with `bot.chat.authorization` again before each command and autocomplete.
"""

import discord
from discord import app_commands

from bot.chat.authorization import admin_of
from bot.chat.context import Interaction, services_of
from bot.services.admin.audited import Admin
from bot.services.admin.service import AdminService

group = app_commands.Group(
    name="video-admin",
    description="Manage videos in this server",
    guild_only=True,
    default_permissions=discord.Permissions(manage_guild=True),
)


async def begin(interaction: Interaction) -> tuple[AdminService, Admin]:
    """Defers the private reply; returns the services and the admin. Raises: NotPossible for anybody else."""
    await interaction.response.defer(ephemeral=True)
    return services_of(interaction).admins, await admin_of(interaction)
