"""What all buttons have in common: who may not click is answered, and so is whatever goes wrong.

A button knows by its custom id what it is about. That it stands under a message of the bot's own, in a server, is
asked here once for all: anybody could write a custom id under a message of another application.
"""

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, TypeVar

import discord

from bot.chat.error_replies import answer_error
from bot.chat.messages.reason_texts import Said
from bot.chat.permissions.channel_checks import OUTSIDE
from bot.domain.errors import NotPossible

Button = TypeVar("Button")
Interaction = discord.Interaction[Any]


def answering(
    callback: Callable[[Button, Interaction], Awaitable[None]],
) -> Callable[[Button, Interaction], Coroutine[Any, Any, None]]:
    """A button's callback that answers what it raises; discord.py would only log it, and the click would hang."""

    @wraps(callback)
    async def answered(button: Button, interaction: Interaction) -> None:
        if not await interaction.client.pace.keeps(interaction):
            return
        try:
            _refuse_foreign(interaction)
            await callback(button, interaction)
        except Exception as error:  # noqa: BLE001 - answered and logged there
            await answer_error(interaction, error)

    return answered


def _refuse_foreign(interaction: Interaction) -> None:
    """Refuses a click that can't be on a button of the bot's. Raises: NotPossible."""
    if interaction.guild_id is None:
        raise NotPossible(Said(OUTSIDE))
    message, me = interaction.message, interaction.client.user
    if message is None or me is None or message.author.id != me.id:
        raise NotPossible(Said("That button isn't mine, so nothing was done."))
