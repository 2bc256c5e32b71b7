"""The bot's permissions in a channel: what it needs, what is missing, and whether everyone can read there.

Refusals name what an admin has to change and come before anything costs money.
"""

from typing import Any

import discord

from bot.chat.messages.markdown import relative
from bot.chat.messages.reason_texts import FREE, Said
from bot.domain.errors import NotPossible

_NAMES = {
    "view_channel": "View Channel",
    "send_messages": "Send Messages",
    "send_messages_in_threads": "Send Messages in Threads",
    "attach_files": "Attach Files",
    "read_message_history": "Read Message History",
}
_VOICE = {"connect": "Connect"}
"""Needed as well in the chats of voice channels and stages (discord-api-docs PR 5111)."""

PERMISSIONS = discord.Permissions(**dict.fromkeys(_NAMES, True))
"""The permissions that the bot needs; the invite link asks for these only."""


def missing_permissions(granted: discord.Permissions, *, thread: bool) -> list[str]:
    """The missing permissions, named as in Discord's settings."""
    irrelevant = "send_messages" if thread else "send_messages_in_threads"
    return [name for flag, name in _NAMES.items() if flag != irrelevant and not getattr(granted, flag)]


def refuse_where_unpostable(interaction: discord.Interaction[Any]) -> None:
    """Refuses an order from a channel where the video couldn't be posted. Raises: NotPossible.

    Direct messages need no permissions.
    """
    if interaction.guild_id is None:
        return
    granted, channel = interaction.app_permissions, interaction.channel
    me = None if interaction.guild is None else interaction.guild.me
    # While moderators have timed the bot out it may only read; its permissions come back by themselves.
    if me is not None and me.timed_out_until is not None and me.is_timed_out():
        ends = relative(me.timed_out_until)
        why = f"I can't post videos here: I'm timed out in this server, which ends {ends}."
        raise NotPossible(Said(f"{why} Try again then, or ask a moderator to end it. {FREE}"))
    if isinstance(channel, discord.Thread) and channel.locked and not granted.manage_threads:
        locked = "I can't post videos here: this thread is locked."
        raise NotPossible(Said(f"{locked} Ask a moderator to unlock it, or use another channel. {FREE}"))
    missing = missing_permissions(granted, thread=isinstance(channel, discord.Thread))
    if isinstance(channel, discord.VoiceChannel | discord.StageChannel):
        missing += [name for flag, name in _VOICE.items() if not getattr(granted, flag)]
    if missing:
        needed = f"I can't post videos here: I need {_listed(missing)}."
        raise NotPossible(Said(f"{needed} Ask an admin to allow that, or use another channel. {FREE}"))


def refuse_unusable_log_channel(channel: discord.TextChannel) -> None:
    """Refuses a log channel where the bot couldn't post or find its own messages. Raises: NotPossible."""
    missing = missing_permissions(channel.permissions_for(channel.guild.me), thread=False)
    if missing:
        needed = f"I can't post my log in {channel.mention}, because I don't have {_listed(missing)} there."
        how = "Grant that in the channel's settings, then try again."
        raise NotPossible(Said(f"{needed} {how} Nothing was changed."))


def is_public(channel: discord.TextChannel) -> bool:
    """Whether everyone in the server can read the channel."""
    return channel.permissions_for(channel.guild.default_role).view_channel


def _listed(names: list[str]) -> str:
    bold = [f"**{name}**" for name in names]
    return bold[0] if len(bold) == 1 else f"{', '.join(bold[:-1])} and {bold[-1]}"


def invite_link(application_id: int) -> str:
    """The link that adds the bot to a server with the permissions it needs and no others."""
    return discord.utils.oauth_url(
        application_id, permissions=PERMISSIONS, scopes=("bot", "applications.commands")
    )
