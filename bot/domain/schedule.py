"""When to poll a running task again, and how long to wait after a failure. No I/O; the schedule learns."""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.domain.models import TaskKind
from bot.domain.poll_plan import POLL_COST_S, PollPlan
from bot.domain.task_durations import Remaining, TaskDuration, estimate

_CELLS_PER_PAUSE = 8
"""How finely durations are told apart: cells in the shortest pause."""


class PollSchedule:
    """When tasks are polled, as learned from how long others took.

    min_s, max_s: the shortest and longest pause between two polls, in seconds. poll_cost_s: how many seconds of
    waiting a poll is worth.
    """

    def __init__(self, min_s: float, max_s: float, *, poll_cost_s: float = POLL_COST_S) -> None:
        self.min_s, self.max_s = min_s, max_s
        self._poll_cost_s = poll_cost_s
        self._unknown = self._plan(())
        self._plans: dict[TaskKind, PollPlan] = {}

    def learn(self, kind: TaskKind, durations: Sequence[TaskDuration]) -> None:
        """Plans anew from the latest durations, newest first. Takes a few milliseconds."""
        self._plans[kind] = self._plan(durations)

    def next_pause_s(self, kind: TaskKind, age_s: float, seen_running_s: float | None = None) -> float:
        """Seconds from now to the next poll of a task of this kind that was submitted `age_s` seconds ago.

        seen_running_s: its age when a poll last said that it is running; now if None. After failed polls it may
        have ended since, so that another try pays.
        """
        seen_running_s = age_s if seen_running_s is None else seen_running_s
        return self._plans.get(kind, self._unknown).next_pause_s(age_s, seen_running_s)

    def remaining(self, kind: TaskKind, age_s: float) -> Remaining | None:
        """How much longer a task that was submitted `age_s` seconds ago takes; None if that can't be told."""
        return self._plans.get(kind, self._unknown).estimate.remaining(age_s)

    def _plan(self, durations: Sequence[TaskDuration]) -> PollPlan:
        finest_s = self.min_s / _CELLS_PER_PAUSE
        known = estimate(durations, finest_s=finest_s)
        return PollPlan(known, self.min_s, self.max_s, poll_cost_s=self._poll_cost_s)


@dataclass(frozen=True, slots=True)
class Backoff:
    """Growing pauses after failures: `first_s`, doubled each time, at most `cap_s` seconds."""

    first_s: float
    cap_s: float

    def pause_s(self, attempt: int, *, jitter: float) -> float:
        """Seconds to wait after failure number `attempt` (0 is the first).

        jitter: a random number in [0, 1). It decides half of the pause, so that jobs that failed together do not
        all retry together.
        """
        full = min(self.cap_s, self.first_s * 2.0 ** min(attempt, 32))
        return full * (0.5 + jitter / 2)
