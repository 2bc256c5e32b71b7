"""The chart of costs over time."""

import io
from datetime import date, timedelta
from decimal import Decimal

from PIL import Image, ImageColor

from bot.domain.cost_history import CostDay
from bot.domain.jobs import ProviderName
from bot.media import charts
from bot.media.chart_worker import (
    BUDGET,
    COSTS_HEIGHT_PX,
    COSTS_WIDTH_PX,
    DASHSCOPE,
    VTRIX,
    draw,
)

LAST = date(2026, 1, 31)


def days(vtrix: str, dashscope: str = "0", count: int = 30) -> list[CostDay]:
    costs = {ProviderName.VTRIX: Decimal(vtrix), ProviderName.DASHSCOPE: Decimal(dashscope)}
    known = {name: usd for name, usd in costs.items() if usd}
    return [
        CostDay(LAST - timedelta(days=age), 1, sum(known.values(), Decimal(0)), known) for age in range(count)
    ][::-1]


def pixels(drawn: list[CostDay], color: str, budget: str | None = None) -> int:
    png = draw(charts.costs_input(drawn, None if budget is None else Decimal(budget)))
    picture = Image.open(io.BytesIO(png), formats=["PNG"]).convert("RGB")
    assert picture.size == (COSTS_WIDTH_PX, COSTS_HEIGHT_PX)
    rgb = ImageColor.getrgb(color)
    return sum(count for count, found in picture.getcolors(COSTS_WIDTH_PX * COSTS_HEIGHT_PX) or [] if found == rgb)


def test_each_provider_has_an_area_as_large_as_its_costs() -> None:
    both = days("3", "1")
    vtrix, dashscope = pixels(both, VTRIX), pixels(both, DASHSCOPE)
    assert 2.7 < vtrix / dashscope < 3.3


def test_a_provider_that_cost_nothing_is_left_out() -> None:
    assert pixels(days("3"), DASHSCOPE) == 0


def test_a_budget_is_a_line_where_the_days_come_near_it_and_a_note_anyway() -> None:
    none, far, near = (pixels(days("3"), BUDGET, budget) for budget in (None, "50", "2"))
    assert none < far < near


def test_days_without_costs_are_drawn_too() -> None:
    assert pixels(days("0"), VTRIX) == 0
    assert pixels(days("0", count=1), VTRIX, "0") == 0


async def test_the_chart_is_drawn_in_a_process_of_its_own() -> None:
    png = await charts.draw_costs(days("0.14"), Decimal(3))
    assert png.startswith(b"\x89PNG")
    assert len(png) < 40_000
