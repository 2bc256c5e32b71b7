"""How long a task takes, as a distribution, learned from the polls of earlier tasks. Pure.

No poll sees a task end. One says "not yet", a later one "done", and the task ended in between; of a task that was
given up, only the first is known. So the estimate is one for interval-censored data: expectation-maximisation over
the cells of a grid with a smoothing step (EMS: Silverman, Jones, Wilson and Nychka, 1990). However late a poll
was, what it says is true, and a wide interval moves the estimate little.

Newer durations weigh more, so that the estimate follows when the gateway gets slower, and a few durations' worth
of a vague assumption is mixed in: it decides while nothing is known, and for a task that outlasts all known ones.
"""

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

SAMPLES = 512
"""How many durations are used."""

TAIL_EXPONENT = 1.5
"""Beyond the grid, of twice as old tasks a share of `2 ** -TAIL_EXPONENT` is still running."""

_HALF_LIFE = 128
"""So many durations later, one counts half."""

_ASSUMED_MEDIAN_S = 60.0
_ASSUMED_SIGMA = 1.0
_ASSUMED_WEIGHT = 2.0
"""The assumption: a log-normal distribution that weighs as much as this many new durations."""

_KNOWN_FROM = 5
"""From how many durations on the remaining time can be told."""

_SHORTEST_HORIZON_S = 150.0
_LONGEST_HORIZON = 60
"""How many median durations the grid covers at most: what many tasks seem to take once the clock was set forward
must not make all cells wide."""

_LARGEST_GRID = 600
_ITERATIONS = 4

_LONGEST_S = 1e7
"""Four months, more than any setting lets a task be watched."""


@dataclass(frozen=True, slots=True)
class TaskDuration:
    """What polls said about how long one task took, in seconds from its submission.

    over_s: at this age it was seen running. within_s: at this age it was seen finished; None if it never was.
    """

    over_s: float
    within_s: float | None

    @property
    def is_plausible(self) -> bool:
        """Whether it can be true; a clock that was set may say otherwise."""
        within_s = _LONGEST_S if self.within_s is None else self.within_s
        return 0 <= self.over_s < within_s <= _LONGEST_S


@dataclass(frozen=True, slots=True)
class Remaining:
    """How much longer a task takes: at most `p50_s` seconds with a probability of 50 %, `p90_s` with 90 %."""

    p50_s: float
    p90_s: float


@dataclass(frozen=True, slots=True)
class DurationEstimate:
    """The distribution of a task's duration.

    step_s: the width of a cell. ended: the share of tasks that ended by each cell's beginning, then by the grid's
    end. samples: how many durations it rests on.
    """

    step_s: float
    ended: tuple[float, ...]
    samples: int

    @property
    def horizon_s(self) -> float:
        """The age where the grid ends and the tail begins."""
        return self.step_s * (len(self.ended) - 1)

    def share_ended(self, age_s: float) -> float:
        """The share of tasks that ended by this age."""
        if age_s >= self.horizon_s:
            return 1 - (1 - self.ended[-1]) * math.pow(self.horizon_s / age_s, TAIL_EXPONENT)
        place = max(age_s, 0.0) / self.step_s
        cell = min(int(place), len(self.ended) - 2)  # rounding
        low, high = self.ended[cell], self.ended[cell + 1]
        return low + (place - cell) * (high - low)

    def remaining(self, age_s: float) -> Remaining | None:
        """How much longer a task that runs at this age takes.

        None if too little is known, or if it has outlasted what is known.
        """
        if self.samples < _KNOWN_FROM or age_s >= self.horizon_s:
            return None
        running = 1 - self.share_ended(age_s)
        if running <= 0:
            return None
        p50_s, p90_s = (self._age_when_running(running * share) - age_s for share in (0.5, 0.1))
        return Remaining(max(p50_s, 0.0), max(p90_s, 0.0))

    def _age_when_running(self, share: float) -> float:
        """The age at which this share of the tasks is still running."""
        in_tail = 1 - self.ended[-1]
        if share <= in_tail:
            return self.horizon_s * math.pow(in_tail / share, 1 / TAIL_EXPONENT)
        cell = bisect_left(self.ended, 1 - share)
        low, high = self.ended[cell - 1], self.ended[cell]
        return self.step_s * (cell - 1 + (1 - share - low) / (high - low))


def estimate(durations: Sequence[TaskDuration], *, finest_s: float) -> DurationEstimate:
    """Estimates the distribution, in about 2 ms.

    durations: newest first. finest_s: the width of a cell, unless that gives too many.
    """
    used = durations[:SAMPLES]
    weights = [0.5 ** (rank / _HALF_LIFE) for rank in range(len(used))]
    step_s, cells = _grid(used, finest_s)
    assumed = list(_assumed(step_s, cells))
    # Where each duration may lie, as a range of cells; the last cell is all that is beyond the grid.
    ranges = [_cells_of(duration, step_s, cells) for duration in used]
    width = 0.5 * max(1.0, sum(weights)) ** (-1 / 3)
    reach = [max(1, round(width * cell)) for cell in range(cells)]
    total = sum(weights) + _ASSUMED_WEIGHT
    masses = assumed
    for _ in range(_ITERATIONS):
        found = _expectation(masses, ranges, weights)
        smoothed = _smoothed(found, reach)
        masses = [(mass + _ASSUMED_WEIGHT * prior) / total for mass, prior in zip(smoothed, assumed, strict=True)]
    ended = (min(share, 1.0) for share in accumulate(masses[:-1], initial=0.0))  # rounding
    return DurationEstimate(step_s, tuple(ended), len(used))


def _grid(durations: Sequence[TaskDuration], finest_s: float) -> tuple[float, int]:
    """The width and number of cells. Single stragglers are left to the tail: they would make all cells wide."""
    seen_running = sorted(duration.over_s for duration in durations) or [0.0]
    median, longest = (seen_running[len(seen_running) * share // 100] for share in (50, 97))
    horizon_s = max(_SHORTEST_HORIZON_S, min(1.5 * longest, _LONGEST_HORIZON * median))
    step_s = max(finest_s, horizon_s / _LARGEST_GRID)
    return step_s, math.ceil(horizon_s / step_s)


def _assumed(step_s: float, cells: int) -> Iterator[float]:
    """The masses of the assumed distribution, that beyond the grid at the end."""
    before = 0.0
    for cell in range(1, cells + 1):
        deviation = math.log(cell * step_s / _ASSUMED_MEDIAN_S) / _ASSUMED_SIGMA
        until = 0.5 * math.erfc(-deviation / math.sqrt(2))
        yield until - before
        before = until
    yield 1 - before


def _cells_of(duration: TaskDuration, step_s: float, cells: int) -> tuple[int, int]:
    first = min(int(duration.over_s / step_s), cells)
    if duration.within_s is None or duration.within_s > cells * step_s:
        return first, cells + 1
    return first, max(first + 1, math.ceil(duration.within_s / step_s))


def _expectation(
    masses: Sequence[float], ranges: Sequence[tuple[int, int]], weights: Sequence[float]
) -> list[float]:
    """Spreads each duration's weight over its cells, in proportion to their present masses."""
    before = list(accumulate(masses, initial=0.0))
    changes = [0.0] * (len(masses) + 1)
    for (first, end), weight in zip(ranges, weights, strict=True):
        factor = weight / max(before[end] - before[first], 1e-12)
        changes[first] += factor
        changes[end] -= factor
    # Rounding may leave a tiny negative sum where no range is open.
    return [mass * max(factor, 0.0) for mass, factor in zip(masses, accumulate(changes), strict=False)]


def _smoothed(masses: Sequence[float], reach: Sequence[int]) -> list[float]:
    """The masses, each the mean of the cells within its reach; that beyond the grid stays."""
    cells = len(reach)
    before = list(accumulate(masses[:-1], initial=0.0))
    means = []
    for cell, distance in enumerate(reach):
        first, end = max(0, cell - distance), min(cells, cell + distance + 1)
        means.append((before[end] - before[first]) / (end - first))
    total = sum(means)
    scale = before[-1] / total if total else 1.0
    return [*(mean * scale for mean in means), masses[-1]]
