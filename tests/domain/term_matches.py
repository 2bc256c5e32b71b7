"""What a single word or pattern finds in a prompt, and why one is refused."""

from bot.domain.blocked_terms import checked_pattern, find_blocked
from bot.domain.errors import UserError
from bot.domain.guilds import BlockedTerm
from bot.domain.terms import TermProblem, UnusableTerm


def word_match(word: str, prompt: str) -> str | None:
    return find_blocked(prompt, [BlockedTerm(word)])


def problem_of(refused: UserError) -> TermProblem:
    assert isinstance(refused.reason, UnusableTerm)
    return refused.reason.problem


def pattern_match(pattern: str, prompt: str) -> str | None:
    return find_blocked(prompt, [checked_pattern(pattern)])
