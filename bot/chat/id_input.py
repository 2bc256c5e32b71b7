"""Choices that a command offers, and what members type instead of choosing one."""

import re

from bot.domain.errors import NotPossible

_ID = re.compile(r"\s*(?:<(?:@[!&]?|#))?(\d{1,19})>?\s*", re.ASCII)
_ID_MAX = 2**63 - 1


def id_in(typed: str) -> int:
    """The id that was chosen, or typed as a number or a mention. Raises: NotPossible."""
    found = _ID.fullmatch(typed)
    if found is None or int(found[1]) > _ID_MAX:
        raise NotPossible("I don't know whom or what you mean. Choose from the list, or give an id.")
    return int(found[1])
