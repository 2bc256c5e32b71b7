"""The upstream's gate: one row that all submissions of all workers pass.

It keeps the pause between two submissions, and while the upstream takes none (its key, its balance, its rate
limit) it keeps every job queued. Locking the row is what serialises submissions over several processes.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.store.jobs import operator_alerts
from bot.store.schema import GATE_ID, submission_gate

TOLD_AFTER = 3
"""How often in a row the gate has to be closed before the operator is told: less mends itself within seconds."""


LONGEST_SUBMIT_PAUSE = timedelta(minutes=20)
"""More than the slowest rate of submissions that can be set."""


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether jobs may be submitted.

    opens_at: closed until then; None: open. reason: why it was closed. failures: how often in a row it had to
    be. next_submit_at: the earliest moment of the next submission, by the agreed rate.
    """

    opens_at: datetime | None
    reason: str | None
    failures: int
    next_submit_at: datetime | None

    def is_closed(self, now: datetime) -> bool:
        """Whether the upstream takes no submissions at `now`."""
        return self.opens_at is not None and self.opens_at > now

    def next_pass_at(self, now: datetime) -> datetime:
        """When the next job may pass: `now`, or later.

        After a pass that lies in the future the clock was set back, and nothing that was timed then holds.
        """
        if self.next_submit_at is not None and self.next_submit_at - now > LONGEST_SUBMIT_PAUSE:
            return now
        return max(moment for moment in (now, self.opens_at, self.next_submit_at) if moment is not None)


async def look(connection: AsyncConnection, *, lock: bool) -> Gate:
    """The gate as it stands; with `lock`, as it stands until the transaction ends."""
    query = select(
        submission_gate.c.opens_at,
        submission_gate.c.reason,
        submission_gate.c.consecutive_failures,
        submission_gate.c.next_submit_at,
    ).where(submission_gate.c.id == GATE_ID)
    row = (await connection.execute(query.with_for_update() if lock else query)).one()
    return Gate(row.opens_at, row.reason, row.consecutive_failures, row.next_submit_at)


async def close(connection: AsyncConnection, until: datetime, reason: str, now: datetime) -> None:
    """Closes the gate until `until`, or leaves it closed for longer where it is.

    Jobs that were on their way together fail together: that counts once, or the pauses would leap.
    """
    gate = await look(connection, lock=True)
    failures = gate.failures + (not gate.is_closed(now))
    change = update(submission_gate).where(submission_gate.c.id == GATE_ID).values(consecutive_failures=failures)
    if gate.opens_at is None or not gate.is_closed(now) or until >= gate.opens_at:
        change = change.values(opens_at=until, reason=reason)
    await connection.execute(change)
    if gate.failures < failures == TOLD_AFTER:
        await operator_alerts.gate_closed(connection, until, reason, now)


async def reopen(connection: AsyncConnection, now: datetime) -> None:
    """Forgets failures and reason of a gate that is not closed at `now`; the pause between submissions stays."""
    open_already = or_(submission_gate.c.opens_at.is_(None), submission_gate.c.opens_at <= now)
    change = update(submission_gate).where(submission_gate.c.id == GATE_ID, open_already)
    await connection.execute(change.values(opens_at=None, reason=None, consecutive_failures=0))


async def count_pass(connection: AsyncConnection, next_submit_at: datetime) -> None:
    """Writes down that one passes, and when the next one may. The gate must be locked.

    Whatever closed it is over, or was timed before the clock was set back.
    """
    change = update(submission_gate).where(submission_gate.c.id == GATE_ID)
    await connection.execute(change.values(next_submit_at=next_submit_at, opens_at=None))
