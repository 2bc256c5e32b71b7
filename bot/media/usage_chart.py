"""Draws a server's use as a PNG: videos per day, and what they cost. Pure.

The chart has a dark background, so that it looks the same in Discord's dark and light themes. Its colors are
distinguishable with color blindness and differ in brightness too.
"""

import io
from collections.abc import Mapping, Sequence
from datetime import date

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from bot.domain.usage_stats import Day, by_week

WIDTH_PX, HEIGHT_PX = 1000, 620
_DPI = 100

MAX_DAILY_BARS = 366  # longer periods are drawn by week
_MAX_SPACED_BARS = 100  # more are drawn without gaps
_MAX_LABELS = 10

BACKGROUND, TEXT, GRID = "#1e2127", "#e8eaed", "#454b55"
DELIVERED, FAILED, CANCELLED, IN_PROGRESS = "#56b4e9", "#d55e00", "#8d949e", "#f0e442"
SETTLED, RESERVED = "#2bb58a", "#b9ead9"


def draw(days: Sequence[Day]) -> bytes:
    """The chart as a PNG. days: at least one, without gaps."""
    unit, bars = ("day", tuple(days)) if len(days) <= MAX_DAILY_BARS else ("week", by_week(tuple(days)))
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12)
    figure = Figure(figsize=(WIDTH_PX / _DPI, HEIGHT_PX / _DPI), dpi=_DPI, facecolor=BACKGROUND, layout=layout)
    video_axes, cost_axes = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    videos = {
        "delivered": (DELIVERED, [bar.videos.delivered for bar in bars]),
        "failed": (FAILED, [bar.videos.failed for bar in bars]),
        "cancelled": (CANCELLED, [bar.videos.cancelled for bar in bars]),
        "in progress": (IN_PROGRESS, [bar.videos.in_progress for bar in bars]),
    }
    costs = {
        "settled": (SETTLED, [max(0.0, float(bar.usd - bar.reserved_usd)) for bar in bars]),
        "reserved": (RESERVED, [max(0.0, float(bar.reserved_usd)) for bar in bars]),
    }
    _draw_stacked_bars(video_axes, f"Videos a {unit}", MaxNLocator(nbins=5, integer=True, min_n_ticks=1), videos)
    _draw_stacked_bars(cost_axes, f"USD a {unit}", MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]), costs)
    _label_days(cost_axes, [bar.day for bar in bars], unit)
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor=BACKGROUND)
    return file.getvalue()


def _draw_stacked_bars(
    axes: Axes, label: str, ticks: MaxNLocator, series: Mapping[str, tuple[str, Sequence[float]]]
) -> None:
    """Draws series (name: color, heights) on top of each other. One of zeros is left out, also of the legend."""
    count = len(next(iter(series.values()))[1])
    bottom = [0.0] * count
    for name, (color, heights) in series.items():
        if any(heights):
            top = [below + height for below, height in zip(bottom, heights, strict=True)]
            if count <= _MAX_SPACED_BARS:
                axes.bar(range(count), heights, 0.8, bottom=bottom, color=color, label=name, linewidth=0)
            else:  # one shape: hundreds of bars are slow to draw, and their gaps would be uneven
                edges = [index - 0.5 for index in range(count + 1)]
                axes.stairs(top, edges, baseline=bottom, fill=True, color=color, label=name, linewidth=0)
            bottom = top
    margin = max(0.6, (7 - count) / 2)  # in bars: a single one should not fill the chart
    axes.set_xlim(-margin, count - 1 + margin)
    axes.set_ylim(0, max(bottom) * 1.08 or 1)
    axes.set_ylabel(label, color=TEXT, fontsize=14)
    axes.yaxis.set_major_locator(ticks if any(bottom) else FixedLocator([0]))
    axes.yaxis.set_major_formatter(FuncFormatter(_short_number))
    axes.set_facecolor(BACKGROUND)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.tick_params(colors=TEXT, length=0, labelsize=14)
    axes.spines[:].set_visible(False)
    if any(bottom):
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1),
            borderaxespad=0.2,
            ncols=len(series),
            frameon=False,
            labelcolor=TEXT,
            fontsize=14,
            handlelength=1,
        )


def _label_days(axes: Axes, days: Sequence[date], unit: str) -> None:
    """Labels some of the bars, the last one always; adds the year where it changes."""
    step = max(1, -(-len(days) // _MAX_LABELS))
    indexes = range(len(days) - 1, -1, -step)[::-1]
    labels, labeled_year = [], days[-1].year if days[0].year == days[-1].year else None
    for day in (days[index] for index in indexes):
        labels.append(f"{day:%b} {day.day}" if day.year == labeled_year else f"{day:%b} {day.day}\n{day.year}")
        labeled_year = day.year
    axes.set_xticks(indexes, labels)
    axes.tick_params(axis="x", pad=10)  # keeps the first label clear of the y axis's 0
    axes.set_xlabel("Day (UTC)" if unit == "day" else "Week from (UTC)", color=TEXT, fontsize=14)


def _short_number(value: float, _position: object = None) -> str:
    """A number on an axis: 0.05, 12, 3,400, 1.2M."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"
