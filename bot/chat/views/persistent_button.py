"""What all buttons and select menus have in common.

They keep working after a restart: all they know is in their custom ids, from which they are rebuilt at each click.
Clicking too often, clicking without permission and errors are all answered. Any application can put any custom id
on its own messages, so a click counts only on one of the bot's messages, and in a server unless the item says
otherwise.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any, Self

import discord

from bot.chat.context import Interaction, services_of
from bot.chat.messages.reason_texts import Said
from bot.chat.permissions.option_validation import OUTSIDE
from bot.chat.replies import answer_error
from bot.domain.errors import NotPossible


class _Persistent(ABC):
    """What is rebuilt from its custom id and answers clicks."""

    works_in_direct_messages = False
    """Whether a click outside servers gets as far as `act`."""

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction[Any], item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        """The item that was clicked."""
        del interaction, item
        arguments: dict[str, Any] = match.groupdict()
        return cls(**arguments)

    async def callback(self, interaction: discord.Interaction[Any]) -> None:
        """Called by discord.py for a click; it would only log what is raised here, so that is answered."""
        await answered(interaction, self.act, direct_too=self.works_in_direct_messages)

    @abstractmethod
    async def act(self, interaction: Interaction) -> None:
        """Does what the item says, if the one who clicks may. What it raises is answered."""


class PersistentButton(_Persistent, discord.ui.DynamicItem[discord.ui.Button[Any]], template="(?!)"):
    """A subclass gives the `template` of its custom id, whose groups are its arguments, and `act`."""

    def __init__(self, label: str, custom_id: str, style: discord.ButtonStyle, *, disabled: bool = False) -> None:
        super().__init__(discord.ui.Button(label=label, style=style, custom_id=custom_id, disabled=disabled))


class PersistentSelect(_Persistent, discord.ui.DynamicItem[discord.ui.Select[Any]], template="(?!)"):
    """A menu of which one option is chosen; see `PersistentButton`."""

    def __init__(self, custom_id: str, options: list[discord.SelectOption]) -> None:
        super().__init__(discord.ui.Select(custom_id=custom_id, options=options))

    @property
    def chosen(self) -> str:
        """The value of the option that was chosen. Raises: NotPossible if it isn't one of the menu's."""
        values = self.item.values
        if len(values) != 1 or values[0] not in {option.value for option in self.item.options}:
            raise NotPossible(Said("That isn't one of the choices, so nothing was done."))
        return values[0]


async def answered(
    interaction: Interaction,
    act: Callable[[Interaction], Awaitable[None]],
    *,
    direct_too: bool,
    under_own_message: bool = True,
) -> None:
    """Does what a click or a form asks for; whatever happens, it is answered.

    direct_too: also outside of servers. under_own_message: only under one of the bot's own messages.
    """
    if not await services_of(interaction).limiter.allows(interaction):
        return
    try:
        services_of(interaction).interactions.begin(interaction)
        if under_own_message:
            _refuse_foreign(interaction, direct_too=direct_too)
        await act(interaction)
    except Exception as error:  # noqa: BLE001 - answered and logged there
        await answer_error(interaction, error)


def _refuse_foreign(interaction: Interaction, *, direct_too: bool) -> None:
    """Refuses a click that isn't on one of the bot's own messages. Raises: NotPossible."""
    if interaction.guild_id is None and not direct_too:
        raise NotPossible(Said(OUTSIDE))
    message, me = interaction.message, interaction.client.user
    if message is None or me is None or message.author.id != me.id:
        raise NotPossible(Said("That button isn't mine, so nothing was done."))


def refuse_unless_offered(interaction: Interaction) -> None:
    """Refuses a click in direct messages if the bot takes no orders there. Raises: NotPossible."""
    if interaction.guild_id is None and not services_of(interaction).direct_orders:
        raise NotPossible(Said(OUTSIDE))


def job_custom_id(kind: str, job_id: str) -> str:
    """The custom id of the button of that kind for that job."""
    return f"zoetrope:{kind}:{job_id}"


def row_of(*buttons: PersistentButton) -> discord.ui.View:
    """The buttons in a row. It holds nothing in memory: a click is routed by the custom id."""
    row = discord.ui.View(timeout=None)
    for button in buttons:
        row.add_item(button)
    return row
