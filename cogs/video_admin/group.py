"""The group that all `/video-admin` commands belong to.

Discord shows it to those with *Manage Server* unless the server's integration settings say otherwise; the tree
asks `bot.chat.authorization` again before each of its commands and autocompletes.
"""

import discord
from discord import app_commands

group = app_commands.Group(
    name="video-admin",
    description="Manage videos in this server",
    guild_only=True,
    default_permissions=discord.Permissions(manage_guild=True),
)
