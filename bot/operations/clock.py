"""The one clock of a process: it goes on steadily, whatever is done to the machine's.

A clock that is set by an hour must not let jobs time out, leases end or a queue wait for an hour. So what passes
is measured on the clock that nobody sets, and the time of day that the machine tells is only followed, slowly.
Processes that share a database server take the time from it, so that they agree on when a lease is over.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

log = logging.getLogger(__name__)

FOLLOW = 0.05
"""How much faster or slower than time itself the clock goes while it follows: an hour is made good in twenty."""

_SET = timedelta(minutes=1)
"""From this difference on, somebody has set the machine's clock; less is its daily correction."""


def utc_now() -> datetime:
    """The time of day that the machine tells."""
    return datetime.now(UTC)


def uptime_s() -> float:
    """Seconds on the clock that nobody sets; time in which the machine slept counts where the system tells it."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


class SteadyClock:
    """Tells the time as an aware UTC moment; never goes back, never leaps."""

    def __init__(
        self,
        *,
        start: datetime | None = None,
        wall: Callable[[], datetime] = utc_now,
        steady_s: Callable[[], float] = uptime_s,
    ) -> None:
        """start: another's time, from which this clock goes on by itself. None: begin with `wall`, follow it."""
        self._wall = wall if start is None else None
        self._steady_s = steady_s
        self._read_s = steady_s()
        self._now = wall() if start is None else start
        self._astray = False

    def __call__(self) -> datetime:
        """The present moment."""
        read_s = self._steady_s()
        passed = timedelta(seconds=max(0.0, read_s - self._read_s))
        now = self._now + passed
        if self._wall is not None:
            gap = self._wall() - now
            self._mind(gap)
            now += max(-passed * FOLLOW, min(passed * FOLLOW, gap))
        self._read_s, self._now = read_s, now
        return now

    def _mind(self, gap: timedelta) -> None:
        astray = abs(gap) > _SET
        if astray and not self._astray:
            log.warning(
                "this machine's clock was set, by %.0f s: it is followed by three seconds a minute; a restart "
                "follows at once", gap.total_seconds(),
            )  # fmt: skip
        self._astray = astray
