"""Draws a server's use as a picture: videos a day, and what they cost.

Pure: days come in, a PNG goes out. It stands on a dark panel of its own, so that it reads the same in Discord's
dark and light looks; the colours are told apart by those who see fewer of them, and differ in brightness too.
"""

import io
from collections.abc import Mapping, Sequence
from datetime import date

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator

from bot.domain.usage_stats import Day, by_week

WIDTH_PX, HEIGHT_PX = 1000, 620
_DPI = 100

DAYS_MAX = 366
"""How many days get a bar of their own; of more, each week does."""

_SPACED = 100
"""Up to so many bars there is a gap between two."""

_NAMED = 10
"""How many bars are named below them, at the most."""

PANEL, TEXT, GRID = "#1e2127", "#e8eaed", "#454b55"
DELIVERED, FAILED, CANCELLED, UNDER_WAY = "#56b4e9", "#d55e00", "#8d949e", "#f0e442"
USD, RESERVED = "#2bb58a", "#b9ead9"


def draw(days: Sequence[Day]) -> bytes:
    """The chart as a PNG. days: without gaps, at least one."""
    unit, bars = ("day", tuple(days)) if len(days) <= DAYS_MAX else ("week", by_week(tuple(days)))
    layout = ConstrainedLayoutEngine(w_pad=0.15, h_pad=0.12)
    figure = Figure(figsize=(WIDTH_PX / _DPI, HEIGHT_PX / _DPI), dpi=_DPI, facecolor=PANEL, layout=layout)
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _stack(
        above,
        MaxNLocator(nbins=5, integer=True, min_n_ticks=1),
        {
            "delivered": (DELIVERED, [bar.videos.delivered for bar in bars]),
            "failed": (FAILED, [bar.videos.failed for bar in bars]),
            "cancelled": (CANCELLED, [bar.videos.cancelled for bar in bars]),
            "under way": (UNDER_WAY, [bar.videos.in_progress for bar in bars]),
        },
    )
    above.set_ylabel(f"Videos a {unit}", color=TEXT, fontsize=14)
    _stack(
        below,
        MaxNLocator(nbins=4, steps=[1, 2, 2.5, 5, 10]),
        {
            "settled": (USD, [max(0.0, float(bar.usd - bar.reserved_usd)) for bar in bars]),
            "reserved": (RESERVED, [max(0.0, float(bar.reserved_usd)) for bar in bars]),
        },
    )
    below.set_ylabel(f"USD a {unit}", color=TEXT, fontsize=14)
    _label_days(below, [bar.day for bar in bars], unit)
    file = io.BytesIO()
    figure.savefig(file, format="png", facecolor=PANEL)
    return file.getvalue()


def _stack(axes: Axes, scale: MaxNLocator, parts: Mapping[str, tuple[str, Sequence[float]]]) -> None:
    """Bars of stacked parts; a part that is nothing everywhere is left out, of the legend too."""
    count = len(next(iter(parts.values()))[1])
    bottom = [0.0] * count
    for name, (colour, heights) in parts.items():
        if any(heights):
            top = [under + height for under, height in zip(bottom, heights, strict=True)]
            if count <= _SPACED:
                axes.bar(range(count), heights, 0.8, bottom=bottom, color=colour, label=name, linewidth=0)
            else:  # one shape for all: hundreds of bars take their time, and their gaps would flicker
                edges = [at - 0.5 for at in range(count + 1)]
                axes.stairs(top, edges, baseline=bottom, fill=True, color=colour, label=name, linewidth=0)
            bottom = top
    axes.set_xlim(-_margin(count), count - 1 + _margin(count))
    axes.set_ylim(0, max(bottom) * 1.08 or 1)
    axes.yaxis.set_major_locator(scale if any(bottom) else FixedLocator([0]))
    axes.yaxis.set_major_formatter(FuncFormatter(_short))
    axes.set_facecolor(PANEL)
    axes.set_axisbelow(True)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.tick_params(colors=TEXT, length=0, labelsize=14)
    axes.spines[:].set_visible(False)
    if any(bottom):
        axes.legend(
            loc="lower left",
            bbox_to_anchor=(0, 1),
            ncols=len(parts),
            frameon=False,
            labelcolor=TEXT,
            fontsize=14,
            borderaxespad=0.2,
            handlelength=1,
        )


def _margin(bars: int) -> float:
    """Air beside the bars, in bars: a single one is no wall."""
    return max(0.6, (7 - bars) / 2)


def _label_days(axes: Axes, days: Sequence[date], unit: str) -> None:
    """Names some of the bars, and the year where it changes."""
    shown = sorted(range(len(days) - 1, -1, -max(1, -(-len(days) // _NAMED))))  # the last day always: it is today
    names = [f"{days[at]:%b} {days[at].day}" for at in shown]
    if days[0].year != days[-1].year:
        years = [0] + [days[at].year for at in shown]
        names = [
            f"{name}\n{year}" if year != last else name
            for name, last, year in zip(names, years, years[1:], strict=False)
        ]
    axes.set_xticks(shown, names)
    axes.tick_params(axis="x", pad=10)  # the first day's name stands clear of the scale's 0
    axes.set_xlabel("Day (UTC)" if unit == "day" else "Week from (UTC)", color=TEXT, fontsize=14)


def _short(value: float, _position: object = None) -> str:
    """A number on an axis: 0.05, 12, 3,400, 1.2M."""
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if value >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:,.0f}" if value == int(value) else f"{value:.3g}"
