"""How long jobs in progress still wait, and how many are submitted before a queued one. Pure.

Running tasks are expected to take as long as the latest ones did. Queued jobs follow them in turn, each as soon as
one of the video service's slots is free.
"""

import heapq
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.domain.jobs import JobState
from bot.domain.models import TaskKind
from bot.domain.task_durations import Remaining

ASSUMED_S = 90.0
"""How long a task is taken to hold its slot while nothing is known."""

SHARE_MAX = 0.95
"""How much of a wait is over at most before the video is there."""

TellRemaining = Callable[[TaskKind, float], Remaining | None]
"""How much longer a task of a kind takes that is some seconds old; None if that can't be told."""


@dataclass(frozen=True, slots=True)
class InProgress:
    """What decides how long a job waits. submitted_at: None until it is."""

    id: str
    state: JobState
    user_id: int
    kind: TaskKind
    created_at: datetime
    submitted_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Wait:
    """How a job waits.

    ahead: how many jobs are submitted before it; None once it is. likely_at, late_at: it is ready by then with a
    probability of 50 % and 90 %; None if nothing is known. is_unusual: it runs longer than nine of ten others did.
    share: how much of the wait is over, from 0 to 1; None if nothing is known.
    """

    ahead: int | None = None
    likely_at: datetime | None = None
    late_at: datetime | None = None
    is_unusual: bool = False
    share: float | None = None


NOTHING_KNOWN = Wait()


@dataclass(frozen=True, slots=True, order=True)
class _End:
    """When something ends, in seconds from now: p50, and how much later p90 is."""

    p50_s: float = 0.0
    spread_s: float = 0.0

    def then(self, step: "_End") -> "_End":
        """The end of a step that begins here. Independent delays add up like the sides of a right triangle."""
        return _End(self.p50_s + step.p50_s, math.hypot(self.spread_s, step.spread_s))


_ASSUMED = _End(ASSUMED_S)


def waits(jobs: Iterable[InProgress], slots: int, now: datetime, remaining: TellRemaining) -> Mapping[str, Wait]:
    """How the running and queued ones of these jobs wait, by id. slots: how many tasks may run at a time."""
    running, queued = _in_turn(jobs)
    found: dict[str, Wait] = {}
    ends: list[_End] = []
    for job in running:
        age_s = max((now - (job.submitted_at or now)).total_seconds(), 0.0)
        usual, end = (_duration(job, age, remaining) for age in (0.0, age_s))
        is_unusual = usual is not None and age_s > usual.p50_s + usual.spread_s
        found[job.id] = _wait(job, end, now, is_unusual=is_unusual)
        ends.append(end or _ASSUMED)
    heapq.heapify(ends)
    for ahead, job in enumerate(queued):
        begin = heapq.heappop(ends) if len(ends) >= max(slots, 1) else _End()
        usual = _duration(job, 0.0, remaining)
        found[job.id] = _wait(job, None if usual is None else begin.then(usual), now, ahead=ahead)
        heapq.heappush(ends, begin.then(usual or _ASSUMED))
    return found


def _in_turn(jobs: Iterable[InProgress]) -> tuple[list[InProgress], list[InProgress]]:
    """The running jobs, and the queued ones in the order of their submission.

    It goes to the member with the fewest running ones, and then to the oldest job.
    """
    running: list[InProgress] = []
    queued: list[InProgress] = []
    for job in sorted(jobs, key=lambda job: (job.created_at, job.id)):
        if job.state in {JobState.SUBMITTING, JobState.RUNNING}:
            running.append(job)
        elif job.state is JobState.QUEUED:
            queued.append(job)
    held = Counter(job.user_id for job in running)
    turns: list[tuple[int, int]] = []
    for place, job in enumerate(queued):
        turns.append((held[job.user_id], place))
        held[job.user_id] += 1
    return running, [queued[place] for _, place in sorted(turns)]


def _duration(job: InProgress, age_s: float, remaining: TellRemaining) -> _End | None:
    known = remaining(job.kind, age_s)
    return None if known is None else _End(known.p50_s, known.p90_s - known.p50_s)


def _wait(
    job: InProgress, end: _End | None, now: datetime, *, ahead: int | None = None, is_unusual: bool = False
) -> Wait:
    if end is None:
        return Wait(ahead, is_unusual=is_unusual)
    waited_s = max((now - job.created_at).total_seconds(), 0.0)
    return Wait(
        ahead,
        now + timedelta(seconds=end.p50_s),
        now + timedelta(seconds=end.p50_s + end.spread_s),
        is_unusual,
        min(waited_s / max(waited_s + end.p50_s, 1.0), SHARE_MAX),
    )
