"""The settings of providers and models."""

import re
from decimal import Decimal
from typing import Any

import pytest

from bot.domain.jobs import ProviderName, Resolution
from bot.domain.models import DEFAULT_USD_PER, WAN22_FLASH, Currency
from bot.settings import Settings
from tests.settings.conftest import problems


@pytest.mark.parametrize(
    ("providers", "keys", "missing"),
    [
        ("vtrix", (), ["VTRIX_API_KEY"]),
        ("dashscope", (), ["DASHSCOPE_API_KEY"]),
        ("dashscope", ("VTRIX_API_KEY",), ["DASHSCOPE_API_KEY"]),
        ("vtrix,dashscope", ("VTRIX_API_KEY",), ["DASHSCOPE_API_KEY"]),
        ("vtrix,dashscope", (), ["VTRIX_API_KEY", "DASHSCOPE_API_KEY"]),
        ("dashscope", ("DASHSCOPE_API_KEY",), []),
        ("dashscope", ("VTRIX_API_KEY", "DASHSCOPE_API_KEY"), []),
        ("vtrix", ("VTRIX_API_KEY", "DASHSCOPE_API_KEY"), []),
    ],
)
def test_each_provider_that_makes_videos_needs_its_key(
    load: Any, providers: str, keys: tuple[str, ...], missing: list[str]
) -> None:
    given = {"VTRIX_API_KEY": "", **dict.fromkeys(keys, "key-of-a-provider"), "PROVIDERS": providers}
    if not missing:
        settings = load(**given)
        assert {name for name in settings.secret_names() if name.endswith("API_KEY")} == set(keys)
        return
    assert problems(load, **given) == [
        f"{name} is missing. Expected: {Settings.model_fields[name.lower()].description}." for name in missing
    ]


@pytest.mark.parametrize("order", ["vtrix,dashscope", " Vtrix , DASHSCOPE, "])
def test_providers_are_asked_in_the_order_in_which_they_are_named(load: Any, order: str) -> None:
    assert load().providers == (ProviderName.VTRIX,)
    settings = load(PROVIDERS=order, DASHSCOPE_API_KEY="key-of-dashscope")
    assert settings.providers == (ProviderName.VTRIX, ProviderName.DASHSCOPE)
    assert "key-of-dashscope" in settings.secrets()
    swapped = ",".join(reversed(order.strip(" ,").split(",")))
    assert load(PROVIDERS=swapped).providers == (ProviderName.DASHSCOPE, ProviderName.VTRIX)


def test_by_default_dashscope_is_the_one_in_beijing_at_its_published_limits_and_prices(load: Any) -> None:
    settings = load()
    assert settings.dashscope_api_key is None
    assert settings.dashscope_base_url == "https://dashscope.aliyuncs.com/api/v1"
    assert (settings.dashscope_max_running, settings.dashscope_submits_per_second) == (2, 2)
    declared = WAN22_FLASH.offering(ProviderName.DASHSCOPE)
    assert declared is not None
    assert {name: 5 * price for name, price in declared.per_second.items()} == {
        Resolution.P480: settings.dashscope_price_cny_480p,
        Resolution.P720: settings.dashscope_price_cny_720p,
    }
    assert settings.dashscope_usd_per_cny == DEFAULT_USD_PER[Currency.CNY]


def test_by_default_no_provider_has_a_budget_of_its_own(load: Any) -> None:
    budgets = [name for name in Settings.model_fields if re.match("(vtrix|dashscope)_budget_", name)]
    assert len(budgets) == 4
    assert {getattr(load(), name) for name in budgets} == {None}
    assert load(DASHSCOPE_BUDGET_USD_PER_DAY="2.50").dashscope_budget_usd_per_day == Decimal("2.50")
    assert load(DASHSCOPE_BUDGET_USD_PER_DAY="none").dashscope_budget_usd_per_day is None


def test_only_the_first_model_is_offered_unless_others_are_named(load: Any) -> None:
    assert load().models == ("wan22_i2v_flash",)


def test_models_are_separated_by_commas_the_default_first(load: Any) -> None:
    offered = load(
        MODELS=" wan25_i2v_preview, wan22_i2v_flash,wan25_i2v_preview ",
        PROVIDERS="dashscope",
        DASHSCOPE_API_KEY="key-for-dashscope",
    )

    assert offered.models == ("wan25_i2v_preview", "wan22_i2v_flash")


@pytest.mark.parametrize("names", ["wan99", "wan22_i2v_flash, wan99", ","])
def test_an_unknown_model_is_a_problem_that_lists_the_known_ones(load: Any, names: str) -> None:
    [problem] = problems(load, MODELS=names)

    assert problem.startswith("MODELS is invalid: it names ")
    assert "`wan22_i2v_flash` or `wan25_i2v_preview`" in problem


def test_a_model_that_no_provider_offers_is_a_problem(load: Any) -> None:
    assert problems(load, MODELS="wan22_i2v_flash,wan25_i2v_preview") == [
        "MODELS names wan25_i2v_preview, but no provider in PROVIDERS offers it. Change one of them."
    ]
