"""What is checked at Discord's border before anything costs something: may the bot post here, can it read this.

Raises `UserError`s that say what to do; the tree's one error handler shows them, privately.
"""

import asyncio
from typing import Any

import discord

from bot.chat.messages.reason_texts import Said
from bot.chat.posting import DISCORD_FAILED
from bot.domain.errors import NotPossible, PictureRefused
from bot.domain.policy import Requester
from bot.media.first_frame import PictureProblem, UnusablePicture, check_file_size

PERMISSIONS = discord.Permissions(
    view_channel=True,
    send_messages=True,
    send_messages_in_threads=True,
    attach_files=True,
    read_message_history=True,
)
"""What the bot needs where it works; the invite link asks for these and no more."""

OUTSIDE = "This only works in a server's channel."

_READ_S = 60.0

_NAMES = {
    "view_channel": "View Channel",
    "send_messages": "Send Messages",
    "send_messages_in_threads": "Send Messages in Threads",
    "attach_files": "Attach Files",
    "read_message_history": "Read Message History",
}


def requester(interaction: discord.Interaction[Any], *, admin: bool = False) -> Requester:
    """Who asks, and where. admin: whether they may manage the bot here.

    Raises: NotPossible outside of a server's channel, and in a server that is not known yet.
    """
    if interaction.guild_id is None or interaction.channel_id is None:
        raise NotPossible(Said(OUTSIDE))
    refuse_where_unknown(interaction)
    roles = getattr(interaction.user, "roles", ())
    channel = interaction.channel
    # A thread knows its category only through its parent, which may be out of sight.
    above = channel.parent if isinstance(channel, discord.Thread) else channel
    parents = (getattr(channel, "parent_id", None), getattr(above, "category_id", None))
    return Requester(
        guild_id=interaction.guild_id,
        channel_id=interaction.channel_id,
        user_id=interaction.user.id,
        roles=frozenset(role.id for role in roles if role.id != interaction.guild_id),
        admin=admin,
        places=frozenset(place for place in (interaction.channel_id, *parents) if place is not None),
        age_restricted=_is_age_restricted(channel),
    )


def _is_age_restricted(channel: object) -> bool:
    is_nsfw = getattr(channel, "is_nsfw", None)
    return bool(is_nsfw()) if is_nsfw is not None else False


def refuse_where_unknown(interaction: discord.Interaction[Any]) -> None:
    """Refuses what depends on a member's roles, in a server that Discord has not described yet.

    discord.py drops those roles of a member that it knows no server for: who is denied by one would get through.
    Its `interaction.guild` can't tell, as it is made of the interaction itself where the server is not known.
    Raises: NotPossible.
    """
    guild = None if interaction.guild_id is None else interaction.client.get_guild(interaction.guild_id)
    if guild is None or guild.unavailable:
        raise NotPossible(Said("I'm just starting and don't know this server yet. Please try again in a moment."))


def missing_permissions(granted: discord.Permissions, *, thread: bool) -> list[str]:
    """The names of the permissions that the bot lacks, as Discord's settings show them."""
    needless = "send_messages" if thread else "send_messages_in_threads"
    return [name for flag, name in _NAMES.items() if flag != needless and not getattr(granted, flag)]


def refuse_where_unpostable(interaction: discord.Interaction[Any]) -> None:
    """Refuses an order from a channel where the video could not be posted.

    Raises: NotPossible, naming the permissions an admin has to give.
    """
    thread = isinstance(interaction.channel, discord.Thread)
    missing = missing_permissions(interaction.app_permissions, thread=thread)
    if missing:
        needed = f"I can't post videos here: I need {_listed(missing)}."
        raise NotPossible(Said(f"{needed} Ask an admin to allow me that in this channel, or use another one."))


async def read_picture(attachment: discord.Attachment) -> bytes:
    """The attachment's bytes.

    Raises: PictureRefused where it is too large or can't be fetched.
    """
    check_file_size(attachment.size)
    try:
        async with asyncio.timeout(_READ_S):
            return await attachment.read()
    except DISCORD_FAILED as error:
        raise PictureRefused(UnusablePicture(PictureProblem.NOT_FETCHED)) from error


def _listed(names: list[str]) -> str:
    bold = [f"**{name}**" for name in names]
    return bold[0] if len(bold) == 1 else f"{', '.join(bold[:-1])} and {bold[-1]}"
