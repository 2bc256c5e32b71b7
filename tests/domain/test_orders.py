import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.domain.errors import OrderRefused, Problem, Reason
from bot.domain.jobs import Order, Resolution
from bot.domain.models import WAN22_FLASH, WAN25_PREVIEW, Catalog
from bot.domain.orders import (
    SEED_MAX,
    DurationNotMade,
    ModelNotOffered,
    ResolutionNotMade,
    TextTooLong,
    check_order,
    clean_text,
    model_of,
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
    assert check_order(prompt=character * WAN22_FLASH.prompt_max).prompt == character * WAN22_FLASH.prompt_max


@pytest.mark.parametrize("character", ["a", "狐", "🦊"])
def test_a_prompt_over_the_limit_is_refused_with_its_length_and_the_limit(character: str) -> None:
    assert refusal(prompt=character * 801) == TextTooLong("prompt", 801, 800)


def test_a_letter_and_its_accent_count_as_one_character() -> None:
    decomposed = unicodedata.normalize("NFD", "é" * WAN22_FLASH.prompt_max)
    assert len(decomposed) == 2 * WAN22_FLASH.prompt_max
    assert check_order(prompt=decomposed).prompt == "é" * WAN22_FLASH.prompt_max


def test_white_space_that_is_dropped_does_not_count() -> None:
    assert (
        check_order(prompt=" " * 500 + "a" * WAN22_FLASH.prompt_max + "\n" * 500).prompt
        == "a" * WAN22_FLASH.prompt_max
    )


def test_a_negative_prompt_over_its_limit_is_refused_with_its_option_name() -> None:
    assert check_order(prompt="a fox", negative_prompt="x" * WAN22_FLASH.negative_prompt_max).negative_prompt
    assert refusal(prompt="a fox", negative_prompt="x" * 501) == TextTooLong("negative_prompt", 501, 500)


@pytest.mark.parametrize("seed", [0, 1, SEED_MAX])
def test_a_seed_in_range_is_kept(seed: int) -> None:
    assert check_order(prompt="a fox", seed=seed).seed == seed


@pytest.mark.parametrize("seed", [-1, SEED_MAX + 1])
def test_a_seed_out_of_range_is_refused(seed: int) -> None:
    assert refusal(prompt="a fox", seed=seed) == Problem.SEED_OUT_OF_RANGE


@pytest.mark.parametrize("resolution", ["1080P", "720p", "", "720"])
def test_a_resolution_that_the_model_does_not_make_is_refused(resolution: str) -> None:
    assert refusal(prompt="a fox", resolution=resolution) == ResolutionNotMade(
        "Wan 2.2 Flash", (Resolution.P480, Resolution.P720)
    )


def test_another_models_limits_resolutions_and_durations_apply_to_its_orders() -> None:
    order = check_order(prompt="a" * 1500, resolution="1080P", model=WAN25_PREVIEW, duration_s=10)

    assert (order.model, order.resolution, order.duration_s) == ("wan25_i2v_preview", Resolution.P1080, 10)
    assert refusal(prompt="a" * 1501, model=WAN25_PREVIEW) == TextTooLong("prompt", 1501, 1500)


def test_an_order_that_leaves_it_open_gets_the_models_best_resolution_and_its_default_duration() -> None:
    order = check_order(prompt="a fox", model=WAN25_PREVIEW)

    assert (order.resolution, order.duration_s) == (Resolution.P1080, 5)


@pytest.mark.parametrize("duration_s", [0, 7, -5, 10**9])
def test_a_duration_that_the_model_does_not_make_is_refused(duration_s: int) -> None:
    assert refusal(prompt="a fox", model=WAN25_PREVIEW, duration_s=duration_s) == DurationNotMade(
        "Wan 2.5 Preview", (5, 10)
    )
    assert refusal(prompt="a fox", duration_s=duration_s) == DurationNotMade("Wan 2.2 Flash", (5,))


def test_a_model_that_is_not_offered_is_refused_with_those_that_are() -> None:
    both = Catalog((WAN22_FLASH, WAN25_PREVIEW))
    assert model_of(both, WAN25_PREVIEW.name) is WAN25_PREVIEW

    for name, title in ((WAN25_PREVIEW.name, "Wan 2.5 Preview"), ("retired", "retired")):
        with pytest.raises(OrderRefused) as refused:
            model_of(Catalog(), name)
        assert refused.value.reason == ModelNotOffered(title, ("Wan 2.2 Flash",))
