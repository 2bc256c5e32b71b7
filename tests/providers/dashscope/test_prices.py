"""What a task cost, from the seconds that DashScope bills."""

from dataclasses import replace
from decimal import Decimal

import pytest

from bot.domain.jobs import DEFAULT_MODEL, ProviderName, Resolution
from bot.domain.models import DEFAULT_USD_PER, WAN22_FLASH, Currency, Offering
from bot.providers.dashscope.prices import Usage, cost_usd, repriced, usd_per_second

RATE = {**DEFAULT_USD_PER, Currency.CNY: Decimal("0.15")}


@pytest.mark.parametrize(
    ("usage", "cost"),
    [
        (Usage(Resolution.P480, Decimal(5), 1), Decimal("0.075")),
        (Usage(Resolution.P720, Decimal(5), 1), Decimal("0.15")),
        (Usage(Resolution.P720, Decimal("2.5"), 2), Decimal("0.15")),
        (Usage(Resolution.P1080, Decimal(5), 1), None),
    ],
)
def test_a_cost_is_seconds_times_price_times_rate(usage: Usage, cost: Decimal | None) -> None:
    assert cost_usd(usage, DEFAULT_MODEL, usd_per_second([WAN22_FLASH], RATE)) == cost


def test_a_cost_is_rounded_up_to_what_the_ledger_keeps() -> None:
    prices = {(DEFAULT_MODEL, Resolution.P480): Decimal("0.00000000012")}
    assert cost_usd(Usage(Resolution.P480, Decimal(1), 1), DEFAULT_MODEL, prices) == Decimal("0.000000001")


def test_an_operators_price_of_a_video_replaces_the_declared_one() -> None:
    model = repriced(WAN22_FLASH, {Resolution.P480: Decimal("0.40")})
    offering = model.offering(ProviderName.DASHSCOPE)
    assert offering is not None
    assert offering.per_second == {Resolution.P480: Decimal("0.08"), Resolution.P720: Decimal("0.20")}
    assert model.offering(ProviderName.VTRIX) == WAN22_FLASH.offering(ProviderName.VTRIX)


def test_each_model_has_prices_of_its_own() -> None:
    dearer = {Resolution.P480: Decimal("0.10"), Resolution.P720: Decimal("0.70")}
    other = replace(
        WAN22_FLASH, name="other", offerings=(Offering(ProviderName.DASHSCOPE, "other", dearer, Currency.CNY),)
    )
    prices, usage = usd_per_second([WAN22_FLASH, other], RATE), Usage(Resolution.P720, Decimal(5), 1)
    assert cost_usd(usage, DEFAULT_MODEL, prices) == Decimal("0.15")
    assert cost_usd(usage, "other", prices) == Decimal("0.525")
    assert cost_usd(usage, "unknown", prices) is None


def test_a_model_that_is_offered_elsewhere_has_no_price_here() -> None:
    elsewhere = replace(WAN22_FLASH, offerings=WAN22_FLASH.offerings[:1])
    assert usd_per_second([elsewhere], RATE) == {}
