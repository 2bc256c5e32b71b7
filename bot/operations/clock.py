"""A clock that stays steady when the machine's clock is set.

Setting the system clock by an hour must not time jobs out, end leases or stall the queue. So elapsed time comes
from the monotonic clock, and the wall clock is only followed, slowly. Processes that share a database server
follow its clock instead of their own, so that they agree on what is due.
"""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]
"""Returns the current time, as an aware UTC datetime."""

FOLLOW = 0.05
"""How much faster or slower than real time the clock runs while it catches up: an hour takes twenty."""

_SET = timedelta(minutes=1)
"""A larger gap means that somebody set the clock; a smaller one is routine NTP correction."""


def utc_now() -> datetime:
    """The system clock, as an aware UTC time."""
    return datetime.now(UTC)


def uptime_s() -> float:
    """Seconds on the monotonic clock, including suspended time where the system counts it."""
    boot_time = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot_time is None else time.clock_gettime(boot_time)


class ReferenceClock:
    """A time that is read elsewhere now and then; in between it runs on with the monotonic clock."""

    def __init__(self, now: datetime, *, steady_s: Callable[[], float] = uptime_s) -> None:
        self._steady_s = steady_s
        self.set(now)

    def set(self, now: datetime) -> None:
        """Takes over the time that was just read."""
        self._now, self._set_at_s = now, self._steady_s()

    def __call__(self) -> datetime:
        """The current time."""
        return self._now + timedelta(seconds=self._steady_s() - self._set_at_s)


class SteadyClock:
    """Returns the current time as an aware UTC datetime; it never jumps and never goes back."""

    def __init__(
        self,
        *,
        wall: Callable[[], datetime] = utc_now,
        steady_s: Callable[[], float] = uptime_s,
    ) -> None:
        """wall: the clock to start from and to follow."""
        self._wall = wall
        self._steady_s = steady_s
        self._read_s = steady_s()
        self._now = wall()
        self._is_off = False

    def __call__(self) -> datetime:
        """The current time."""
        read_s = self._steady_s()
        passed = timedelta(seconds=max(0.0, read_s - self._read_s))
        now = self._now + passed
        gap = self._wall() - now
        self._warn_once(gap)
        now += max(-passed * FOLLOW, min(passed * FOLLOW, gap))
        self._read_s, self._now = read_s, now
        return now

    def _warn_once(self, gap: timedelta) -> None:
        is_off = abs(gap) > _SET
        if is_off and not self._is_off:
            log.warning(
                "the clock of the system, or of the database server, was changed by %.0f s; catching up at 3 s a "
                "minute (a restart does so at once)",
                gap.total_seconds(),
            )
        self._is_off = is_off
