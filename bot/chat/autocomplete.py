"""Autocomplete suggestions: which ones match, and the names of members in them.

Suggestions can't show mentions, and the bot doesn't cache all members, so it looks up those it needs.
"""

import asyncio
import contextlib
from collections.abc import Iterable, Mapping
from typing import Any

import discord
from discord.app_commands import Choice

from bot.chat.messages.markdown import CHOICES_MAX, choice_name
from bot.chat.messages.reason_texts import Said
from bot.chat.posting import DISCORD_FAILED
from bot.domain.errors import NotPossible

_MEMBERS_MAX = 100
"""The most members per request (Discord's documentation of Request Guild Members)."""
_SENTENCE = "none"
"""The value of a suggestion that is only a sentence; no job's id, which has 16 characters."""
_TIMEOUT_S = 1.0
"""Suggestions must be sent within three seconds: better without names than too late."""


def matching(choices: Iterable[tuple[str, str]], typed: str) -> list[Choice[str]]:
    """The choices, given as name and value, whose name contains the typed text; as many as Discord shows."""
    text = typed.strip().casefold()
    matches = [Choice(name=name, value=value) for name, value in choices if text in name.casefold()]
    return matches[:CHOICES_MAX]


def a_sentence(text: str) -> list[Choice[str]]:
    """A sentence as the only suggestion, instead of Discord's own words for none. See `refuse_sentence`."""
    return [Choice(name=choice_name(text), value=_SENTENCE)]


def refuse_sentence(value: str, text: str) -> None:
    """Answers a member who chose the sentence with it. Raises: NotPossible."""
    if value == _SENTENCE:
        raise NotPossible(Said(text))


async def offer_nothing(interaction: discord.Interaction[Any]) -> None:
    """Sends no suggestions."""
    with contextlib.suppress(*DISCORD_FAILED):
        await interaction.response.autocomplete([])


async def names_of(
    guild: discord.Guild, user_ids: Iterable[int], *, timeout_s: float = _TIMEOUT_S
) -> Mapping[int, str]:
    """The members' names by id, except those who left and those that Discord doesn't send in time."""
    ids = set(user_ids)
    unknown = [user_id for user_id in ids if guild.get_member(user_id) is None]
    if unknown:
        with contextlib.suppress(*DISCORD_FAILED):
            async with asyncio.timeout(timeout_s):
                # Cached, so that each keystroke doesn't ask again.
                await guild.query_members(user_ids=unknown[:_MEMBERS_MAX], limit=_MEMBERS_MAX, cache=True)
    members = map(guild.get_member, ids)
    return {member.id: member.display_name for member in members if member is not None}
