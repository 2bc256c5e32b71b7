"""What an admin reads about words, patterns and limits that can't be used: which one, and that nothing changed."""

import pytest

from bot.chat.messages.reason_texts import text_of
from bot.domain.blocked_terms import checked_pattern, checked_word
from bot.domain.errors import UserError
from bot.domain.terms import TermProblem, UnusableTerm
from bot.services.admin.audited import AdminProblem, AdminRefused
from bot.services.admin.limits import LimitChanges, LimitPart


def test_an_entry_without_a_word_is_named() -> None:
    with pytest.raises(UserError) as refused:
        checked_word("!!")
    assert text_of(refused.value.reason).startswith("There's no word in “!!”.")


def test_an_empty_entry_is_not_quoted() -> None:
    assert text_of(UnusableTerm(TermProblem.NO_WORD, "")).startswith("There's no word in that.")


@pytest.mark.parametrize("problem", TermProblem)
def test_a_refused_word_or_pattern_says_that_nothing_was_added(problem: TermProblem) -> None:
    assert text_of(UnusableTerm(problem, "x")).endswith(" Nothing was added.")


def test_the_message_about_an_invalid_pattern_is_quoted() -> None:
    with pytest.raises(UserError) as refused:
        checked_pattern("(")
    assert r"I can't use that pattern: “missing \)\: \(”. Patterns" in text_of(refused.value.reason)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (LimitChanges(window="90m"), "`window`: Choose 1 to 720 whole hours, such as `24h` or `7d`. Nothing was"),
        (LimitChanges(pause="31d"), "`pause`: Choose at most 30 days. Nothing was changed."),
    ],
)
def test_a_refused_limit_is_named_once(changes: LimitChanges, said: str) -> None:
    with pytest.raises(UserError) as refused:
        changes.values(tuple(LimitPart))
    assert text_of(refused.value.reason).startswith(said)


def test_a_member_who_is_not_stopped_is_neither_banned_nor_paused() -> None:
    assert "neither banned nor paused" in text_of(AdminRefused(AdminProblem.NOT_BANNED))
