"""Polls simulated tasks by a schedule: `PYTHONPATH=CHECKOUT python schedule_simulation.py LAW SEED [TASKS]`.

Twenty tasks run at a time. As in the bot, a schedule learns once a minute, only from tasks that ended before, and
knows of them what polls saw. An answer takes no time. A task that runs for half an hour is given up: it has polls,
but no delay. Prints JSON: the number of polls for each task, and the mean delay in seconds between its end and the
poll that sees it, for the bot's schedule and for a pause of 5 s, with the same tasks.
"""

# ruff: noqa: S311 - no secrets

import heapq
import json
import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Protocol

from bot.domain.jobs import Resolution
from bot.domain.schedule import Backoff, PollSchedule

TASKS = 20_000
AT_ONCE = 20
LEARN_EVERY_S = 60.0
GIVE_UP_S = 1800.0
FIXED_S = 5.0
MIN_S, MAX_S = 3.0, 15.0
"""The bot's default bounds."""

RESOLUTION = Resolution.P720
Draw = Callable[[Random, float], float]


@dataclass(frozen=True, slots=True)
class Law:
    """How long tasks take.

    draw: a duration, given the share of tasks before it. target: of the ratio.
    failing: the share of polls that fail.
    """

    name: str
    draw: Draw
    target: float
    failing: float = 0.0


def log_normal(median_s: float, sigma: float) -> Draw:
    """A log-normal duration."""
    return lambda chance, _: median_s * math.exp(chance.gauss(0, sigma))


def two_kinds(chance: Random, _: float) -> float:
    """One in three around 300 s, the others around 20 s."""
    return (300 if chance.random() < 1 / 3 else 20) * math.exp(chance.gauss(0, 0.2))


def heavy_tail(chance: Random, _: float) -> float:
    """A Pareto distribution: from 30 s on, exponent 1.5, mean 90 s."""
    return float(30 * (1 - chance.random()) ** (-1 / 1.5))


def drift(chance: Random, before: float) -> float:
    """A median that grows steadily."""
    return (30 + 90 * before) * math.exp(chance.gauss(0, 0.3))


LAWS: Mapping[str, Law] = {
    "log-normal": Law("log-normal, median 60 s, σ 0.5", log_normal(60, 0.5), 0.78),
    "two-kinds": Law("two kinds, 2/3 at 20 s, 1/3 at 300 s, each σ 0.2", two_kinds, 0.60),
    "heavy-tail": Law("heavy tail, Pareto from 30 s, exponent 1.5", heavy_tail, 0.75),
    "drift": Law("drift of the median 30 → 120 s, σ 0.3", drift, 0.60),
    "five": Law("all at 5 s, σ 0.1", log_normal(5, 0.1), 0.55),
    "failing": Law("log-normal as above, 5 % of polls failing", log_normal(60, 0.5), 0.80, failing=0.05),
}


class Schedule(Protocol):
    """Decides when a task is polled."""

    def next_pause_s(self, age_s: float, seen_running_s: float, failures: int) -> float:
        """Seconds to the next poll. failures: how many of the last polls failed in a row."""
        ...

    def learn(self, seen: list[tuple[float, float | None]]) -> None:
        """Takes in the latest durations, newest first, as polls saw them."""
        ...


class FixedSchedule:
    """The baseline: a poll every few seconds, whatever happens."""

    def __init__(self, pause_s: float = FIXED_S) -> None:
        self._pause_s = pause_s

    def next_pause_s(self, age_s: float, seen_running_s: float, failures: int) -> float:
        """Always the same."""
        del age_s, seen_running_s, failures
        return self._pause_s

    def learn(self, seen: list[tuple[float, float | None]]) -> None:
        """Learns nothing."""


class BotSchedule:
    """The bot's schedule, as `bot.worker.stages.generation` uses it; in older checkouts one by age alone."""

    def __init__(self, seed: int, **settings: float) -> None:
        """settings: for `PollSchedule`, besides the bounds."""
        self._schedule: Any = PollSchedule(MIN_S, MAX_S, **settings)
        self._learns = hasattr(PollSchedule, "learn")
        self._backoff, self._chance = Backoff(first_s=2, cap_s=120), Random(seed)

    def next_pause_s(self, age_s: float, seen_running_s: float, failures: int) -> float:
        """As scheduled, and after failures not before the backoff."""
        backoff_s = 0.0
        if failures:
            backoff_s = self._backoff.pause_s(failures - 1, jitter=self._chance.random())
        if not self._learns:
            return backoff_s or float(self._schedule.next_pause_s(age_s))
        return max(backoff_s, float(self._schedule.next_pause_s(RESOLUTION, age_s, seen_running_s)))

    def learn(self, seen: list[tuple[float, float | None]]) -> None:
        """Plans anew."""
        if self._learns:
            from bot.domain.task_durations import TaskDuration  # noqa: PLC0415 - older checkouts have none

            self._schedule.learn(RESOLUTION, [TaskDuration(over_s, within_s) for over_s, within_s in seen])


@dataclass(slots=True)
class Task:
    """A task that runs."""

    submitted_s: float
    duration_s: float
    seen_running_s: float = 0.0
    failures: int = 0


@dataclass(slots=True)
class Simulation:
    """Many tasks, polled by one schedule."""

    law: Law
    schedule: Schedule
    seed: int
    tasks: int = TASKS
    polls: int = 0
    delays_s: list[float] = field(default_factory=list)
    seen: list[tuple[float, float | None]] = field(default_factory=list)

    def run(self) -> tuple[float, float]:
        """The number of polls for each task, and the mean delay in seconds."""
        chance, failing = Random(self.seed), Random(-self.seed)
        waiting = [self.law.draw(chance, number / self.tasks) for number in range(self.tasks)][::-1]
        running: list[tuple[float, int, Task]] = []
        learned, learned_s = 0, 0.0

        def poll_later(task: Task, now_s: float) -> None:
            age_s = now_s - task.submitted_s
            pause_s = self.schedule.next_pause_s(age_s, task.seen_running_s, task.failures)
            heapq.heappush(running, (now_s + pause_s, self.polls, task))

        for number in range(AT_ONCE):
            self.polls = -number  # only tells entries of the same time apart
            poll_later(Task(number * 1.3, waiting.pop()), number * 1.3)
        self.polls = 0
        while running:
            now_s, _, task = heapq.heappop(running)
            if now_s - learned_s >= LEARN_EVERY_S and len(self.seen) > learned:
                self.schedule.learn(self.seen[:-1000:-1])
                learned, learned_s = len(self.seen), now_s
            self.polls += 1
            if failing.random() < self.law.failing:
                task.failures += 1
            elif self._has_ended(task, now_s - task.submitted_s):
                if not waiting:
                    continue
                task = Task(now_s, waiting.pop())
            poll_later(task, now_s)
        return self.polls / self.tasks, sum(self.delays_s) / len(self.delays_s)

    def _has_ended(self, task: Task, age_s: float) -> bool:
        """A poll that is answered."""
        if task.duration_s <= age_s:
            self.delays_s.append(age_s - task.duration_s)
            self.seen.append((task.seen_running_s, age_s))
            return True
        if age_s >= GIVE_UP_S:
            self.seen.append((age_s, None))
            return True
        task.seen_running_s, task.failures = age_s, 0
        return False


def main() -> None:
    """Simulates the law that the command line names."""
    law, seed = LAWS[sys.argv[1]], int(sys.argv[2])
    tasks = int(sys.argv[3]) if len(sys.argv) > 3 else TASKS
    found = {
        "product": Simulation(law, BotSchedule(seed), seed, tasks).run(),
        "baseline": Simulation(law, FixedSchedule(), seed, tasks).run(),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
