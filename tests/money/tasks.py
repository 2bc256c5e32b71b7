"""What a simulated gateway keeps of a task: how it goes, what it costs, and what is told of that."""

import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from bot.domain.ledger import rounded_up
from bot.domain.models import TaskKind

LONG = timedelta(hours=2)
"""How long a task runs that the bot doesn't wait for."""


class End(StrEnum):
    """How a task ends."""

    COMPLETED = "completed"
    NO_VIDEO = "completed without a video"
    FAILED = "failed"
    REJECTED = "content rejected later"
    CANCELLED = "cancelled upstream"
    FORGOTTEN = "gone"  # the gateway says so
    REFUSED = "unknown to the gateway"  # it refuses to talk about it
    STOPPED = "stopped before it began"


class CostGiven(StrEnum):
    """How the gateway tells what a task cost."""

    PLAINLY = "at once"
    ODDLY = "with odd decimals"
    LATE = "late"  # not with the first answer that it is completed
    NEVER = "never"


ENDS = {
    End.COMPLETED: 84,
    End.NO_VIDEO: 1.5,
    End.FAILED: 7,
    End.REJECTED: 3,
    End.CANCELLED: 1.5,
    End.FORGOTTEN: 1.5,
    End.REFUSED: 0.5,
}
"""How often tasks end in each way, in percent; the rest is completed."""

COSTS = {CostGiven.PLAINLY: 80, CostGiven.ODDLY: 12, CostGiven.LATE: 4, CostGiven.NEVER: 4}

ENDED_WELL = frozenset({End.COMPLETED, End.NO_VIDEO})


@dataclass
class SimulatedTask:
    """A task. job_id: as it was sent along. price: in USD, as the gateway counts it. billed: in its books.

    can_be_stopped: whether the gateway says so. urls: of the queue's tasks. stop_asked: whether it said that it
    will try. asked: how often it was asked about; told_done: how often it said that the task is completed.
    answered_late: its create was answered when the lease of its submission was over.
    """

    id: str
    job_id: str
    kind: TaskKind
    price: Decimal
    created_at: datetime
    begins_at: datetime
    ends_at: datetime
    end: End
    cost_given: CostGiven
    is_billed: bool
    may_be_billed: bool
    can_be_stopped: bool
    urls: dict[str, str] = field(default_factory=dict)
    billed: Decimal = Decimal(0)
    is_closed: bool = False
    stop_asked: bool = False
    asked: int = 0
    told_done: int = 0
    downloads: int = 0
    answered_late: bool = False

    def has_ended(self, now: datetime) -> bool:
        return now >= self.ends_at

    def close(self, now: datetime) -> None:
        """Writes its bill, once it has ended."""
        if not self.is_closed and self.has_ended(now):
            self.is_closed = True
            self.billed = self.price if self.is_billed else Decimal(0)

    @property
    def invoiced(self) -> Decimal:
        """What stands on the invoice, which has whole billionths of a USD."""
        return rounded_up(self.billed)

    @property
    def is_cost_told(self) -> bool:
        """Whether the gateway tells what it billed, if it is asked often enough after the end."""
        return self.cost_given is not CostGiven.NEVER and self.end not in {End.FORGOTTEN, End.REFUSED}


def new_task(
    task_id: str, job_id: str, kind: TaskKind, price: Decimal, now: datetime, rng: random.Random, *, is_queue: bool
) -> SimulatedTask:
    """A task that begins now or soon. is_queue: whether the gateway queues tasks, some of which it can stop."""
    [end] = rng.choices([*ENDS], [*ENDS.values()])
    [cost_given] = rng.choices([*COSTS], [*COSTS.values()])
    if cost_given is CostGiven.ODDLY:
        price += Decimal(rng.randrange(1, 10**9)) / 10 ** rng.choice((11, 12, 13))
    begins_at = now + timedelta(seconds=rng.choice((0, 0, rng.uniform(5, 90))))
    runs_for = LONG if rng.random() < 0.02 else timedelta(seconds=rng.uniform(30, 400))
    is_billed, may_be_billed = end in ENDED_WELL, False
    if end in {End.FAILED, End.REJECTED, End.CANCELLED}:
        # Billed only if the gateway tells so, or says that it may be.
        is_billed = rng.random() < 0.3
        if end is End.REJECTED and cost_given is CostGiven.NEVER:
            is_billed = False
        may_be_billed = is_billed or rng.random() < 0.3
    if end in {End.FORGOTTEN, End.REFUSED}:
        is_billed = rng.random() < 0.5
    urls = {"status": f"https://queue.example/{task_id}"} if is_queue and rng.random() < 0.5 else {}
    return SimulatedTask(
        task_id,
        job_id,
        kind,
        price,
        now,
        begins_at,
        begins_at + runs_for,
        end,
        cost_given,
        is_billed,
        may_be_billed,
        can_be_stopped=bool(urls) or not is_queue,
        urls=urls,
    )
