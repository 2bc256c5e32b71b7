import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import OrderRefused, Problem, Reason
from bot.domain.jobs import Order, Resolution
from bot.domain.orders import (
    NEGATIVE_PROMPT_MAX,
    PROMPT_MAX,
    SEED_MAX,
    TextTooLong,
    check_order,
    clean_text,
)


def refusal(**typed: Any) -> Reason:
    with pytest.raises(OrderRefused) as refused:
        check_order(**typed)
    assert isinstance(refused.value.reason, Reason)
    return refused.value.reason


def test_a_prompt_alone_gets_the_models_defaults() -> None:
    assert check_order(prompt="a fox runs") == Order(
        "a fox runs",
        negative_prompt=None,
        resolution=Resolution.P720,
        seed=None,
        prompt_extend=True,
        watermark=False,
    )


def test_every_given_option_is_in_the_order() -> None:
    order = check_order(
        prompt="a fox",
        negative_prompt="rain",
        resolution="480P",
        seed=7,
        prompt_extend=False,
        watermark=True,
    )
    assert order == Order("a fox", "rain", Resolution.P480, 7, prompt_extend=False, watermark=True)


@pytest.mark.parametrize(
    ("typed", "clean"),
    [
        ("  a   fox \t runs ", "a fox runs"),
        ("a fox\r\nruns\nfar", "a fox runs far"),
        ("a\u2028fox\u2029runs\u0085far", "a fox runs far"),
        ("a\x00fox\x1bruns", "a fox runs"),
        ("a \ud83e fox", "a fox"),
        ("cafe\u0301", "café"),
        ("狐狸跑", "狐狸跑"),
        ("👨\u200d👩\u200d👧", "👨\u200d👩\u200d👧"),
        ("می\u200cخواهم", "می\u200cخواهم"),
    ],
)
def test_a_prompt_is_one_line_of_nfc_text(typed: str, clean: str) -> None:
    assert clean_text(typed) == clean


@given(st.text(alphabet=st.characters(codec=None)))
def test_cleaning_text_is_idempotent(text: str) -> None:
    assert clean_text(clean_text(text)) == clean_text(text)


@pytest.mark.parametrize("empty", ["", "   ", "\n\t", "\x00\x1b", "\u200b", "\u200d \ufeff", "\u202e", "\ufe0f"])
def test_a_prompt_without_visible_characters_is_refused(empty: str) -> None:
    assert refusal(prompt=empty) == Problem.PROMPT_EMPTY


@pytest.mark.parametrize("empty", ["", "  ", "\u200b"])
def test_an_empty_negative_prompt_is_none(empty: str) -> None:
    assert check_order(prompt="a fox", negative_prompt=empty).negative_prompt is None


@pytest.mark.parametrize("character", ["a", "狐", "🦊", "é"])
def test_a_prompt_of_exactly_the_limit_is_accepted_in_any_script(character: str) -> None:
    assert check_order(prompt=character * PROMPT_MAX).prompt == character * PROMPT_MAX


@pytest.mark.parametrize("character", ["a", "狐", "🦊"])
def test_a_prompt_over_the_limit_is_refused_with_its_length_and_the_limit(character: str) -> None:
    assert refusal(prompt=character * 801) == TextTooLong("prompt", 801, 800)


def test_a_letter_and_its_accent_count_as_one_character() -> None:
    decomposed = unicodedata.normalize("NFD", "é" * PROMPT_MAX)
    assert len(decomposed) == 2 * PROMPT_MAX
    assert check_order(prompt=decomposed).prompt == "é" * PROMPT_MAX


def test_white_space_that_is_dropped_does_not_count() -> None:
    assert check_order(prompt=" " * 500 + "a" * PROMPT_MAX + "\n" * 500).prompt == "a" * PROMPT_MAX


def test_a_negative_prompt_over_its_limit_is_refused_with_its_option_name() -> None:
    assert check_order(prompt="a fox", negative_prompt="x" * NEGATIVE_PROMPT_MAX).negative_prompt
    assert refusal(prompt="a fox", negative_prompt="x" * 501) == TextTooLong("negative_prompt", 501, 500)


@pytest.mark.parametrize("seed", [0, 1, SEED_MAX])
def test_a_seed_in_range_is_kept(seed: int) -> None:
    assert check_order(prompt="a fox", seed=seed).seed == seed


@pytest.mark.parametrize("seed", [-1, SEED_MAX + 1])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    assert refusal(prompt="a fox", seed=seed) == Problem.SEED_OUT_OF_RANGE


@pytest.mark.parametrize("resolution", ["1080P", "720p", "", "720"])
def test_an_unknown_resolution_is_refused(resolution: str) -> None:
    assert refusal(prompt="a fox", resolution=resolution) == Problem.UNKNOWN_RESOLUTION
