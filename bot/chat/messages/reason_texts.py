"""Words each reason for a refusal: one function for one kind of `Reason`, registered in the module of its subject.

This package imports all modules that register some, so every reason has its words whatever is imported first.
"""

from dataclasses import dataclass
from functools import singledispatch

from bot.domain.errors import Reason, Remedy, UserError


@dataclass(frozen=True, slots=True)
class Said(Reason):
    """A refusal that the Discord side decides and words itself."""

    text: str


@singledispatch
def text_of(reason: Reason) -> str:
    """The reason as the person reads it: what happened, why, and what they can do. Discord markdown."""
    raise NotImplementedError(type(reason).__name__)


@text_of.register
def _(reason: Said) -> str:
    return reason.text


def text_of_error(error: UserError) -> str:
    """What the person who asked reads."""
    return text_of(error.reason)


def remedy_text(remedy: Remedy) -> str:
    """Who can do something about it."""
    match remedy:
        case Remedy.ASK_ADMINS:
            return "Server admins can change this."
        case Remedy.ASK_OPERATOR:
            return "Only the bot's operator can change this."
