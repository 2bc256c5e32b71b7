"""The names of members, for lists of choices: they show no mentions.

The bot asks Discord for no members by itself, so it knows none until it looks for those it needs.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping

import discord

from bot.chat.transport.discord_errors import DISCORD_FAILED

_LOOKED_FOR_MAX = 100
"""Members that can be asked for at once (Discord's documentation of Request Guild Members)."""
_PATIENCE_S = 1.0
"""Choices must be sent within three seconds; they do without names rather than not come."""


async def names_of(
    guild: discord.Guild, user_ids: Iterable[int], *, patience_s: float = _PATIENCE_S
) -> Mapping[int, str]:
    """The members' names by id, without those who left and those that Discord does not tell in time."""
    wanted = set(user_ids)
    unknown = [user_id for user_id in wanted if guild.get_member(user_id) is None]
    if unknown:
        with contextlib.suppress(*DISCORD_FAILED):
            async with asyncio.timeout(patience_s):
                # Kept, so that not each letter typed asks again.
                await guild.query_members(user_ids=unknown[:_LOOKED_FOR_MAX], limit=_LOOKED_FOR_MAX, cache=True)
    members = map(guild.get_member, wanted)
    return {member.id: member.display_name for member in members if member is not None}
