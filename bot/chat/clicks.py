"""What all buttons have in common: whatever goes wrong with a click becomes an answer."""

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, TypeVar

import discord

from bot.chat.answers import answer_error

Button = TypeVar("Button")
Interaction = discord.Interaction[Any]


def answering(
    callback: Callable[[Button, Interaction], Awaitable[None]],
) -> Callable[[Button, Interaction], Coroutine[Any, Any, None]]:
    """A button's callback that answers what it raises; discord.py would only log it, and the click would hang."""

    @wraps(callback)
    async def answered(button: Button, interaction: Interaction) -> None:
        try:
            await callback(button, interaction)
        except Exception as error:  # noqa: BLE001 - answered and logged there
            await answer_error(interaction, error)

    return answered
