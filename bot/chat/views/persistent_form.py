"""What all forms (Discord's modals) have in common. They keep working after a restart, like buttons.

discord.py knows a form only as long as the process lives that showed it. So a submission is routed here by its
custom id, and everything else is read from what Discord sends.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import discord

from bot.chat.context import Interaction
from bot.chat.views.persistent_button import answered

COMPONENTS_MAX = 5
"""Fields and texts that a form can have (Discord's documentation of modals)."""


class PersistentForm(ABC):
    """A subclass gives the `template` of its custom id, whose groups are its arguments, and `act`."""

    template: ClassVar[re.Pattern[str]]
    is_under_own_message: ClassVar[bool] = True
    """Whether it was opened by a button of the bot's; else by a command, on anybody's message."""

    @abstractmethod
    async def act(self, interaction: Interaction, fields: Mapping[str, str]) -> None:
        """Does what the form is for, if the one who submits it may. fields: what was entered, by custom id."""


def with_note(form: discord.ui.Modal, note: str | None) -> discord.ui.Modal:
    """The form with a text above its fields, if there is one, and room for it."""
    fields = form.children
    if note is None or len(fields) >= COMPONENTS_MAX:
        return form
    form.clear_items()
    for item in (discord.ui.TextDisplay[Any](note), *fields):
        form.add_item(item)
    return form


async def show_form(interaction: Interaction, form: discord.ui.Modal, note: str | None = None) -> None:
    """Shows a form, as the answer to a click. note: see `with_note`."""
    form = with_note(form, note)
    form.stop()  # nobody waits for it: discord.py need not remember it
    await interaction.response.send_modal(form)


async def handle_submission(interaction: Interaction, kinds: Iterable[type[PersistentForm]]) -> None:
    """Handles an interaction if it is the submission of one of these forms; what goes wrong is answered."""
    if interaction.type is not discord.InteractionType.modal_submit:
        return
    data: Any = interaction.data
    for kind in kinds:
        if (match := kind.template.fullmatch(str(data["custom_id"]))) is not None:
            arguments: dict[str, Any] = match.groupdict()
            act = partial(kind(**arguments).act, fields=dict(_fields(data.get("components"))))
            await answered(interaction, act, direct_too=True, under_own_message=kind.is_under_own_message)


def _fields(components: object) -> Iterator[tuple[str, str]]:
    """What was entered or selected, by custom id, in whatever layout: a label has one component, a row several.

    Anybody can send anything as the answer to a form.
    """
    for component in components if isinstance(components, list) else []:
        if not isinstance(component, dict):
            continue
        selected = component.get("values")
        entered = selected[0] if isinstance(selected, list) and selected else component.get("value")
        if isinstance(entered, str):
            yield str(component.get("custom_id")), entered
        yield from _fields([component.get("component")])
        yield from _fields(component.get("components"))
