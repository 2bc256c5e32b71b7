"""When to poll a task of which it is known how long such tasks take. Pure.

A poll costs a request, a late one costs the member's patience. The plan minimises the sum of both, with a poll
counted as `POLL_COST_S` seconds of waiting, by dynamic programming from the oldest age down. Where the bounds
allow, this polls at a rate proportional to the square root of the hazard (the rate at which tasks of an age end),
the known optimum for frequent inspections. Unlike that rule, it also knows what to do at the bounds, and where all
tasks end at about the same age.
"""

import math
from itertools import accumulate, pairwise

from bot.domain.task_durations import TAIL_EXPONENT, DurationEstimate

POLL_COST_S = 0.18
"""How many seconds of waiting a poll is worth. At this price, the best constant pause for tasks of 70 s is 5 s."""

_PAUSE_RATIO = 1.15
"""Between the pauses that are tried; half of that changes the sum by less than a percent."""


class PollPlan:
    """The best next poll for each age. min_s, max_s: the shortest and longest pause, in seconds."""

    def __init__(
        self, estimate: DurationEstimate, min_s: float, max_s: float, *, poll_cost_s: float = POLL_COST_S
    ) -> None:
        self.estimate = estimate
        self._poll_cost_s = poll_cost_s
        self._min_s, self._max_s = min_s, max_s
        self._pauses_s = _pauses(min_s, max(min_s, min(max_s, estimate.horizon_s / 2)))
        self._costs = self._solve()

    def next_pause_s(self, age_s: float, seen_running_s: float) -> float:
        """Seconds from now to the next poll of a task of this age.

        seen_running_s: the age at which the last poll that was answered said "not yet".
        """
        age_s = max(age_s, 0.0)
        if age_s >= self.estimate.horizon_s:
            return min(self._max_s, max(self._min_s, self._pause_in_tail_s(age_s)))
        ended = self.estimate.share_ended(min(age_s, seen_running_s))
        costs, step_s = self._costs, self.estimate.step_s
        best_s, least = self._min_s, math.inf
        for pause_s in self._pauses_s:
            at_s = age_s + pause_s
            cell, part = divmod(at_s / step_s, 1.0)
            before, after = costs[int(cell)], costs[int(cell) + 1]
            cost = before + part * (after - before) - ended * at_s
            if cost < least:
                best_s, least = pause_s, cost
        return min(best_s, self._max_s)  # rounding

    def _solve(self) -> list[float]:
        """What a poll at each age of the grid adds to the expected sum.

        With F the share of tasks that ended, polls at s and t let those that end in between wait for the integral
        of F(u) - F(s) from s to t. Of that, -F(s) t depends on both and is left to whoever chooses t.
        """
        step_s = self.estimate.step_s
        strides = sorted({max(1, round(pause_s / step_s)) for pause_s in self._pauses_s})
        grid = len(self.estimate.ended)
        ages = [cell * step_s for cell in range(grid + math.ceil(self._pauses_s[-1] / step_s) + 2)]
        ended = [*self.estimate.ended, *map(self.estimate.share_ended, ages[grid:])]
        waits = list(accumulate((step_s * (a + b) / 2 for a, b in pairwise(ended)), initial=0.0))
        costs = [
            wait + (1 - share) * self._cost_in_tail_s(age_s)
            for age_s, share, wait in zip(ages, ended, waits, strict=True)
        ]
        for cell in range(grid - 1, -1, -1):
            share, age_s = ended[cell], ages[cell]
            best = min([costs[cell + stride] - share * ages[cell + stride] for stride in strides])
            costs[cell] = self._poll_cost_s * (1 - share) + share * age_s + best
        return costs

    def _pause_in_tail_s(self, age_s: float) -> float:
        """The best pause where the hazard is that of the tail: one over the square-root rule's rate."""
        return math.sqrt(2 * self._poll_cost_s * age_s / TAIL_EXPONENT)

    def _cost_in_tail_s(self, age_s: float) -> float:
        """The expected sum from an age in the tail on, with the pauses above."""
        return math.sqrt(2 * self._poll_cost_s * TAIL_EXPONENT * age_s) / (TAIL_EXPONENT - 0.5)


def _pauses(min_s: float, max_s: float) -> list[float]:
    count = math.ceil(math.log(max_s / min_s) / math.log(_PAUSE_RATIO))
    return [min_s * (max_s / min_s) ** (number / max(count, 1)) for number in range(count + 1)]
