"""A process that draws one chart as a PNG: a server's videos and costs per day, all costs, or a member's quota.

It reads the fields of a `Usage`, a `Costs` or a `Quota` as JSON from its standard input and writes the picture to
its standard output. It is a process of its own because the bot itself doesn't load Pillow. It imports nothing else
of ours, because starting takes longer than drawing.

The charts have a dark background, so that they look the same in Discord's dark and light themes. Their colors are
distinguishable with color blindness and differ in brightness too.
"""

import io
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

from PIL import Image, ImageDraw, ImageFont

WIDTH_PX, HEIGHT_PX = 1000, 620

_LEFT, _RIGHT = 100, 980
_VIDEOS_TOP, _VIDEOS_BOTTOM = 42, 316
_COSTS_TOP, _COSTS_BOTTOM = 366, 536
_DAYS_TOP, _UNIT_MIDDLE = 546, 602
_FONT_PX, _LINE_PX = 18, 21
_SWATCH_PX, _GAP_PX = 14, 7

_MAX_SPACED_BARS = 100  # more are drawn without gaps
_BAR_SHARE = 0.8  # of the space for one
_MIN_SPACES = 7  # a single bar should not fill the chart
_HEADROOM = 1.08  # above the tallest bar
_MAX_LABELS = 10

BACKGROUND, TEXT, GRID = "#1e2127", "#e8eaed", "#454b55"
DELIVERED, FAILED, CANCELLED, IN_PROGRESS = "#56b4e9", "#d55e00", "#8d949e", "#f0e442"
REJECTED = "#cc79a7"
SETTLED, RESERVED = "#2bb58a", "#b9ead9"
VTRIX, DASHSCOPE, BUDGET = "#56b4e9", "#e69f00", "#e8eaed"

QUOTA_WIDTH_PX, QUOTA_HEIGHT_PX = 720, 300
"""Narrow, so that its text is still readable at the width of a phone."""

COSTS_WIDTH_PX, COSTS_HEIGHT_PX = 800, 378
"""As narrow as thirty bars allow, for the same reason."""

_COSTS_LEFT, _COSTS_RIGHT, _COSTS_PANEL_TOP, _COSTS_PANEL_BOTTOM = 84, 784, 52, 330
_COSTS_FONT_PX, _COSTS_LABELS = 22, 6
_DASH_PX = 8

_MARGIN_PX, _TITLE_PX, _LABEL_PX = 40, 40, 26
_SLOTS_TOP, _SLOTS_BOTTOM = 92, 140
_AXIS_Y, _MARK_PX = 222, 9
_MAX_SLOTS = 20  # more are drawn as one bar

LEFT, USED = "#56b4e9", "#5d646f"


class Usage(NamedTuple):
    """A server's use. unit: `day` or `week`. days: the first day of each bar, in ISO format; at least one.

    videos, costs: for each name in the legend, the height of each bar's part.
    """

    unit: str
    days: Sequence[str]
    videos: Mapping[str, Sequence[int]]
    costs: Mapping[str, Sequence[float]]


class Costs(NamedTuple):
    """What videos cost. days: in ISO format; at least one. budget: of a day; None without one.

    by_provider: for each provider's name, what each day cost in USD.
    """

    days: Sequence[str]
    by_provider: Mapping[str, Sequence[float]]
    budget: float | None


class Quota(NamedTuple):
    """A member's rolling window. left: of `limit` videos, at least 1. unlocks_in_s: when each used one unlocks."""

    limit: int
    left: int
    window_s: float
    unlocks_in_s: Sequence[float]


_COLORS = {
    "delivered": DELIVERED,
    "failed": FAILED,
    "rejected": REJECTED,
    "cancelled": CANCELLED,
    "in progress": IN_PROGRESS,
    "settled": SETTLED,
    "reserved": RESERVED,
    "vtrix": VTRIX,
    "dashscope": DASHSCOPE,
}


def draw_usage(chart: Usage) -> bytes:
    """A server's use as a PNG."""
    picture = Image.new("RGB", (WIDTH_PX, HEIGHT_PX), BACKGROUND)
    canvas = ImageDraw.Draw(picture)
    # The font that Pillow brings along: the same on every host.
    canvas.font = ImageFont.load_default(_FONT_PX)
    videos = _Panel(canvas, len(chart.days), _VIDEOS_TOP, _VIDEOS_BOTTOM)
    costs = _Panel(canvas, len(chart.days), _COSTS_TOP, _COSTS_BOTTOM)
    videos.draw(chart.videos, _steps(chart.videos, count=5, whole=True))
    costs.draw(chart.costs, _steps(chart.costs, count=4, whole=False))
    for panel, what in ((videos, "Videos"), (costs, "USD")):
        _write_upwards(picture, f"{what} a {chart.unit}", (panel.top + panel.bottom) // 2)
    _label_days(canvas, costs, [date.fromisoformat(day) for day in chart.days])
    unit = "Day (UTC)" if chart.unit == "day" else "Week from (UTC)"
    canvas.text(((_LEFT + _RIGHT) // 2, _UNIT_MIDDLE), unit, TEXT, anchor="mm")
    return _png(picture)


def draw_costs(costs: Costs) -> bytes:
    """What videos cost on each day as a PNG, and a dashed line where a day's budget ends."""
    picture = Image.new("RGB", (COSTS_WIDTH_PX, COSTS_HEIGHT_PX), BACKGROUND)
    canvas = ImageDraw.Draw(picture)
    canvas.font = ImageFont.load_default(_COSTS_FONT_PX)
    sides = {"left": _COSTS_LEFT, "right": _COSTS_RIGHT}
    panel = _Panel(canvas, len(costs.days), _COSTS_PANEL_TOP, _COSTS_PANEL_BOTTOM, **sides)
    series = costs.by_provider or {"": [0.0] * len(costs.days)}
    highest = _highest(series) * _HEADROOM
    panel.draw(series, _steps(series, count=4, whole=False))
    if costs.budget is not None and 0 < costs.budget <= highest:
        y = panel.bottom - round(costs.budget * (panel.bottom - panel.top) / highest)
        for x in range(panel.left, panel.right, 2 * _DASH_PX):
            canvas.line((x, y, min(x + _DASH_PX, panel.right), y), BUDGET, 3)
    note = "" if costs.budget is None else f"; a day's budget: {_short_number(costs.budget)}"
    canvas.text((panel.right, panel.top - _LINE_PX + _SWATCH_PX // 2), f"USD a day{note}", TEXT, anchor="rm")
    _label_days(canvas, panel, [date.fromisoformat(day) for day in costs.days], most=_COSTS_LABELS)
    return _png(picture)


def draw_quota(quota: Quota) -> bytes:
    """A member's quota as a PNG: a box for each video, and on a line of time when each used one unlocks."""
    picture = Image.new("RGB", (QUOTA_WIDTH_PX, QUOTA_HEIGHT_PX), BACKGROUND)
    canvas = ImageDraw.Draw(picture)
    title = f"{quota.left:,} of {quota.limit:,} left"
    canvas.text((_MARGIN_PX, _MARGIN_PX), title, TEXT, ImageFont.load_default(_TITLE_PX), anchor="lm")
    canvas.font = ImageFont.load_default(_LABEL_PX)
    _draw_slots(canvas, quota)
    _draw_unlocks(canvas, quota)
    return _png(picture)


def _draw_slots(canvas: ImageDraw.ImageDraw, quota: Quota) -> None:
    """A box for each video of the limit, those that are left first; for many, one bar."""
    width = QUOTA_WIDTH_PX - 2 * _MARGIN_PX
    boxes = quota.limit if quota.limit <= _MAX_SLOTS else 1
    space = width / boxes
    for box in range(boxes):
        x, right = _MARGIN_PX + box * space, _MARGIN_PX + (box + 1) * space - (8 if boxes > 1 else 0)
        color = LEFT if boxes > 1 and box < quota.left else USED
        canvas.rounded_rectangle((x, _SLOTS_TOP, right, _SLOTS_BOTTOM), 8, color)
    if boxes == 1 and quota.left:
        right = _MARGIN_PX + width * quota.left / quota.limit
        canvas.rounded_rectangle((_MARGIN_PX, _SLOTS_TOP, max(right, _MARGIN_PX + 16), _SLOTS_BOTTOM), 8, LEFT)


def _draw_unlocks(canvas: ImageDraw.ImageDraw, quota: Quota) -> None:
    """The coming window from left to right, with a mark where a video unlocks; close ones share a label."""
    start, end = _MARGIN_PX, QUOTA_WIDTH_PX - _MARGIN_PX
    canvas.line((start, _AXIS_Y, end, _AXIS_Y), GRID, 4)
    canvas.text((start, QUOTA_HEIGHT_PX - _MARGIN_PX), "now", TEXT, anchor="lm")
    canvas.text((end, QUOTA_HEIGHT_PX - _MARGIN_PX), f"in {_short_time(quota.window_s)}", TEXT, anchor="rm")
    marks = [(start + (end - start) * seconds / quota.window_s, seconds) for seconds in sorted(quota.unlocks_in_s)]
    for x, _ in marks:
        canvas.circle((x, _AXIS_Y), _MARK_PX, LEFT)
    free_from = float(start)
    while marks:
        close = [mark for mark in marks if mark[0] - marks[0][0] < 3 * _MARK_PX]
        marks = marks[len(close) :]
        x, seconds = close[-1]
        label = f"+{len(close)} in {_short_time(seconds)}"
        half = canvas.textlength(label) / 2
        middle = min(max(x, start + half), end - half)
        if middle - half >= free_from:
            canvas.text((middle, _AXIS_Y - 34), label, TEXT, anchor="mm")
            free_from = middle + half + _GAP_PX


def _short_time(seconds: float) -> str:
    """A time on the line: 12 min, 5 h, 3 d."""
    if seconds < 3600:  # noqa: PLR2004 - an hour
        return f"{max(1, math.ceil(seconds / 60))} min"
    return f"{round(seconds / 3600)} h" if seconds < 48 * 3600 else f"{round(seconds / 86400)} d"


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=3)
    return file.getvalue()


class _Panel:
    """One of the two sets of axes, with bars on top of each other."""

    def __init__(
        self,
        canvas: ImageDraw.ImageDraw,
        count: int,
        top: int,
        bottom: int,
        *,
        left: int = _LEFT,
        right: int = _RIGHT,
    ) -> None:
        self.top, self.bottom, self.left, self.right = top, bottom, left, right
        self._canvas = canvas
        self._count = count
        spaces = max(count + 0.2, _MIN_SPACES)
        self._space_px = (right - left) / spaces
        self._first_px = left + (spaces - count) / 2 * self._space_px

    def x(self, bar: float) -> float:
        """The horizontal middle of a bar, counted from 0."""
        return self._first_px + (bar + 0.5) * self._space_px

    def draw(self, series: Mapping[str, Sequence[float]], step: float) -> None:
        """Draws grid, bars and legend. A series of zeros is left out, also of the legend. step: of the grid."""
        highest = _highest(series) * _HEADROOM or 1.0
        scale = (self.bottom - self.top) / highest
        shown = [name for name, heights in series.items() if any(heights)]
        for number in range(math.floor(highest / step) + 1 if shown else 1):
            y = self.bottom - round(number * step * scale)
            self._canvas.line((self.left, y, self.right, y), GRID)
            self._canvas.text((self.left - _GAP_PX, y), _short_number(number * step), TEXT, anchor="rm")
        below = [0.0] * self._count
        for name in shown:
            for bar, height in enumerate(series[name]):
                left, right = self._edges(bar)
                lower, upper = (self.bottom - round(value * scale) for value in (below[bar], below[bar] + height))
                if upper < lower:
                    self._canvas.rectangle((left, upper, right - 1, lower - 1), _COLORS[name])
                below[bar] += height
        x = float(self.left)
        for name in shown:
            y = self.top - _LINE_PX
            self._canvas.rectangle((x, y, x + _SWATCH_PX - 1, y + _SWATCH_PX - 1), _COLORS[name])
            x += _SWATCH_PX + _GAP_PX
            self._canvas.text((x, y + _SWATCH_PX // 2), name, TEXT, anchor="lm")
            x += round(self._canvas.textlength(name)) + 3 * _GAP_PX

    def _edges(self, bar: int) -> tuple[int, int]:
        half = (_BAR_SHARE if self._count <= _MAX_SPACED_BARS else 1) / 2
        left = round(self.x(bar - half))
        return left, max(left + 1, round(self.x(bar + half)))


def _highest(series: Mapping[str, Sequence[float]]) -> float:
    return max(float(sum(heights)) for heights in zip(*series.values(), strict=True))


def _steps(series: Mapping[str, Sequence[float]], *, count: int, whole: bool) -> float:
    """The distance of the grid's lines, a round number: at most `count` of them fit. whole: an integer."""
    least = _highest(series) * _HEADROOM / count or 1.0
    if whole and least <= 1:
        return 1.0
    power = 10.0 ** math.floor(math.log10(least))
    rounds = (1, 2, 5, 10) if whole else (1, 2, 2.5, 5, 10)
    return next(power * number for number in rounds if power * number >= least)


def _label_days(
    canvas: ImageDraw.ImageDraw, panel: _Panel, days: Sequence[date], *, most: int = _MAX_LABELS
) -> None:
    width_px, _ = canvas.im.size
    for bar, label in _day_labels(days, most):
        half_px = max(map(canvas.textlength, label.splitlines())) / 2
        x = min(panel.x(bar), width_px - _GAP_PX - half_px)
        canvas.multiline_text(
            (x, panel.bottom + _DAYS_TOP - _COSTS_BOTTOM), label, TEXT, anchor="ma", align="center", spacing=2
        )


def _day_labels(days: Sequence[date], most: int) -> Iterator[tuple[int, str]]:
    """Labels for some of the bars, the last one always, with the year where it changes."""
    step = max(1, -(-len(days) // most))
    labeled_year = days[-1].year if days[0].year == days[-1].year else None
    for bar in range(len(days) - 1, -1, -step)[::-1]:
        day = days[bar]
        yield bar, f"{day:%b} {day.day}" if day.year == labeled_year else f"{day:%b} {day.day}\n{day.year}"
        labeled_year = day.year


def _write_upwards(picture: Image.Image, text: str, middle_y: int) -> None:
    """Writes text at the left edge, turned by 90 degrees."""
    font = ImageFont.load_default(_FONT_PX)
    mask = Image.new("L", (round(font.getlength(text)) + 2, _LINE_PX + 2))
    ImageDraw.Draw(mask).text((1, mask.height // 2), text, 255, font, anchor="lm")
    turned = mask.transpose(Image.Transpose.ROTATE_90)
    picture.paste(TEXT, (_GAP_PX, middle_y - turned.height // 2), turned)


def _short_number(value: float) -> str:
    """A number on an axis: 0.05, 12, 3,400, 1.2M."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"


def draw(fields: Mapping[str, Any]) -> bytes:
    """The chart that has these fields."""
    if "by_provider" in fields:
        return draw_costs(Costs(**fields))
    return draw_quota(Quota(**fields)) if "unlocks_in_s" in fields else draw_usage(Usage(**fields))


if __name__ == "__main__":
    sys.stdout.buffer.write(draw(json.load(sys.stdin)))
