"""Choices that a command offers, and what members type instead of choosing one."""

import re

from bot.chat.messages.markdown import one_line
from bot.domain.errors import NotPossible

CHOICES_MAX = 25
"""Choices that Discord shows at most (its documentation of autocomplete)."""

_ID = re.compile(r"\s*(?:<(?:@[!&]?|#))?(\d{1,19})>?\s*", re.ASCII)
_ID_MAX = 2**63 - 1


def id_in(typed: str) -> int:
    """The id that was chosen, or typed as a number or a mention. Raises: NotPossible."""
    found = _ID.fullmatch(typed)
    if found is None or int(found[1]) > _ID_MAX:
        raise NotPossible("I don't know who or what you mean. Choose from the list, or enter an id.")
    return int(found[1])


def reason_in(typed: str | None) -> str | None:
    """The reason that was typed, on one line; None where nothing can be seen of it."""
    return one_line(typed or "") or None
