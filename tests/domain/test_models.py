from dataclasses import replace
from decimal import Decimal

import pytest

from bot.domain.jobs import Order, ProviderName, Resolution
from bot.domain.models import (
    DECLARED,
    WAN22_FLASH,
    WAN25_PREVIEW,
    Catalog,
    Currency,
    Model,
    TaskKind,
    configured,
    not_offered,
    subsets,
    title_of,
)

BOTH = Catalog((WAN22_FLASH, WAN25_PREVIEW), (ProviderName.VTRIX, ProviderName.DASHSCOPE))
P480, P720, P1080 = Resolution
NAMES = [model.name for model in DECLARED]


@pytest.mark.parametrize("model", DECLARED, ids=NAMES)
def test_a_declaration_is_complete(model: Model) -> None:
    """What everything else relies on: each resolution has a price at each provider, the lowest comes first."""
    assert list(model.resolutions) == [one for one in Resolution if one in model.resolutions]
    assert model.durations_s
    assert model.offerings
    for offering in model.offerings:
        assert set(offering.per_second) == set(model.resolutions)
        assert all(price > 0 for price in offering.per_second.values())


def test_names_and_titles_are_unique() -> None:
    assert len(set(NAMES)) == len({model.title for model in DECLARED}) == len(DECLARED)


def test_a_video_costs_what_its_seconds_cost_in_the_providers_currency() -> None:
    kind = TaskKind(ProviderName.DASHSCOPE, WAN25_PREVIEW.name, P1080, 10)

    assert BOTH.estimate(kind) == Decimal("1.4")
    assert replace(BOTH, usd_per={Currency.CNY: Decimal("0.2")}).estimate(kind) == 2
    assert replace(BOTH, prices={kind: Decimal(3)}).estimate(kind) == 3


def test_an_order_is_made_by_the_providers_that_offer_its_model() -> None:
    ten_seconds = Order("a fox", resolution=P1080, model=WAN25_PREVIEW.name, duration_s=10)

    assert [kind.provider for kind in BOTH.kinds_of(ten_seconds)] == [ProviderName.DASHSCOPE]
    assert [kind.provider for kind in BOTH.kinds_of(Order("a fox"))] == [*BOTH.providers]


def test_choices_are_those_of_all_models_together() -> None:
    assert (BOTH.resolutions, BOTH.durations_s, BOTH.prompt_max) == ((P480, P720, P1080), (5, 10), 1500)
    assert BOTH.has_choice
    assert BOTH.has_durations


def test_with_the_default_model_alone_there_is_nothing_to_choose() -> None:
    assert (Catalog().resolutions, Catalog().durations_s, Catalog().prompt_max) == ((P480, P720), (5,), 800)
    assert not Catalog().has_choice
    assert not Catalog().has_durations


@pytest.mark.parametrize(
    ("allowed", "usual"),
    [
        (None, WAN22_FLASH),
        ({WAN25_PREVIEW.name, WAN22_FLASH.name}, WAN22_FLASH),
        ({WAN25_PREVIEW.name}, WAN25_PREVIEW),
        ({"retired"}, WAN22_FLASH),
    ],
)
def test_the_usual_model_is_the_first_that_the_server_allows(allowed: set[str] | None, usual: Model) -> None:
    assert BOTH.usual(allowed) is usual


@pytest.mark.parametrize(
    ("model", "allowed", "wanted", "best"),
    [
        (WAN22_FLASH, {P480, P720}, None, P720),
        (WAN22_FLASH, {P480}, None, P480),
        (WAN22_FLASH, {P480}, P720, P480),
        (WAN22_FLASH, {P480, P720}, P480, P480),
        (WAN22_FLASH, set(), None, P720),
        (WAN22_FLASH, set(Resolution), P1080, P720),
        (WAN22_FLASH, {P1080}, None, P720),
        (WAN25_PREVIEW, {P480, P720}, None, P720),
        (WAN25_PREVIEW, set(Resolution), None, P1080),
        (WAN25_PREVIEW, {P480, P720}, P1080, P720),
    ],
)
def test_the_default_resolution_is_the_best_that_model_and_server_allow(
    model: Model, allowed: set[Resolution], wanted: Resolution | None, best: Resolution
) -> None:
    assert model.best_resolution(allowed, wanted) is best


def test_the_settings_name_the_models_that_are_offered_the_default_first() -> None:
    catalog = configured([WAN25_PREVIEW.name, WAN22_FLASH.name], [ProviderName.DASHSCOPE], prices={})

    assert catalog.models == (WAN25_PREVIEW, WAN22_FLASH)
    assert catalog.default is WAN25_PREVIEW


def test_a_model_needs_a_provider_that_offers_it() -> None:
    assert not_offered(NAMES, [ProviderName.VTRIX]) == [WAN25_PREVIEW.name]
    assert not_offered(NAMES, [ProviderName.DASHSCOPE]) == []


def test_all_choices_of_some_begin_with_all_and_go_on_with_each() -> None:
    assert subsets("ab") == [("a", "b"), ("a",), ("b",)]
    assert subsets("abc") == [("a", "b", "c"), ("a",), ("b",), ("c",), ("a", "b"), ("a", "c"), ("b", "c")]
    assert subsets("a") == [("a",)]


def test_a_model_that_is_not_known_any_more_is_called_by_its_name() -> None:
    assert (title_of(WAN22_FLASH.name), title_of("retired")) == ("Wan 2.2 Flash", "retired")
