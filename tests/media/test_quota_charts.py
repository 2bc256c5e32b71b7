"""The picture of a member's quota."""

import io
import itertools
from datetime import UTC, datetime, timedelta

import pytest
from PIL import Image, ImageColor

from bot.domain.limits import Allowance, Limit, Limits, Origin, Usage
from bot.media import charts
from bot.media.chart_worker import LEFT, QUOTA_HEIGHT_PX, QUOTA_WIDTH_PX, USED, draw

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
DAY = timedelta(hours=24)


def allowance(limit: int, *hours_ago: float) -> Allowance:
    """A member with this limit who made videos then."""
    limits = Limits(Limit(limit, Origin.SERVER), Limit(2, Origin.SERVER), Limit(0, Origin.SERVER), DAY)
    used = Usage(charged_at=tuple(NOW - timedelta(hours=hours) for hours in sorted(hours_ago, reverse=True)))
    return Allowance(limits, used, NOW)


def drawn(result: Allowance) -> Image.Image:
    """What the process draws, without the process."""
    return Image.open(io.BytesIO(draw(charts.quota_input(result))), formats=["PNG"]).convert("RGB")


def pixel_count(picture: Image.Image, color: str) -> int:
    counted = picture.getcolors(QUOTA_WIDTH_PX * QUOTA_HEIGHT_PX) or []
    return sum(count for count, color_ in counted if color_ == ImageColor.getrgb(color))


def boxes(picture: Image.Image) -> list[str]:
    """The boxes from left to right: left or used."""
    row, found = [picture.getpixel((x, 116)) for x in range(QUOTA_WIDTH_PX)], []
    names = {ImageColor.getrgb(LEFT): "left", ImageColor.getrgb(USED): "used"}
    for before, pixel in itertools.pairwise(row):
        if pixel != before and pixel in names:
            found.append(names[pixel])
    return found


def test_each_video_of_the_limit_has_a_box() -> None:
    assert boxes(drawn(allowance(5, 1, 2))) == ["left", "left", "left", "used", "used"]


def test_a_full_window_has_nothing_left() -> None:
    assert boxes(drawn(allowance(3, 1, 2, 3))) == ["used"] * 3


def test_each_used_video_is_marked_where_it_unlocks() -> None:
    data = charts.quota_input(allowance(5, 1, 23))

    assert data["unlocks_in_s"] == [3600, 23 * 3600]
    axis = drawn(allowance(5, 23)).crop((0, 200, QUOTA_WIDTH_PX, 240))
    assert axis.getpixel((40 + 640 // 24, 22)) == ImageColor.getrgb(LEFT)
    assert axis.getpixel((40 + 640 // 2, 22)) != ImageColor.getrgb(LEFT)


def test_with_a_limit_that_was_lowered_only_what_makes_room_unlocks() -> None:
    data = charts.quota_input(allowance(1, 1, 2, 3))

    assert (data["left"], data["unlocks_in_s"]) == (0, [23 * 3600])


@pytest.mark.parametrize("limit", [1, 20, 21, 10_000])
@pytest.mark.parametrize("used", [0, 1, 100])
def test_any_limit_and_use_is_drawn(limit: int, used: int) -> None:
    picture = drawn(allowance(limit, *(number / 5 for number in range(used))))

    assert picture.size == (QUOTA_WIDTH_PX, QUOTA_HEIGHT_PX)
    assert (pixel_count(picture, LEFT) > 100) == (used < limit or used > 0)


def test_times_that_a_changed_clock_puts_outside_of_the_window_are_drawn_at_its_ends() -> None:
    assert charts.quota_input(allowance(5, 30, -1))["unlocks_in_s"] == [0, 24 * 3600]


async def test_it_is_drawn_in_the_same_process_as_other_charts() -> None:
    result = allowance(5, 1)

    assert await charts.draw_quota(result) == draw(charts.quota_input(result))
