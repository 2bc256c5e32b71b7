"""What all forms (Discord's modals) have in common. They keep working after a restart, like buttons.

discord.py knows a form only as long as the process lives that showed it. So a submission is routed here by its
custom id, and everything else is read from what Discord sends.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import discord

from bot.chat.context import Interaction, services_of
from bot.chat.replies import answer_error
from bot.chat.views.persistent_button import refuse_foreign


class PersistentForm(ABC):
    """A subclass gives the `template` of its custom id, whose groups are its arguments, and `act`."""

    template: ClassVar[re.Pattern[str]]

    @abstractmethod
    async def act(self, interaction: Interaction, fields: Mapping[str, str]) -> None:
        """Does what the form is for, if the one who submits it may. fields: what was entered, by custom id."""


async def show_form(interaction: Interaction, form: discord.ui.Modal) -> None:
    """Shows a form, as the answer to a click."""
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
            await _submit(interaction, kind(**arguments), dict(_fields(data.get("components") or ())))


async def _submit(interaction: Interaction, form: PersistentForm, fields: Mapping[str, str]) -> None:
    if not await services_of(interaction).limiter.allows(interaction):
        return
    try:
        services_of(interaction).interactions.begin(interaction)
        refuse_foreign(interaction, direct_too=True)
        await form.act(interaction, fields)
    except Exception as error:  # noqa: BLE001 - answered and logged there
        await answer_error(interaction, error)


def _fields(components: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """What was entered or selected, in whatever layout: a label has one component, a row several."""
    for component in components:
        yield from _fields(component.get("components") or ())
        yield from _fields(filter(None, [component.get("component")]))
        entered = component.get("value") or next(iter(component.get("values") or ()), "")
        if isinstance(entered, str) and "custom_id" in component:
            yield component["custom_id"], entered
