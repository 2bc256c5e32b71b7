"""Decides when a running task is looked at again, and how long to wait after a failure.

A look costs a request; a late look costs the member's patience. Pure: numbers come in, numbers go out.
"""

from dataclasses import dataclass

_AGE_SHARE = 8
"""A look at a task of age `a` comes at most `a / 8` after the last one, so a video waits an eighth too long."""


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """How eagerly to look. `min_s`, `max_s`: the shortest and longest pause between two looks, in seconds."""

    min_s: float
    max_s: float

    def next_pause_s(self, age_s: float) -> float:
        """Seconds from now to the next look at a task that was submitted `age_s` seconds ago."""
        return min(self.max_s, max(self.min_s, age_s / _AGE_SHARE))


@dataclass(frozen=True, slots=True)
class Backoff:
    """Growing pauses after failures: `first_s`, doubled each time, at most `cap_s` seconds."""

    first_s: float
    cap_s: float

    def pause_s(self, attempt: int, *, chance: float) -> float:
        """Seconds to wait after failure number `attempt` (0 is the first).

        chance: a random number in [0, 1); half of the pause hangs on it, so that jobs that failed together
        do not come back together.
        """
        full = min(self.cap_s, self.first_s * 2.0 ** min(attempt, 32))
        return full * (0.5 + chance / 2)
