"""What all buttons have in common. They work after a restart too: all they know is in their custom ids.

A button is rebuilt from its custom id whenever somebody clicks it. Whoever clicks too often or may not click is
answered, and so is whatever goes wrong. Anybody could write a custom id under a message of another application, so
a click counts only on the bot's own message, in a server.
"""

import re
from typing import Any, Self

import discord

from bot.chat.context import Interaction, services_of
from bot.chat.messages.reason_texts import Said
from bot.chat.permissions.option_validation import OUTSIDE
from bot.chat.replies import answer_error
from bot.domain.errors import NotPossible


class PersistentButton(discord.ui.DynamicItem[discord.ui.Button[Any]], template="(?!)"):
    """A subclass gives the `template` of its custom id, whose groups are its arguments, and `act`."""

    def __init__(self, label: str, custom_id: str, style: discord.ButtonStyle, *, disabled: bool = False) -> None:
        super().__init__(discord.ui.Button(label=label, style=style, custom_id=custom_id, disabled=disabled))

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """The button that was clicked."""
        del interaction, item
        arguments: dict[str, Any] = match.groupdict()
        return cls(**arguments)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Called by discord.py for a click; it would only log what is raised here, so that is answered."""
        if not await services_of(interaction).limiter.allows(interaction):
            return
        try:
            _refuse_foreign(interaction)
            await self.act(interaction)
        except Exception as error:  # noqa: BLE001 - answered and logged there
            await answer_error(interaction, error)

    async def act(self, interaction: Interaction) -> None:
        """Does what the button says, if the one who clicks may. What it raises is answered."""
        raise NotImplementedError


def _refuse_foreign(interaction: Interaction) -> None:
    """Refuses a click that can't be on a button of the bot's. Raises: NotPossible."""
    if interaction.guild_id is None:
        raise NotPossible(Said(OUTSIDE))
    message, me = interaction.message, interaction.client.user
    if message is None or me is None or message.author.id != me.id:
        raise NotPossible(Said("That button isn't mine, so nothing was done."))


def row_of(*buttons: PersistentButton) -> discord.ui.View:
    """The buttons in a row. It holds nothing in memory: a click is routed by the custom id."""
    row = discord.ui.View(timeout=None)
    for button in buttons:
        row.add_item(button)
    return row
