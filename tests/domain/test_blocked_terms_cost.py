"""What a search for blocked terms costs at worst, counted in steps rather than seconds."""

import cProfile

import pytest

from bot.domain.blocked_terms import find_blocked
from bot.domain.folding import fold
from bot.domain.guilds import BlockedTerm
from bot.domain.models import WAN22_FLASH
from bot.domain.terms import WORD_CHARS_MAX

FOLDED_MAX = 6 * WAN22_FLASH.prompt_max


@pytest.mark.parametrize("char", ["\ufdfa", "\ufdfb", "㎯", "㌖", "㍿", "㈝", "ﬃ", "ß", "ΐ", "猫"])
def test_no_prompt_is_searched_as_more_than_six_letters_a_character(char: str) -> None:
    assert len(fold(char * WAN22_FLASH.prompt_max)) <= FOLDED_MAX


@pytest.mark.parametrize(
    ("word", "prompt"),
    [
        ("الله", "\ufdfa"),
        ("جل جلاله", "\ufdfa and \ufdfb"),
        ("صلى الله عليه وسلم", "\ufdfb \ufdfa"),
        ("\ufdfa", "صلى الله عليه وسلم"),
        ("\ufdfa\ufdfa", "\ufdfa"),
        ("wolf", "\ufdfa\ufdfa wolf \ufdfa"),
    ],
)
def test_a_phrase_in_one_character_is_still_read(word: str, prompt: str) -> None:
    assert find_blocked(prompt, [BlockedTerm(word)]) is not None


def test_a_repeated_phrase_in_one_character_joins_no_words() -> None:
    assert find_blocked("\ufdfa wo\ufdfalf", [BlockedTerm("wolf")]) is None


@pytest.mark.parametrize(
    ("terms", "prompt", "quoted"),
    [
        (["a b c", "b"], "a b c", "a b c"),  # the list's order decides, not the text's
        (["b", "a b c"], "a b c", "b"),
        (["a b c d", "b c"], "a b c x", "b c"),  # a longer phrase that ends differently hides none inside it
        (["a b a c"], "a b a b a c", "a b a c"),  # a phrase may begin inside a failed one
        (["ab", "a-b"], "a b", "a b"),
        (["猫 犬", "猫"], "猫犬", "猫犬"),
        (["wolf", "Wolf"], "WOLF", "WOLF"),
    ],
)
def test_words_that_share_beginnings_are_told_apart(terms: list[str], prompt: str, quoted: str) -> None:
    assert find_blocked(prompt, [BlockedTerm(term) for term in terms]) == quoted


def test_the_number_of_words_hardly_changes_what_a_search_takes() -> None:
    """Each of the words occurs at hundreds of places, always within a longer one."""

    def calls(words: int) -> int:
        terms = [BlockedTerm("a" * (1 + number)) for number in range(words)]
        find_blocked("b", terms)  # compiles them
        profile = cProfile.Profile()
        profile.enable()
        assert find_blocked("a" * WAN22_FLASH.prompt_max, terms) is None
        profile.disable()
        return sum(entry.callcount for entry in profile.getstats())

    assert calls(WORD_CHARS_MAX) < 2 * calls(2)
