import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.blocked_terms import checked_pattern, find_blocked
from bot.domain.errors import UserError
from bot.domain.guilds import BlockedTerm
from bot.domain.terms import PATTERN_CHARS_MAX, TermProblem, UnusableTerm
from tests.domain.term_matches import pattern_match, problem_of


@pytest.mark.parametrize(
    ("pattern", "prompt", "quoted"),
    [
        (r"n+\W*u+\W*d+\W*e+", "N.U..D.E!", "n.u..d.e"),
        (r"(?:gore|blood)y?", "GOREY", "gorey"),
        (r"\b\d{2}yo\b", "an 18yo girl", "18yo"),
        ("café", "LE CAFÉ", "cafe"),
        ("ｃａｔ", "a cat", "cat"),
        ("（x）", "a (x)", "(x)"),  # punctuation of other widths stays punctuation
        ("🅝🅤de", "🅽ude", "nude"),
        ("🇺🇸", "a 🇺🇸 flag", "🇺🇸"),
        ("straße", "die Straße", "straße"),
        ("成.?人", "成*人", "成*人"),
        ("[аеио]{2}", "АИ", "аи"),
        (r"\p{Thai}", "ดู", "ด"),
        ("a  b|x", "x", "x"),
    ],
)
def test_a_pattern_is_found_in_the_folded_prompt(pattern: str, prompt: str, quoted: str) -> None:
    assert str(pattern_match(pattern, prompt)).casefold() == quoted.casefold()


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("", TermProblem.PATTERN_LENGTH),
        ("x" * (PATTERN_CHARS_MAX + 1), TermProblem.PATTERN_LENGTH),
        ("(", TermProblem.PATTERN_INVALID),
        ("[z-a]", TermProblem.PATTERN_INVALID),
        (r"(a)\1", TermProblem.PATTERN_INVALID),
        ("(?=a)b", TermProblem.PATTERN_INVALID),
        ("a{1001}", TermProblem.PATTERN_INVALID),
        ("((a{100}){100}){100}", TermProblem.PATTERN_INVALID),
        (r"\pL{50}", TermProblem.PATTERN_INVALID),
        (r"[\p{Han}a-z]{90}", TermProblem.PATTERN_TOO_COMPLEX),
        ("x*", TermProblem.PATTERN_MATCHES_NOTHING),
        ("(nude)?", TermProblem.PATTERN_MATCHES_NOTHING),
        ("^", TermProblem.PATTERN_MATCHES_NOTHING),
        (r"\b", TermProblem.PATTERN_MATCHES_NOTHING),
        (r"nude|$", TermProblem.PATTERN_MATCHES_NOTHING),
        (".", TermProblem.PATTERN_TOO_BROAD),
        (".+", TermProblem.PATTERN_TOO_BROAD),
        (r"\w", TermProblem.PATTERN_TOO_BROAD),
        ("[a-z]", TermProblem.PATTERN_TOO_BROAD),
        ("e", TermProblem.PATTERN_TOO_BROAD),
        ("[À-ÿ]", TermProblem.PATTERN_TOO_BROAD),
        (r"\p{Han}", TermProblem.PATTERN_TOO_BROAD),
        (r"\W", TermProblem.PATTERN_TOO_BROAD),
    ],
)
def test_an_invalid_or_too_broad_pattern_is_refused_with_the_reason(pattern: str, why: TermProblem) -> None:
    with pytest.raises(UserError) as refused:
        checked_pattern(pattern)
    assert problem_of(refused.value) is why


def test_a_refused_pattern_includes_the_error_message_of_re2() -> None:
    with pytest.raises(UserError) as refused:
        checked_pattern("[*-!]<@1>**@everyone**")

    assert refused.value.reason == UnusableTerm(
        TermProblem.PATTERN_INVALID, "[*-!]<@1>**@everyone**", said="invalid character class range: *-!"
    )


def test_a_stored_pattern_that_no_longer_compiles_is_ignored() -> None:
    assert find_blocked("nude", [BlockedTerm("(", is_pattern=True), BlockedTerm("nude")]) == "nude"
    assert find_blocked("fine", [BlockedTerm("(", is_pattern=True)]) is None


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40))
def test_any_text_is_a_usable_pattern_or_is_refused(pattern: str, prompt: str) -> None:
    try:
        entry = checked_pattern(pattern)
    except UserError:
        return
    find_blocked(prompt, [entry])


def _quickest_s(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(5):
        began = time.thread_time()
        work()
        taken.append(time.thread_time() - began)
    return min(taken)


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "(.*a){12}c", "(a|aa)+$", "a{500}b", r"(\w+\s?)+!$"])
def test_a_hostile_pattern_takes_time_linear_in_the_text(pattern: str) -> None:
    """Four times the text: about four times the time. A quadratic search would take sixteen times."""
    entry = [checked_pattern(pattern)]
    short, long = "a" * 20_000 + "…", "a" * 80_000 + "…"
    assert find_blocked(short, entry) is None

    ratio = _quickest_s(lambda: find_blocked(long, entry)) / _quickest_s(lambda: find_blocked(short, entry))

    assert ratio < 10


def test_searching_for_words_takes_time_linear_in_the_text() -> None:
    entries = [BlockedTerm("a" * 99 + "b"), BlockedTerm("a " * 40 + "b")]

    ratio = _quickest_s(lambda: find_blocked("a" * 80_000, entries)) / _quickest_s(
        lambda: find_blocked("a" * 20_000, entries)
    )

    assert ratio < 10


def test_a_prompt_that_was_searched_is_not_searched_again() -> None:
    """An order is searched before it is taken, and again while all others wait."""
    pattern = r"(?:\w+\s?){90}!"

    def entries() -> list[BlockedTerm]:
        return [checked_pattern(f"{pattern}{number}") for number in range(2)]

    prompt = "ab " * 25_000
    again, first = entries(), entries()
    began = time.thread_time()
    find_blocked(prompt, first)
    first_s = time.thread_time() - began

    assert _quickest_s(lambda: find_blocked(prompt, again)) < first_s / 10
