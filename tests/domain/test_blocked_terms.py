import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.domain.blocked_terms import QUOTE_CHARS_MAX, checked_word, find_blocked, find_term, match_key, split_words
from bot.domain.errors import UserError
from bot.domain.folding import fold
from bot.domain.guilds import BlockedTerm
from bot.domain.terms import TERMS_MAX, WORD_CHARS_MAX, TermProblem, choice_value
from tests.domain.term_matches import pattern_match, problem_of, word_match

FAMILY = "👨\u200d👩\u200d👧"


@pytest.mark.parametrize(
    ("word", "prompt", "quoted"),
    [
        ("nude", "a nude figure", "nude"),
        ("nude", "NUDE", "NUDE"),
        ("Nude", "a nUdE.", "nUdE"),
        ("nude", "the nude's shadow", "nude"),
        ("nude", "semi-nude", "nude"),
        ("nude", "bad_nude_art", "nude"),
        ("nude", "“nude”", "nude"),
        ("18", "an 18 year old", "18"),
        ("blood bath", "a blood bath", "blood bath"),
        ("blood bath", "a Blood\n   Bath", "Blood\n   Bath"),
        ("blood bath", "a blood-bath", "blood-bath"),
        ("blood bath", "blood, bath", "blood, bath"),
        ("f*ck", "oh f-ck", "f-ck"),
        ("don't", "DON’T do it", "DON’T"),
        ("a", "b a", "a"),
    ],
)
def test_a_whole_word_or_phrase_is_found(word: str, prompt: str, quoted: str) -> None:
    assert word_match(word, prompt) == quoted


@pytest.mark.parametrize(
    ("word", "prompt"),
    [
        ("nude", "denuded hills"),
        ("nude", "nudes"),
        ("ass", "a classic glass"),
        ("18", "in 2018"),
        ("blood bath", "a bloodbath"),
        ("blood bath", "blood in the bath"),
        ("blood bath", "bath blood"),
        ("каз", "указ"),
        ("नंगा", "नंगापन"),
        ("us", "🇺🇸"),  # a flag
        ("🇺🇸", "us"),
        ("nude", ""),
        ("nude", " \u200b!?"),
    ],
)
def test_a_part_of_another_word_does_not_match(word: str, prompt: str) -> None:
    assert word_match(word, prompt) is None


@pytest.mark.parametrize(
    ("word", "prompt"),
    [
        ("café", "CAFE"),
        ("cafe", "Café"),
        ("cafe", "cafe\u0301"),
        ("nude", "ＮＵＤＥ"),  # full width
        ("nude", "𝓷𝓾𝓭𝓮"),
        ("nude", "ⓝⓤⓓⓔ"),
        ("nude", "ñüdé"),
        ("nude", "n̶u̶d̶e̶"),
        ("nude", "nu\u00adde"),  # a soft hyphen
        ("nude", "nu\u200bde"),
        ("nude", "n\u200du\u200dd\u200de"),
        ("nude", "nu\ufe0fde\U000e0101"),
        ("nude", "nu\u2060d\u202ee"),
        ("nude", "nu\u115fd\u3164e"),  # Hangul fillers
        ("nude", "nu\u2065de"),  # not assigned, and never shown
        ("nude", "nu\u2800de"),  # empty Braille
        ("nude", "nu\ua66fde"),  # a Cyrillic mark
        ("nude", "nu\u2de0de"),
        ("nude", "n\u1cd0ude"),  # a Vedic one
        ("nude", "n\U0001e000ude"),
        ("nude", "nu\u0e34de"),  # a vowel sign of Thai
        ("nude", "nu\u3099de"),  # the mark that makes か to が
        ("nude", "\u0e34nude"),
        ("nude", "🅝🅤🅓🅔"),
        ("nude", "🅽🆄🅳🅴"),
        ("nude", "🄽🅄🄳🄴"),
        ("nude", "🄝🄤🄳🄔"),
        ("nude", "⒩⒰⒟⒠"),
        ("nude", "🇳🇺🇩🇪"),
        ("nude", "n🇺de"),
        ("ну", "н\u2de0у"),
        ("成人", "成\u1cd0人"),
        ("成人", "成\u0e34人"),
        ("エロ", "エ\u1cd0ロ"),
        ("대마", "대\u302e마"),
        ("fish", "ﬁsh"),
        ("office", "oﬃce"),
        ("straße", "STRASSE"),
        ("strasse", "Straße"),
        ("STRAẞE", "strasse"),
        ("istanbul", "İSTANBUL"),
        ("fırın", "FIRIN"),
        ("FIRIN", "fırın"),
        ("søren", "SOREN"),
        ("łódź", "lodz"),
        ("œuvre", "OEUVRE"),
        ("ΣΊΣΥΦΟΣ", "σισυφος"),
        ("ёлка", "ЕЛКА"),
        ("العربية", "العَرَبِيَّة"),
        ("שלום", "שָׁלוֹם"),
        ("カタカナ", "ｶﾀｶﾅ"),
        ("ガ", "ｶﾞ"),
        ("한국", "한국"),  # taken apart
        ("🖕", "🖕🏽"),
        ("❤", "❤️"),
    ],
)
def test_case_width_accents_and_invisible_characters_are_ignored(word: str, prompt: str) -> None:
    assert word_match(word, f"so {prompt} it is") is not None


@pytest.mark.parametrize(
    ("word", "prompt", "quoted"),
    [
        ("成人", "一部成人电影", "成人"),
        ("成人", "成 人 电影", "成 人"),
        ("成人 电影", "成人电影", "成人电影"),
        ("nude", "一个nude女孩", "nude"),
        ("AV女优", "她是av 女优吗", "av 女优"),
        ("エロ", "これはエロい", "エロ"),
        ("대마", "대마초를", "대마"),
        ("เด็ก", "ดูเด็กเล่น", "เด็ก"),
        ("🍆", "look🍆here", "🍆"),
        ("👩", FAMILY, "👩"),
        (FAMILY, f"a {FAMILY}!", "👨👩👧"),
        ("$", "a $5 note", "$"),
        ("🇺🇸", "look🇺🇸here", "🇺🇸"),
    ],
)
def test_in_scripts_without_spaces_a_word_is_found_inside_the_text(word: str, prompt: str, quoted: str) -> None:
    assert word_match(word, prompt) == quoted


@pytest.mark.parametrize(
    ("word", "prompt"),
    [
        ("か", "が"),  # another letter, not an accent
        ("กา", "กี่"),
        ("人成", "成人"),
        ("成人", "成,人"),
        ("대마", "그대 마음"),
        ("가", "각"),
        ("nude", "nu🔥de"),
    ],
)
def test_different_or_separated_letters_do_not_match(word: str, prompt: str) -> None:
    assert word_match(word, prompt) is None


@pytest.mark.parametrize("blank", ["\u2800", "\u3164", "\uffa0", "\u115f", "\u1160"])
def test_a_blank_character_that_is_not_a_space_hides_no_word(blank: str) -> None:
    assert word_match("nude", f"a{blank}nude{blank}fox") is not None
    assert word_match("nude", f"n{blank}u{blank}de") is not None
    assert word_match("blood bath", f"blood{blank}bath") is not None
    assert pattern_match("nude", f"a nu{blank}de") is not None
    assert pattern_match(r"\bnude\b", f"a{blank}nude{blank}fox") is not None


def test_without_blocked_terms_nothing_matches() -> None:
    assert find_blocked("anything at all", []) is None


def test_the_first_match_is_returned() -> None:
    words = [BlockedTerm("gore"), BlockedTerm("nude"), BlockedTerm(r"\d{3}", is_pattern=True)]

    assert find_blocked("nude, 123", words) == "nude"
    assert find_blocked("123", words) == "123"


def test_the_last_of_500_words_is_found_at_the_end_of_the_longest_prompt() -> None:
    words = [BlockedTerm(f"word{number}") for number in range(TERMS_MAX)]
    prompt = "x " * 396 + "word499"

    assert len(prompt) == 799
    assert find_blocked(prompt, words) == "word499"
    assert find_blocked(prompt[:-1], words) == "word49"


def test_a_long_match_is_quoted_in_part() -> None:
    assert len(str(pattern_match("x[^y]+", "x" * 800))) == QUOTE_CHARS_MAX


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nude, gore", ["nude", "gore"]),
        ("nude\nblood  bath;gore，成人、暴力", ["nude", "blood bath", "gore", "成人", "暴力"]),
        (" , ,\n", []),
        ("nu\u200bde", ["nude"]),
    ],
)
def test_a_list_of_words_is_split_at_its_separators(text: str, words: list[str]) -> None:
    assert split_words(text) == words


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", TermProblem.NO_WORD),
        ("!?…", TermProblem.NO_WORD),
        ("c++", TermProblem.PUNCTUATION_AT_THE_ENDS),
        ('"nude"', TermProblem.PUNCTUATION_AT_THE_ENDS),
        ("x" * (WORD_CHARS_MAX + 1), TermProblem.WORD_TOO_LONG),
    ],
)
def test_an_invalid_word_is_refused_with_the_reason(text: str, why: TermProblem) -> None:
    with pytest.raises(UserError) as refused:
        checked_word(text)
    assert problem_of(refused.value) is why


def test_a_word_keeps_its_spelling() -> None:
    assert checked_word("  Blood   Bäth ") == BlockedTerm("Blood Bäth")


def test_an_emoji_is_blocked_in_every_skin_tone() -> None:
    assert word_match(checked_word("🖕🏽").text, "🖕🏿 and 🖕") == "🖕"


def test_equivalent_words_have_the_same_match_key() -> None:
    assert match_key(BlockedTerm("Café-Bar")) == match_key(BlockedTerm("cafe bar"))
    assert match_key(BlockedTerm("nude")) != match_key(BlockedTerm("nudes"))
    assert match_key(BlockedTerm("nude")) != match_key(BlockedTerm("nude", is_pattern=True))


def test_a_term_is_found_by_its_choice_value_its_text_or_an_equivalent_word() -> None:
    long = BlockedTerm("x" * 150 + "y", is_pattern=True)
    entries = [BlockedTerm("Café"), BlockedTerm("nude"), BlockedTerm("nu+de", is_pattern=True), long]

    assert len(choice_value(long)) <= 100
    assert [find_term(typed, entries) for typed in (choice_value(long), long.text, "cafe", "NUDE", "nu+de")] == [
        long,
        long,
        entries[0],
        entries[1],
        entries[2],
    ]
    assert find_term("nud", entries) is None
    assert find_term("", entries) is None


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80), st.text(max_size=20))
def test_any_valid_word_is_found_in_a_prompt_that_contains_it(prompt: str, word: str) -> None:
    try:
        entry = checked_word(word)
    except UserError:
        return
    assert word_match(entry.text, f"{prompt} {word} {prompt}") is not None
    word_match(entry.text, prompt)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_folding_is_idempotent(text: str) -> None:
    assert fold(fold(text)) == fold(text)
