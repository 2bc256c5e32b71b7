"""What an operator types, made into values, and values as "before → after" shows them. Pure."""

import re
from decimal import Decimal

from bot.domain.errors import NotPossible
from bot.domain.money import parse_usd, show_limit

SETTING = "setting"
"""What an operator types to go back from what a command set to what the setting says."""

QUEUE_MAX = 100_000
"""The longest queue that may be set, as the setting QUEUE_MAX has it."""

_ID_MAX = 2**63 - 1
_ID_DIGITS = 19
_TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{3,199}", re.ASCII)
"""What a task's id may look like: no blanks, and nothing that an address could be bent with."""


def server_id(text: str) -> int:
    """The server's id that a person typed or chose. Raises: NotPossible."""
    typed = text.strip()
    if not (typed.isascii() and typed.isdigit()) or len(typed) > _ID_DIGITS or not 0 < int(typed) <= _ID_MAX:
        raise NotPossible(
            "That is no server: choose one from the list, or paste its id (a number; Discord's developer mode "
            "copies it)."
        )
    return int(typed)


def task_id(text: str) -> str:
    """The upstream's id of a task. Raises: NotPossible."""
    typed = text.strip()
    if _TASK_ID.fullmatch(typed) is None:
        raise NotPossible(
            "That is no task id: 4 to 200 letters, digits and `.` `_` `:` `-` are. Copy it from the gateway's "
            "list of tasks."
        )
    return typed


def amount(typed: str, setting: Decimal | None) -> Decimal | None:
    """The amount in USD that was typed; None: as the setting says. Raises: NotPossible."""
    word = typed.strip().lower()
    if word == SETTING or (word == "none" and setting is None):
        return None
    if word == "none":
        raise NotPossible(
            f"A command can't lift a budget for good: the setting says {show_limit(setting)}. Name an amount, or "
            f"`{SETTING}` to go back to that, or write `none` where the bot's settings are kept."
        )
    return parse_usd(typed)


def count(typed: str) -> int | None:
    """How many may wait; None: as the setting says. Raises: NotPossible."""
    word = typed.strip().lower()
    if word == SETTING:
        return None
    if (
        not (word.isascii() and word.isdigit())
        or len(word) > len(str(QUEUE_MAX))
        or not 1 <= int(word) <= QUEUE_MAX
    ):
        raise NotPossible(f"The queue takes a number from 1 to {QUEUE_MAX}, or `{SETTING}`.")
    return int(word)


def limit(own: Decimal | None, setting: Decimal | None) -> str:
    """A budget as it holds, and where it comes from."""
    return f"{show_limit(setting)} (the setting)" if own is None else show_limit(own)


def queue(own: int | None, setting: int) -> str:
    """The longest queue as it holds, and where it comes from."""
    return f"{setting} (the setting)" if own is None else str(own)
