"""`/video-admin`: a server's admins manage the bot. One module for each thing they look after."""

from bot.chat.transport.client import ZoetropeBot
from cogs.video_admin import bans, grants, jobs, limits, log, rules, settings, usage
from cogs.video_admin.group import group

__all__ = ["bans", "grants", "jobs", "limits", "log", "rules", "settings", "usage"]


async def setup(bot: ZoetropeBot) -> None:
    """Called by discord.py when the extension is loaded."""
    bot.tree.add_command(group)
