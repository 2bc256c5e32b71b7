"""The text for each kind of `Reason`, registered in the module of its subject.

This package imports all modules that register texts, so every reason has one whatever is imported first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch

from bot.domain.errors import Reason, Remedy, UserError


@dataclass(frozen=True, slots=True)
class Said(Reason):
    """A refusal that only the Discord side knows, with its text."""

    text: str


@singledispatch
def text_of(reason: Reason) -> str:
    """The reason as the person reads it: what happened, why, and what they can do. Discord markdown."""
    raise NotImplementedError(type(reason).__name__)


@text_of.register
def _(reason: Said) -> str:
    return reason.text


def register_templates(templates: Mapping[type[Reason], str]) -> None:
    """Registers a `str.format` template for each of these kinds of reason; `{0.field}` inserts a field."""
    for kind, template in templates.items():
        text_of.register(kind, template.format)


def text_of_error(error: UserError) -> str:
    """The error as the person reads it."""
    return text_of(error.reason)


def remedy_text(remedy: Remedy) -> str:
    """Who can change it."""
    match remedy:
        case Remedy.ASK_ADMINS:
            return "Server admins can change this."
        case Remedy.ASK_OPERATOR:
            return "Only the bot's operator can change this."
