import io
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from functools import cache

import pytest
from PIL import Image, ImageColor

from bot.domain.usage_stats import Day, Videos
from bot.media import usage_chart
from bot.media.usage_chart import (
    CANCELLED,
    DELIVERED,
    FAILED,
    HEIGHT_PX,
    PANEL,
    RESERVED,
    TEXT,
    UNDER_WAY,
    USD,
    WIDTH_PX,
)

LAST = date(2026, 1, 31)
ONE_DAY = [Day(LAST, Videos(delivered=4), Decimal("0.80"))]


def days(count: int, make: Callable[[date, int], Day]) -> list[Day]:
    return [make(LAST - timedelta(days=count - 1 - number), number) for number in range(count)]


def drawn(of: list[Day]) -> Image.Image:
    return drawn_once(tuple(of))


@cache
def drawn_once(of: tuple[Day, ...]) -> Image.Image:
    return Image.open(io.BytesIO(usage_chart.draw(of)), formats=["PNG"]).convert("RGB")


def amount(picture: Image.Image, colour: str) -> int:
    """How many pixels have exactly this colour."""
    wanted = ImageColor.getrgb(colour)
    return sum(count for count, found in picture.getcolors(WIDTH_PX * HEIGHT_PX) or [] if found == wanted)


def luminance(colour: str) -> float:
    """Relative luminance, as the Web Content Accessibility Guidelines define it."""
    parts = [value / 255 for value in ImageColor.getrgb(colour)[:3]]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_the_picture_has_its_size_and_a_panel_of_its_own() -> None:
    picture = drawn(ONE_DAY)

    assert picture.size == (WIDTH_PX, HEIGHT_PX)
    corners = [(0, 0), (WIDTH_PX - 1, 0), (0, HEIGHT_PX - 1), (WIDTH_PX - 1, HEIGHT_PX - 1)]
    assert {picture.getpixel(corner) for corner in corners} == {ImageColor.getrgb(PANEL)}


@pytest.mark.parametrize(
    ("videos", "colour"),
    [
        (Videos(delivered=1), DELIVERED),
        (Videos(failed=1), FAILED),
        (Videos(cancelled=1), CANCELLED),
        (Videos(in_progress=1), UNDER_WAY),
    ],
)
def test_each_end_has_its_colour_and_what_did_not_happen_has_none(videos: Videos, colour: str) -> None:
    picture = drawn([Day(LAST, videos)])

    assert amount(picture, colour) > 1000
    others = {DELIVERED, FAILED, CANCELLED, UNDER_WAY, USD, RESERVED} - {colour}
    assert [other for other in others if amount(picture, other)] == []


def test_what_is_paid_and_what_is_reserved_are_told_apart() -> None:
    picture = drawn([Day(LAST, Videos(in_progress=1), Decimal(3), reserved_usd=Decimal(1))])

    assert amount(picture, USD) > 1.5 * amount(picture, RESERVED) > 1000


def test_a_stack_is_as_high_as_its_parts() -> None:
    picture = drawn([Day(LAST, Videos(delivered=3, failed=1))])

    share = amount(picture, FAILED) / (amount(picture, DELIVERED) + amount(picture, FAILED))
    assert share == pytest.approx(0.25, abs=0.02)


def test_other_numbers_give_another_picture() -> None:
    assert usage_chart.draw(ONE_DAY) != usage_chart.draw(
        [Day(LAST, Videos(delivered=4, failed=3), Decimal("0.80"))]
    )


@pytest.mark.parametrize("count", [1, 7, 31, 100, 101, 365, 366, 367, 3000])
def test_any_number_of_days_is_drawn(count: int) -> None:
    picture = drawn(days(count, lambda day, _: Day(day, Videos(5, 1, 1, 1), Decimal(1), Decimal("0.25"))))

    assert picture.size == (WIDTH_PX, HEIGHT_PX)
    assert amount(picture, DELIVERED) > 10_000
    assert amount(picture, USD) > 10_000


def test_a_single_day_is_no_wall() -> None:
    assert amount(drawn(ONE_DAY), DELIVERED) < WIDTH_PX * HEIGHT_PX / 8


def test_a_few_videos_among_many_days_are_seen() -> None:
    picture = drawn(days(365, lambda day, number: Day(day, Videos(delivered=int(number == 100)))))

    assert amount(picture, DELIVERED) > 100


@pytest.mark.parametrize(
    "of",
    [
        [Day(LAST)],
        [Day(LAST, Videos(10**15), Decimal(10) ** 15)],
        [Day(LAST, Videos(1), Decimal("0.000000001"))],
        [Day(LAST, Videos(1), Decimal("-0.50"))],
        [Day(date(9999, 12, 31), Videos(1))],
    ],
    ids=["nothing", "huge", "tiny", "negative", "far"],
)
def test_odd_numbers_are_drawn_too(of: list[Day]) -> None:
    assert drawn(of).size == (WIDTH_PX, HEIGHT_PX)


@pytest.mark.parametrize("colour", [DELIVERED, FAILED, CANCELLED, UNDER_WAY, USD, RESERVED])
def test_bars_stand_out_from_the_panel(colour: str) -> None:
    assert contrast(colour, PANEL) >= 3  # what the guidelines ask of graphics


def test_text_is_easily_read() -> None:
    assert contrast(TEXT, PANEL) >= 7


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (DELIVERED, FAILED),
        (DELIVERED, CANCELLED),
        (FAILED, CANCELLED),
        (CANCELLED, UNDER_WAY),
        (FAILED, UNDER_WAY),
        (USD, RESERVED),
    ],
)
def test_colours_that_touch_differ_in_brightness_too(one: str, other: str) -> None:
    assert contrast(one, other) >= 1.2
