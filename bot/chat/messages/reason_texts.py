"""Words each reason for a refusal: one function for each kind, registered beside the texts it belongs to."""

from functools import singledispatch

from bot.domain.errors import Reason, UserError


@singledispatch
def text_of(reason: Reason) -> str:
    """The reason as the person reads it: what happened, why, and what they can do. Discord markdown."""
    raise NotImplementedError(type(reason).__name__)


def text_of_error(error: UserError) -> str:
    """What the person who asked reads."""
    return error.reason if isinstance(error.reason, str) else text_of(error.reason)
