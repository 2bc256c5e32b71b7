import io
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from decimal import Decimal
from functools import cache

import pytest
from PIL import Image, ImageColor

from bot.domain.usage_stats import Day, VideoCounts
from bot.media import charts
from bot.media.chart_worker import (
    BACKGROUND,
    CANCELLED,
    DELIVERED,
    FAILED,
    HEIGHT_PX,
    IN_PROGRESS,
    REJECTED,
    RESERVED,
    SETTLED,
    TEXT,
    WIDTH_PX,
    draw,
)

LAST = date(2026, 1, 31)
ONE_DAY = [Day(LAST, VideoCounts(delivered=4), Decimal("0.80"))]


def make_days(count: int, make: Callable[[date, int], Day]) -> list[Day]:
    return [make(LAST - timedelta(days=count - 1 - number), number) for number in range(count)]


def drawn(days: Sequence[Day]) -> bytes:
    """What the process draws, without the process."""
    return draw(charts.usage_input(days))


def render(days: list[Day]) -> Image.Image:
    return render_once(tuple(days))


@cache
def render_once(days: tuple[Day, ...]) -> Image.Image:
    return Image.open(io.BytesIO(drawn(days)), formats=["PNG"]).convert("RGB")


def pixel_count(picture: Image.Image, color: str) -> int:
    """How many pixels have exactly this color."""
    rgb = ImageColor.getrgb(color)
    return sum(count for count, color_ in picture.getcolors(WIDTH_PX * HEIGHT_PX) or [] if color_ == rgb)


def luminance(color: str) -> float:
    """Relative luminance, as the Web Content Accessibility Guidelines define it."""
    parts = [value / 255 for value in ImageColor.getrgb(color)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_chart_has_its_size_and_background() -> None:
    picture = render(ONE_DAY)

    assert picture.size == (WIDTH_PX, HEIGHT_PX)
    corners = [(0, 0), (WIDTH_PX - 1, 0), (0, HEIGHT_PX - 1), (WIDTH_PX - 1, HEIGHT_PX - 1)]
    assert {picture.getpixel(corner) for corner in corners} == {ImageColor.getrgb(BACKGROUND)}


@pytest.mark.parametrize(
    ("videos", "color"),
    [
        (VideoCounts(delivered=1), DELIVERED),
        (VideoCounts(failed=1), FAILED),
        (VideoCounts(rejected=1), REJECTED),
        (VideoCounts(cancelled=1), CANCELLED),
        (VideoCounts(in_progress=1), IN_PROGRESS),
    ],
)
def test_each_outcome_has_its_color_and_others_are_not_drawn(videos: VideoCounts, color: str) -> None:
    picture = render([Day(LAST, videos)])

    assert pixel_count(picture, color) > 1000
    others = {DELIVERED, FAILED, REJECTED, CANCELLED, IN_PROGRESS, SETTLED, RESERVED} - {color}
    assert [other for other in others if pixel_count(picture, other)] == []


def test_settled_and_reserved_costs_have_different_colors() -> None:
    picture = render([Day(LAST, VideoCounts(in_progress=1), Decimal(3), reserved_usd=Decimal(1))])

    assert pixel_count(picture, SETTLED) > 1.5 * pixel_count(picture, RESERVED) > 1000


def test_stacked_bars_are_proportional_to_their_values() -> None:
    picture = render([Day(LAST, VideoCounts(delivered=3, failed=1))])

    share = pixel_count(picture, FAILED) / (pixel_count(picture, DELIVERED) + pixel_count(picture, FAILED))
    assert share == pytest.approx(0.25, abs=0.02)


async def test_the_chart_is_drawn_in_a_process_of_its_own() -> None:
    assert await charts.draw_usage(ONE_DAY) == drawn(ONE_DAY)


async def test_a_process_that_fails_is_an_error_that_says_why() -> None:
    with pytest.raises(OSError, match=r"(?s)exited with 1: .*ValueError"):
        await charts.draw_usage([])


async def test_a_process_that_hangs_is_ended() -> None:
    with pytest.raises(TimeoutError):
        await charts.draw_usage(ONE_DAY, timeout_s=0)


def test_different_numbers_give_a_different_chart() -> None:
    assert drawn(ONE_DAY) != drawn([Day(LAST, VideoCounts(delivered=4, failed=3), Decimal("0.80"))])


@pytest.mark.parametrize("count", [1, 31, 101, 366, 3000])
def test_any_number_of_days_is_drawn(count: int) -> None:
    picture = render(
        make_days(count, lambda day, _: Day(day, VideoCounts(5, 1, 1, 1), Decimal(1), Decimal("0.25")))
    )

    assert picture.size == (WIDTH_PX, HEIGHT_PX)
    assert pixel_count(picture, DELIVERED) > 10_000
    assert pixel_count(picture, SETTLED) > 10_000


def test_a_single_bar_does_not_fill_the_chart() -> None:
    assert pixel_count(render(ONE_DAY), DELIVERED) < WIDTH_PX * HEIGHT_PX / 8


def test_a_few_videos_among_many_days_are_visible() -> None:
    picture = render(make_days(365, lambda day, number: Day(day, VideoCounts(delivered=int(number == 100)))))

    assert pixel_count(picture, DELIVERED) > 100


@pytest.mark.parametrize(
    "days",
    [
        [Day(LAST)],
        [Day(LAST, VideoCounts(10**15), Decimal(10) ** 15)],
        [Day(LAST, VideoCounts(1), Decimal("0.000000001"))],
        [Day(LAST, VideoCounts(1), Decimal("-0.50"))],
        [Day(date(9999, 12, 31), VideoCounts(1))],
    ],
    ids=["nothing", "huge", "tiny", "negative", "far"],
)
def test_extreme_values_are_drawn(days: list[Day]) -> None:
    assert render(days).size == (WIDTH_PX, HEIGHT_PX)


@pytest.mark.parametrize("color", [DELIVERED, FAILED, REJECTED, CANCELLED, IN_PROGRESS, SETTLED, RESERVED])
def test_bars_stand_out_from_the_panel(color: str) -> None:
    assert contrast(color, BACKGROUND) >= 3  # the guidelines' minimum for graphics


def test_text_has_enough_contrast() -> None:
    assert contrast(TEXT, BACKGROUND) >= 7


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (DELIVERED, FAILED),
        (DELIVERED, CANCELLED),
        (FAILED, CANCELLED),
        (CANCELLED, IN_PROGRESS),
        (FAILED, IN_PROGRESS),
        (SETTLED, RESERVED),
    ],
)
def test_adjacent_colors_differ_in_brightness(one: str, other: str) -> None:
    assert contrast(one, other) >= 1.2
