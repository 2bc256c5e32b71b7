"""Says whether the work of the current task may be another process's by now.

A process can be stopped for longer than its leases: its machine was suspended, or had no CPU for it. When it goes
on, another one has taken over its work and may have finished it. The database refuses writes under a lost lease.
Discord and the providers know nothing of leases, and Discord remembers a nonce for minutes only. So whoever works
under a lease says so here, and whoever sends a request asks right before.

An order works under a lease as well: its answer can be given for a quarter of an hour. Who got none by then has
ordered again, and does not expect the first order to be accepted still.

The time is the process's own steady clock, counted from before the lease was asked for. So a lease is over here
before it is over for the database, whose clock decides when others may take it.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta

from bot.operations.clock import uptime_s


class HeldLease:
    """A lease as its holder knows it.

    since_s: the time by `steady_s` right before the lease was asked for. steady_s: in seconds; counts the time in
    which the machine was suspended, where the system does.
    """

    def __init__(self, since_s: float, duration: timedelta, steady_s: Callable[[], float] = uptime_s) -> None:
        self._duration_s = duration.total_seconds()
        self._steady_s = steady_s
        self.renew(since_s)

    def renew(self, since_s: float) -> None:
        """It lasts for its duration from then."""
        self._ends_s = since_s + self._duration_s

    @property
    def is_over(self) -> bool:
        """Whether another process may have taken it."""
        return self._steady_s() >= self._ends_s


_current: ContextVar[HeldLease | None] = ContextVar("held_lease", default=None)


@contextmanager
def working_under(lease: HeldLease) -> Iterator[None]:
    """Whatever the current task does in this block, it does under the lease."""
    token = _current.set(lease)
    try:
        yield
    finally:
        _current.reset(token)


def work_under(lease: HeldLease) -> None:
    """Whatever the current task does from now on, it does under the lease."""
    _current.set(lease)


def is_overtaken() -> bool:
    """Whether the current task works under a lease that is over: what it is about to send may have been sent."""
    lease = _current.get()
    return lease is not None and lease.is_over
