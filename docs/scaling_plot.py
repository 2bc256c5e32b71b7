"""Draws `docs/pictures/scaling.png`: what one host does with ever more slots, measured and predicted.

A developer's tool, not part of the bot. The figures are those that a measurement wrote:

    PYTHONPATH=. .venv/bin/python -m tests.scaling --json figures.json
    PYTHONPATH=. .venv/bin/python docs/scaling_plot.py figures.json
"""

# ruff: noqa: INP001 - a script, not a part of a package

import argparse
import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from tests.scaling.model import DISCORD_REQUESTS_PER_S, Host, JobCosts, jobs_per_minute, limits

PICTURE = Path(__file__).with_name("pictures") / "scaling.png"
SLOTS_MAX = 4096
MODEL_TASK_S, MODEL_POLLS = 60.0, 12.6
"""A task as docs/polling.md assumes it: a minute, with this many polls."""

_MINUTE_S = 60.0


def curve(axes: Axes, costs: JobCosts, task_s: float, polls: float, label: str) -> None:
    """What the model predicts for ever more slots."""
    slots = [2**power for power in range(SLOTS_MAX.bit_length())]
    rates = [jobs_per_minute(Host(count, 100, task_s, polls), costs)[0] for count in slots]
    axes.plot(slots, rates, label=label)


def draw(figures: dict[str, Any]) -> Figure:
    """The measured points on the predicted curve, and the curve for tasks of a minute."""
    costs = JobCosts(**figures["costs"])
    points = [point for point in figures["points"] if point["submits_per_s"] > 10]  # noqa: PLR2004 - not the slow one
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    task_s = points[0]["task_s"]
    curve(axes, costs, task_s, points[-1]["polls"], f"predicted, tasks of {task_s:g} s")
    curve(axes, costs, MODEL_TASK_S, MODEL_POLLS, f"predicted, tasks of {MODEL_TASK_S:g} s")
    measured = [point["per_s"] * _MINUTE_S for point in points]
    axes.plot([point["slots"] for point in points], measured, "o", color="black", label=f"measured, {task_s:g} s")
    discord = limits(Host(1, 100, task_s, 1), costs)["Discord"] * _MINUTE_S
    axes.axhline(
        discord, linestyle=":", color="gray", label=f"{DISCORD_REQUESTS_PER_S:g} requests to Discord a second"
    )
    axes.set(xscale="log", yscale="log", xlabel="slots (tasks that may run at once)", ylabel="videos a minute")
    axes.grid(which="both", alpha=0.2)
    axes.legend()
    return figure


def main() -> None:
    """Draws the picture."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("figures", type=Path, metavar="FILE")
    options = parser.parse_args()
    draw(json.loads(options.figures.read_text())).savefig(PICTURE, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
