"""Blocked words, phrases and patterns as admins enter them: how many and how long, and what is wrong with one.

`bot.domain.blocked_terms` checks them and finds them in prompts.
"""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256

from bot.domain.errors import Reason
from bot.domain.guilds import BlockedTerm

TERMS_MAX = 500
"""Words and patterns of one server."""

PATTERNS_MAX = 25
"""How many of them may be patterns, each of which is searched for separately."""

WORD_CHARS_MAX = 100
PATTERN_CHARS_MAX = 200
CHOICE_VALUE_MAX = 100
"""Characters in a choice's value (Discord's documentation of application commands)."""

ALL_PATTERNS_STEPS = 3000
"""Instructions of all patterns of a server, since every order is searched for all of them."""


class TermProblem(StrEnum):
    """Why a word, a phrase or a pattern can't be blocked."""

    WORD_TOO_LONG = "word_too_long"
    NO_WORD = "no_word"
    PUNCTUATION_AT_THE_ENDS = "punctuation_at_the_ends"
    PATTERN_LENGTH = "pattern_length"
    PATTERN_INVALID = "pattern_invalid"
    PATTERN_TOO_COMPLEX = "pattern_too_complex"
    PATTERN_MATCHES_NOTHING = "pattern_matches_nothing"
    PATTERN_TOO_BROAD = "pattern_too_broad"


@dataclass(frozen=True, slots=True)
class UnusableTerm(Reason):
    """The term can't be blocked. term: as typed. said: RE2's message about an invalid pattern."""

    problem: TermProblem
    term: str
    said: str = ""


def choice_value(term: BlockedTerm) -> str:
    """The term's value in an autocomplete choice: its text or, if that is too long, a digest."""
    if len(term.text.encode("utf-16-le", "surrogatepass")) // 2 <= CHOICE_VALUE_MAX:  # Discord counts emoji as two
        return term.text
    return f"#{sha256(term.text.encode(errors='replace')).hexdigest()[:32]}"
