"""When to poll a running task again, and how long to wait after a failure. Pure."""

from dataclasses import dataclass

_AGE_SHARE = 8
"""A task of age `a` is polled at most `a / 8` after the last poll, so a video waits at most an eighth too long."""


@dataclass(frozen=True, slots=True)
class PollSchedule:
    """`min_s`, `max_s`: the shortest and longest pause between two polls, in seconds."""

    min_s: float
    max_s: float

    def next_pause_s(self, age_s: float) -> float:
        """Seconds from now to the next poll of a task that was submitted `age_s` seconds ago."""
        return min(self.max_s, max(self.min_s, age_s / _AGE_SHARE))


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
