"""`/video-admin`: a server's admins manage the bot. One module for each thing they manage."""

from bot.chat.context import ServiceBot
from bot.chat.views.admin_buttons import CancelPaidButton, PauseResumeButton
from bot.chat.views.approval_cards import ApprovalButton
from cogs.video_admin import jobs, limits, members, rules, settings
from cogs.video_admin.group import group

__all__ = ["jobs", "limits", "members", "rules", "settings"]


async def setup(bot: ServiceBot) -> None:
    """Called by discord.py when the extension is loaded."""
    bot.add_dynamic_items(PauseResumeButton, CancelPaidButton, ApprovalButton)
    rules.add_commands_for(bot.catalog)
    bot.tree.add_command(group)
