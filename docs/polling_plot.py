"""Draws `docs/pictures/polling.png`: the mean delay against the polls that it costs, for each schedule.

A developer's tool, not part of the bot. It simulates, which takes some minutes:

    PYTHONPATH=. .venv/bin/python docs/polling_plot.py

Each curve is one kind of schedule with several settings. Along a curve, polls are exchanged for waiting; of two
curves, the one nearer to the corner is better. The dashed line is where the product is that of a poll every 5 s.
"""

# ruff: noqa: INP001 - a script, not a part of a package

from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bot.domain.poll_plan import POLL_COST_S
from tests.bench.schedule_simulation import (
    FIXED_S,
    LAWS,
    MAX_S,
    MIN_S,
    BotSchedule,
    FixedSchedule,
    Schedule,
    Simulation,
)

PICTURE = Path(__file__).with_name("pictures") / "polling.png"
TASKS = 6000
SEED = 3
SHOWN = ("log-normal", "two-kinds", "heavy-tail", "drift", "five", "failing")
KINDS: Mapping[str, Sequence[float]] = {
    "fixed pause": (3, 4, FIXED_S, 6, 8, 10),
    "share of the age": (4, 6, 8, 12, 16),
    "learned": (0.06, 0.1, POLL_COST_S, 0.3, 0.5),
}
"""The settings of each kind: the pause, the part of the age, the price of a poll. One of each is marked."""
MARKED: Mapping[str, tuple[float, str]] = {
    "fixed pause": (FIXED_S, "5 s"),
    "share of the age": (8, "1/8"),
    "learned": (POLL_COST_S, "the bot"),
}
COLOURS = {"fixed pause": "#7a7f87", "share of the age": "#d18616", "learned": "#2f6fde"}


class AgeSchedule(FixedSchedule):
    """Pauses for a share of the age, within the bounds."""

    def __init__(self, part: float) -> None:
        super().__init__()
        self._part = part

    def next_pause_s(self, age_s: float, seen_running_s: float, failures: int) -> float:
        """After a failure, half as long."""
        del seen_running_s
        return max(MIN_S, min(MAX_S, age_s / self._part)) / (2 if failures else 1)


def simulate(law: str, kind: str, setting: float) -> tuple[float, float]:
    """The polls of a task and the mean delay."""
    schedule: Schedule
    match kind:
        case "learned":
            schedule = BotSchedule(SEED, poll_cost_s=setting)
        case "fixed pause":
            schedule = FixedSchedule(setting)
        case _:
            schedule = AgeSchedule(setting)
    return Simulation(LAWS[law], schedule, SEED, TASKS).run()


def draw(axes: Axes, law: str, found: Mapping[str, Sequence[tuple[float, float]]]) -> None:
    """One law's curves."""
    for kind, points in found.items():
        polls, delays_s = zip(*points, strict=True)
        axes.plot(polls, delays_s, marker="o", markersize=3, color=COLOURS[kind], label=kind, linewidth=1.2)
        setting, name = MARKED[kind]
        at = points[list(KINDS[kind]).index(setting)]
        axes.plot(*at, marker="o", markersize=7, color=COLOURS[kind])
        beside = (-8, -15) if kind == "learned" else (6, 5)
        axes.annotate(name, at, textcoords="offset points", xytext=beside, fontsize=8, color=COLOURS[kind])
    product = [polls * delay_s for polls, delay_s in found["fixed pause"]][KINDS["fixed pause"].index(FIXED_S)]
    fewest, most = axes.get_xlim()
    shown = [fewest + (most - fewest) * part / 60 for part in range(1, 61)]
    highest = axes.get_ylim()[1]
    axes.plot(shown, [product / number for number in shown], color="#b9bec6", linestyle="--", linewidth=0.8)
    axes.set_ylim(0, highest)
    axes.set_xlim(fewest, most)
    axes.set_title(LAWS[law].name, fontsize=9)
    axes.grid(color="#eeeeee")
    axes.spines[["top", "right"]].set_visible(False)


def main() -> None:
    """Simulates everything, draws and saves."""
    figure = Figure(figsize=(10, 6.2), layout="constrained")
    axes = figure.subplots(2, 3).flatten()
    with ProcessPoolExecutor(2) as pool:
        waiting = {
            law: {kind: [pool.submit(simulate, law, kind, one) for one in KINDS[kind]] for kind in KINDS}
            for law in SHOWN
        }
        for one, (law, kinds) in zip(axes, waiting.items(), strict=True):
            draw(one, law, {kind: [future.result() for future in futures] for kind, futures in kinds.items()})
    figure.supxlabel("polls for each task", fontsize=10)
    figure.supylabel("mean delay until a finished task is noticed, s", fontsize=10)
    axes[0].legend(fontsize=8, frameon=False)
    figure.savefig(PICTURE, dpi=110, metadata={"Software": None})


if __name__ == "__main__":
    main()
