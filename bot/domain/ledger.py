"""The ledger's entries: what explains every number that a limit sees. Pure values and the sums that follow.

Append-only. An entry says what it changes of three sums: videos, credits, USD. All entries of a job carry the
time of its acceptance as `effective_at`, so that a cost that is known later still counts in the day, month and
window in which the job was let in.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from decimal import ROUND_CEILING, Decimal
from enum import StrEnum

from bot.domain.jobs import Job, JobState

NANO = Decimal("0.000000001")
"""The grain of the ledger's amounts: a billionth of a USD."""

COST_MAX_USD = Decimal(1_000_000)
"""No video costs so much: an upstream that says so is wrong, and the sums must not burst over it."""


class EntryKind(StrEnum):
    """What an entry is for."""

    RESERVE = "reserve"  # a job was accepted: a video, or a credit, and its estimated cost
    SETTLE = "settle"  # what it really cost is known: the difference to what was reserved
    RETURN = "return"  # a job ended free: what it had is given back
    GRANT = "grant"  # an admin gave credits
    ADJUST = "adjust"  # credits revoked or expired; a cost found later


@dataclass(frozen=True, slots=True)
class Sums:
    """What entries come to. videos: counted on the window and the server's day; usd: at most nine decimals."""

    videos: int = 0
    credits: int = 0
    usd: Decimal = Decimal(0)

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.videos + other.videos, self.credits + other.credits, self.usd + other.usd)

    def __sub__(self, other: "Sums") -> "Sums":
        return Sums(self.videos - other.videos, self.credits - other.credits, self.usd - other.usd)


NOTHING = Sums()


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger.

    created_at: when it was written; effective_at: the time at which its sums count. job_id, credit_grant_id: what
    it is about. A job paid with a credit carries the grant in all its entries, and its video does not count in its
    member's window. actor_id: who caused it; None where the bot did. reason: in words.
    """

    kind: EntryKind
    guild_id: int
    user_id: int
    created_at: datetime
    effective_at: datetime
    sums: Sums
    reason: str
    job_id: str | None = None
    credit_grant_id: int | None = None
    actor_id: int | None = None


def utc_day(moment: datetime) -> date:
    """The day of UTC's calendar in which something counts; `moment` is aware and in UTC."""
    return moment.date()


def total(entries: Iterable[Entry]) -> Sums:
    """What the entries come to."""
    return sum((entry.sums for entry in entries), NOTHING)


def rounded_up(usd: Decimal) -> Decimal:
    """The amount in the ledger's grain, rounded up: never less than what was paid."""
    return usd.quantize(NANO, rounding=ROUND_CEILING)


def is_plausible_cost(cost: Decimal | None) -> bool:
    """Whether what the upstream says a task cost is an amount to reckon with; else the estimate stands."""
    return cost is not None and cost.is_finite() and 0 <= cost < COST_MAX_USD


def expected_balances(job: Job, estimate: Decimal, *, with_credit: bool) -> Sums:
    """What all entries of a job must come to, as it stands.

    A known cost counts however the job ended: it was paid. Without one, the estimate stands until the job ends
    free and without a video: one that was made was paid, whoever got it. A revived job is on nobody's quota any
    more, but its task costs as any. A video given back takes its credit back along.
    """
    counts = 1 if job.charged else 0
    credits_due = -counts if with_credit else 0
    if job.cost_usd is not None and is_plausible_cost(job.cost_usd):
        return Sums(counts, credits_due, rounded_up(job.cost_usd))
    made = job.result_url is not None
    ended_free = not job.charged and not made and job.state in {JobState.FAILED, JobState.CANCELLED}
    return Sums(counts, credits_due, Decimal(0) if ended_free else estimate)


def entries_for(job: Job, change: Sums) -> tuple[tuple[EntryKind, Sums], ...]:
    """The entries by which a job's sums change: what is given back, and what its cost changes, each by itself."""
    if change == NOTHING:
        return ()
    if job.cost_usd is None or not is_plausible_cost(job.cost_usd):
        # Only a revived job takes again without being let in.
        kind = EntryKind.RESERVE if change.videos >= 0 and change.usd > 0 else EntryKind.RETURN
        return ((kind, change),)
    given_back = Sums(change.videos, change.credits)
    settled = Sums(usd=change.usd)
    both = (EntryKind.RETURN, given_back), (EntryKind.SETTLE, settled)
    return tuple((kind, sums) for kind, sums in both if sums != NOTHING)


def entry_reason(job: Job, kind: EntryKind) -> str:
    """The reason of an entry that `entries_for` names, in words."""
    if kind is EntryKind.RESERVE:
        return "revived"
    return f"{job.state}" if job.failure_reason is None else f"{job.state}: {job.failure_reason}"
