"""Whether a channel is fit to be a log channel: the bot must be able to post, not everybody should read it."""

import discord

from bot.chat.messages.reason_texts import Said
from bot.domain.errors import NotPossible

_NEEDED = {
    "view_channel": "View Channel",
    "send_messages": "Send Messages",
    "attach_files": "Attach Files",
    "read_message_history": "Read Message History",
}
"""Files: the pictures that moderators are asked about. History: what was told already, before a second try."""


def refuse_unfit(channel: discord.TextChannel) -> None:
    """Refuses a channel where the log could not be told. Raises: NotPossible, naming what is missing."""
    granted = channel.permissions_for(channel.guild.me)
    missing = [f"**{name}**" for flag, name in _NEEDED.items() if not getattr(granted, flag)]
    if missing:
        needed = f"I can't post in {channel.mention}: I need {' and '.join(missing)} there."
        allow = "Allow that in the channel's settings and try again. Nothing was changed."
        raise NotPossible(Said(f"{needed} {allow}"))


def is_public(channel: discord.TextChannel) -> bool:
    """Whether everybody in the server can read the channel."""
    return channel.permissions_for(channel.guild.default_role).view_channel
