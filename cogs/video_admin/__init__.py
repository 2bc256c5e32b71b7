"""`/video-admin`: a server's admins manage the bot. One module for each thing they look after."""

from bot.chat.context import ServiceBot
from bot.chat.views.admin_buttons import CancelPaidButton, PauseResumeButton
from bot.chat.views.approval_cards import ApprovalButton
from cogs.video_admin import bans, grants, jobs, limits, log, rules, settings, usage
from cogs.video_admin.group import group

__all__ = ["bans", "grants", "jobs", "limits", "log", "rules", "settings", "usage"]


async def setup(bot: ServiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    bot.add_dynamic_items(PauseResumeButton, CancelPaidButton, ApprovalButton)
    bot.tree.add_command(group)
