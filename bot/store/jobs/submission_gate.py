"""The submission gates: one row for each provider, which every submission of every worker to it locks.

A gate spaces submissions, and while the provider accepts none (bad key, empty balance, rate limit) it keeps jobs
from it. A provider without a row was never asked for anything.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Update, or_, select, update

from bot.domain.jobs import ProviderName
from bot.domain.notifications import GateClosed
from bot.store.engine import Connection
from bot.store.outbox import notifications
from bot.store.schema import submission_gates
from bot.store.upserts import insert_of

ALERT_AFTER = 3
"""Consecutive failures before the operator is alerted: fewer recover by themselves within seconds."""

ALERT_OVER = timedelta(minutes=10)
"""A closure longer than this alerts the operator at once."""

TOLD_OVER = timedelta(seconds=30)
"""A closure longer than this is told to all who wait; a shorter one is over before anybody reads of it."""

LONGEST_CLOSURE = timedelta(hours=1, minutes=5)
"""Nothing closes the gate for longer, so a later time was written before the clock was set back.

The longest pause that can be configured, and some minutes by which the clocks of two workers may differ.
"""

LONGEST_SUBMIT_PAUSE = timedelta(minutes=20)
"""Longer than the slowest submission rate that can be configured."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether jobs may be submitted to a provider.

    opens_at: closed until then; None: open. reason: why it was closed. failures: how often in a row it closed.
    next_submit_at: the earliest next submission, by the configured rate. is_out_of_budget: whether the operator's
    budget for the provider has no room for any video, which the gate's row doesn't tell.
    """

    opens_at: datetime | None
    reason: str | None
    failures: int
    next_submit_at: datetime | None
    is_out_of_budget: bool = False

    def is_closed(self, now: datetime) -> bool:
        """Whether nothing may be submitted at `now`."""
        return self.opens_at is not None and now < self.opens_at <= now + LONGEST_CLOSURE

    def keeps_orders_waiting(self, now: datetime) -> bool:
        """Whether an order has to wait: closed, closed again each time it opened, or nothing left to spend."""
        return self.is_out_of_budget or self.is_closed(now) or self.failures >= ALERT_AFTER

    def is_worth_telling(self, now: datetime, *, told: bool) -> bool:
        """Whether to tell those who wait that they wait for the upstream. told: whether they have been told."""
        if self.is_out_of_budget:
            return True
        closed_long = self.opens_at is not None and self.is_closed(now) and self.opens_at - now > TOLD_OVER
        return closed_long or (self.keeps_orders_waiting(now) and (told or self.failures >= ALERT_AFTER))

    def next_submission_at(self, now: datetime) -> datetime:
        """When the next job may be submitted: `now`, or later.

        A time too far ahead was written before the clock was set back, and is ignored.
        """
        if self.next_submit_at is not None and self.next_submit_at - now > LONGEST_SUBMIT_PAUSE:
            return now
        opens_at = self.opens_at if self.is_closed(now) else None
        return max(moment for moment in (now, opens_at, self.next_submit_at) if moment is not None)


OPEN = Gate(opens_at=None, reason=None, failures=0, next_submit_at=None)


async def get_gate(connection: Connection, provider: ProviderName, *, lock: bool = False) -> Gate:
    """A provider's gate; with `lock`, nobody else changes it until the transaction ends."""
    query = select(submission_gates).where(submission_gates.c.provider == provider)
    row = (await connection.execute(query.with_for_update() if lock else query)).one_or_none()
    if row is None and lock:
        new = insert_of(connection, submission_gates).values(provider=provider, consecutive_failures=0)
        await connection.execute(new.on_conflict_do_nothing())
        row = (await connection.execute(query.with_for_update())).one()
    return OPEN if row is None else Gate(row.opens_at, row.reason, row.consecutive_failures, row.next_submit_at)


async def get_gates(connection: Connection, providers: Sequence[ProviderName]) -> dict[ProviderName, Gate]:
    """The gates of these providers, in their order."""
    return {provider: await get_gate(connection, provider) for provider in providers}


def first_to_open(gates: Iterable[Gate], now: datetime) -> Gate:
    """The gate that decides whether orders wait at all: one that is open or, if none is, the first to open."""
    return min(gates, key=lambda gate: _opens(gate, now), default=OPEN)


def _opens(gate: Gate, now: datetime) -> tuple[bool, datetime, int]:
    """Sorts gates by when an order passes: a budget has room on another day, later than anything opens."""
    opens_at = gate.opens_at if gate.is_closed(now) and gate.opens_at else now
    return gate.is_out_of_budget, opens_at, gate.failures


async def close(
    connection: Connection, provider: ProviderName, until: datetime, reason: str, now: datetime
) -> None:
    """Closes the gate until `until`, or leaves it closed if it already is for longer.

    Submissions that fail together count as one failure, or the pauses would grow too fast. The operator is told if
    it closes for long, or for the third time in a row.
    """
    gate = await get_gate(connection, provider, lock=True)
    was_closed_until = gate.opens_at if gate.is_closed(now) else None
    failures = gate.failures + (was_closed_until is None)
    change = _update(provider).values(consecutive_failures=failures)
    if was_closed_until is None or until >= was_closed_until:
        change = change.values(opens_at=until, reason=reason)
    await connection.execute(change)

    is_third = gate.failures < failures == ALERT_AFTER
    becomes_long = until - now > ALERT_OVER >= (was_closed_until or now) - now
    if is_third or becomes_long:
        alert = GateClosed(int(until.timestamp()), reason, provider)
        await notifications.post_to_operator(connection, alert, now)


async def reopen(connection: Connection, provider: ProviderName, now: datetime) -> None:
    """Clears failures and reason of a gate that is open at `now`; leaves a closed one. The rate limit stays."""
    opens_at = submission_gates.c.opens_at
    open_already = or_(opens_at.is_(None), opens_at <= now, opens_at > now + LONGEST_CLOSURE)
    change = _update(provider).where(open_already).values(opens_at=None, reason=None, consecutive_failures=0)
    await connection.execute(change)


async def open_now(connection: Connection, provider: ProviderName) -> Gate:
    """Opens the gate, whatever closed it; returns it as it was."""
    gate = await get_gate(connection, provider, lock=True)
    change = _update(provider).values(opens_at=None, reason=None, consecutive_failures=0)
    await connection.execute(change)
    return gate


async def record_submission(connection: Connection, provider: ProviderName, next_submit_at: datetime) -> None:
    """Records a submission, and when the next may follow. The gate must be locked.

    Whatever closed it is over, or was written before the clock was set back.
    """
    await connection.execute(_update(provider).values(next_submit_at=next_submit_at, opens_at=None))


def _update(provider: ProviderName) -> Update:
    return update(submission_gates).where(submission_gates.c.provider == provider)
