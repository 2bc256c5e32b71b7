"""Parses what an operator types. Pure."""

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum, auto

from bot.domain.errors import NotPossible, Reason
from bot.domain.guilds import Budget
from bot.domain.money import parse_usd

SETTING = "setting"
"""Typed to go back to the default from the bot's settings."""

QUEUE_MAX = 100_000
"""The longest queue that can be set, as for the setting QUEUE_MAX."""

_ID_MAX = 2**63 - 1
_TASK_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{3,199}", re.ASCII)
"""A task id: no spaces, and nothing that could change a URL's path."""


class OperatorProblem(StrEnum):
    """Why something that an operator asked for can't be done."""

    NO_SERVER = auto()
    NO_TASK_ID = auto()
    QUEUE_IS_SHARED = auto()
    QUEUE_OUT_OF_BOUNDS = auto()
    UNKNOWN_JOB = auto()


@dataclass(frozen=True, slots=True)
class OperatorRefused(Reason):
    """Something that an operator asked for can't be done. limit: what is allowed."""

    problem: OperatorProblem
    limit: int = 0


@dataclass(frozen=True, slots=True)
class BudgetIsSet(Reason):
    """A command can't remove the budget that the bot's settings set. limit: USD."""

    limit: Decimal


def server_id(text: str) -> int:
    """The server id that was typed or chosen. Raises: NotPossible."""
    number = _number(text, _ID_MAX)
    if number is None:
        raise NotPossible(OperatorRefused(OperatorProblem.NO_SERVER))
    return number


def task_id(text: str) -> str:
    """The upstream's id of a task. Raises: NotPossible."""
    typed = text.strip()
    if _TASK_ID.fullmatch(typed) is None:
        raise NotPossible(OperatorRefused(OperatorProblem.NO_TASK_ID))
    return typed


def amount(typed: str, setting: Decimal | None) -> Decimal | None:
    """The amount in USD that was typed; None for the default. Raises: NotPossible."""
    word = typed.strip().lower()
    if word == "none" and setting is not None:
        raise NotPossible(BudgetIsSet(setting))
    return None if word in {SETTING, "none"} else parse_usd(typed)


def count(typed: str) -> int | None:
    """The queue length that was typed; None for the default. Raises: NotPossible."""
    number = _number(typed, QUEUE_MAX)
    if number is None and typed.strip().lower() != SETTING:
        raise NotPossible(OperatorRefused(OperatorProblem.QUEUE_OUT_OF_BOUNDS, QUEUE_MAX))
    return number


def _number(text: str, maximum: int) -> int | None:
    """The whole number from 1 to `maximum` that was typed; None if it is anything else."""
    typed = text.strip()
    is_number = typed.isascii() and typed.isdigit() and len(typed) <= len(str(maximum))
    return int(typed) if is_number and 1 <= int(typed) <= maximum else None


def budget(own: Budget, default: Budget, usd_per_day: str | None, usd_per_month: str | None) -> Budget:
    """The budget with the amounts that were typed; None keeps one. Raises: NotPossible."""
    return Budget(
        own.usd_per_day if usd_per_day is None else amount(usd_per_day, default.usd_per_day),
        own.usd_per_month if usd_per_month is None else amount(usd_per_month, default.usd_per_month),
    )
