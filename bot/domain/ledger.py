"""The entries of the append-only ledger, and the balances that follow from them. Pure.

Each entry has three amounts: videos, credits and USD. All entries of a job have the time of its acceptance as
`effective_at`, so that a cost that becomes known later counts in the day, month and window of the acceptance.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum

from bot.domain.jobs import Job, JobState

NANO = Decimal("0.000000001")
"""The resolution of the ledger's amounts."""

COST_MAX_USD = Decimal(1_000_000)
"""A higher cost from the upstream is an error and must not overflow the sums."""


class EntryKind(StrEnum):
    """What an entry is for."""

    RESERVE = "reserve"  # a job was accepted: a video or a credit, and its estimated cost
    SETTLE = "settle"  # the cost is known: the difference to the reservation
    RETURN = "return"  # a job ended free: what it had reserved
    GRANT = "grant"  # an admin gave credits
    ADJUST = "adjust"  # credits revoked or expired; a cost found later


@dataclass(frozen=True, slots=True)
class Amounts:
    """What an entry adds, or entries add up to.

    videos: those that count in the window and the server's day. usd: at most nine decimals.
    """

    videos: int = 0
    credits: int = 0
    usd: Decimal = Decimal(0)

    def __add__(self, other: "Amounts") -> "Amounts":
        return Amounts(self.videos + other.videos, self.credits + other.credits, self.usd + other.usd)

    def __sub__(self, other: "Amounts") -> "Amounts":
        return Amounts(self.videos - other.videos, self.credits - other.credits, self.usd - other.usd)


ZERO = Amounts()


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger.

    created_at: when it was written. effective_at: when its amounts count. All entries of a job paid with a credit
    have the `credit_grant_id`, and its video does not count in the window. actor_id: None for the bot itself.
    """

    kind: EntryKind
    guild_id: int
    user_id: int
    created_at: datetime
    effective_at: datetime
    amounts: Amounts
    reason: str
    job_id: str | None = None
    credit_grant_id: int | None = None
    actor_id: int | None = None


def utc_day(moment: datetime) -> date:
    """The UTC day; `moment` is aware and in UTC."""
    return moment.date()


def total(entries: Iterable[Entry]) -> Amounts:
    """The entries' sum."""
    return sum((entry.amounts for entry in entries), ZERO)


def rounded_up(usd: Decimal) -> Decimal:
    """The amount in the ledger's resolution, never less than what was paid."""
    return usd.quantize(NANO, rounding=ROUND_CEILING)


def is_plausible_cost(cost: Decimal | None) -> bool:
    """Whether to use the cost that the upstream reports; otherwise the estimate stands."""
    return cost is not None and cost.is_finite() and 0 <= cost < COST_MAX_USD


def expected_balances(job: Job, estimate: Decimal, *, with_credit: bool) -> Amounts:
    """The sum that all entries of a job must have in its present state.

    A known cost always counts, because it was paid. Otherwise the estimate counts, unless the job ended free,
    without a video, and the upstream won't bill it. A resumed job counts in no quota, but its task still costs.
    Returning the video also returns its credit.
    """
    counts = 1 if job.charged else 0
    credits_due = -counts if with_credit else 0
    if job.cost_usd is not None and is_plausible_cost(job.cost_usd):
        return Amounts(counts, credits_due, rounded_up(job.cost_usd))
    made = job.result_url is not None
    ended_free = not job.charged and not made and job.state in {JobState.FAILED, JobState.CANCELLED}
    ended_free = ended_free and job.cost_unknown_since is None
    return Amounts(counts, credits_due, Decimal(0) if ended_free else estimate)


def entries_for(job: Job, change: Amounts) -> tuple[tuple[EntryKind, Amounts], ...]:
    """The entries for a change of a job's balance: one for what is returned, one for the cost."""
    if change == ZERO:
        return ()
    if job.cost_usd is None or not is_plausible_cost(job.cost_usd):
        # Only a resumed job reserves again without being accepted again.
        kind = EntryKind.RESERVE if change.videos >= 0 and change.usd > 0 else EntryKind.RETURN
        return ((kind, change),)
    given_back = Amounts(change.videos, change.credits)
    settled = Amounts(usd=change.usd)
    both = (EntryKind.RETURN, given_back), (EntryKind.SETTLE, settled)
    return tuple((kind, amounts) for kind, amounts in both if amounts != ZERO)


def entry_reason(job: Job, kind: EntryKind) -> str:
    """The `reason` of an entry from `entries_for`."""
    if kind is EntryKind.RESERVE:
        return "revived"
    return f"{job.state}" if job.failure_reason is None else f"{job.state}: {job.failure_reason}"
