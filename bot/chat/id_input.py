"""Choices that a command offers, and what members type instead of choosing one."""

import re

from bot.chat.messages.reason_texts import Said
from bot.domain.errors import NotPossible

CHOICES_MAX = 25
"""Choices that Discord shows at most (its documentation of autocomplete)."""

_ID = re.compile(r"\s*(?:<(?:@[!&]?|#))?(\d{1,19})>?\s*", re.ASCII)
_ID_MAX = 2**63 - 1


def id_in(typed: str) -> int:
    """The id that was chosen, or typed as a number or a mention. Raises: NotPossible."""
    found = _ID.fullmatch(typed)
    if found is None or int(found[1]) > _ID_MAX:
        raise NotPossible(Said("I don't know who or what you mean. Pick one from the list, or enter an id."))
    return int(found[1])
