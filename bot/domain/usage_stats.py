"""A server's usage over a span of days. Pure.

Days are UTC's, as budgets count them; a video and its cost belong to the day on which it was ordered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from bot.domain.guilds import Budget
from bot.domain.jobs import ENDED, FailureReason, JobState, Resolution

NEVER_TRIED = frozenset({FailureReason.DECLINED, FailureReason.EXPIRED})
"""Failures that don't count in the success rate: these videos were never approved."""


class Period(StrEnum):
    """A span of days that ends today or with last month."""

    TODAY = "today"
    WEEK = "week"
    THIRTY_DAYS = "thirty_days"
    THIS_MONTH = "this_month"
    LAST_MONTH = "last_month"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Span:
    """Days from `first` to `last`, both included. first: None for as far back as anything is known."""

    first: date | None
    last: date


def span_of(period: Period, today: date) -> Span:
    """The days that a period names on that day."""
    match period:
        case Period.TODAY:
            return Span(today, today)
        case Period.WEEK:
            return Span(today - timedelta(days=6), today)
        case Period.THIRTY_DAYS:
            return Span(today - timedelta(days=29), today)
        case Period.THIS_MONTH:
            return Span(today.replace(day=1), today)
        case Period.LAST_MONTH:
            last = today.replace(day=1) - timedelta(days=1)
            return Span(last.replace(day=1), last)
        case Period.ALL:
            return Span(None, today)


@dataclass(frozen=True, slots=True)
class VideoCounts:
    """How many videos ended in which way. in_progress: not ended yet."""

    delivered: int = 0
    failed: int = 0
    cancelled: int = 0
    in_progress: int = 0

    @property
    def ordered(self) -> int:
        """All of them."""
        return self.delivered + self.failed + self.cancelled + self.in_progress

    def __add__(self, other: "VideoCounts") -> "VideoCounts":
        return VideoCounts(
            self.delivered + other.delivered,
            self.failed + other.failed,
            self.cancelled + other.cancelled,
            self.in_progress + other.in_progress,
        )


def videos_of(state: JobState, count: int) -> VideoCounts:
    """`count` videos whose jobs are in that state; each state that ends a job has a field of its name."""
    return VideoCounts(**{state.value if state in ENDED else "in_progress": count})


@dataclass(frozen=True, slots=True)
class Day:
    """One day. usd: what its videos come to in the ledger; reserved_usd: the part that is only expected yet."""

    day: date
    videos: VideoCounts = VideoCounts()
    usd: Decimal = Decimal(0)
    reserved_usd: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class MemberUse:
    """What one member ordered, received and cost."""

    user_id: int
    ordered: int
    delivered: int
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Waits:
    """How long something took, in seconds: half of them at most the median, nearly all at most `p95_s`."""

    median_s: float
    p95_s: float


@dataclass(frozen=True, slots=True)
class BudgetUse:
    """How much of the budgets is spent. own: set by the server's admins; granted: by the operator."""

    own: Budget
    granted: Budget
    usd_today: Decimal
    usd_month: Decimal


@dataclass(frozen=True, slots=True)
class UsageStats:
    """A server's use over a span.

    failures: by reason. members: how many ordered something; top: those who ordered most. in_queue: from
    order to submission; to_video: from order to the posted video. days: each of the span, without gaps.
    """

    videos: VideoCounts
    failures: Mapping[FailureReason, int]
    members: int
    top: tuple[MemberUse, ...]
    in_queue: Waits | None
    to_video: Waits | None
    days: tuple[Day, ...]
    budget: BudgetUse

    @property
    def usd(self) -> Decimal:
        """What the videos come to, reserved and settled."""
        return sum((day.usd for day in self.days), Decimal(0))

    @property
    def reserved_usd(self) -> Decimal:
        """The part of `usd` that is only expected yet."""
        return sum((day.reserved_usd for day in self.days), Decimal(0))

    @property
    def success(self) -> float | None:
        """The share of delivered ones among those that were tried to their end; None where there were none."""
        untried = sum(self.failures.get(reason, 0) for reason in NEVER_TRIED)
        tried = self.videos.delivered + self.videos.failed - untried
        return self.videos.delivered / tried if tried else None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show."""
        return not self.videos.ordered and not any(day.usd for day in self.days)


@dataclass(frozen=True, slots=True)
class JobLine:
    """One job of the export. reserved_usd: at its acceptance; usd: what it comes to in the ledger."""

    id: str
    created_at: datetime
    user_id: int
    state: JobState
    failure: str | None
    resolution: Resolution
    in_queue_s: float | None
    to_video_s: float | None
    reserved_usd: Decimal | None
    usd: Decimal


def filled(span: Span, known: Mapping[date, Day]) -> tuple[Day, ...]:
    """Every day of the span, also empty ones; from the first known day if the span has no start."""
    first = span.first or min(known, default=span.last)
    days = (first + timedelta(days=number) for number in range((span.last - first).days + 1))
    return tuple(known.get(day, Day(day)) for day in days)


def by_week(days: tuple[Day, ...]) -> tuple[Day, ...]:
    """The days summed by week, each under its Monday."""
    weeks: dict[date, Day] = {}
    for day in days:
        monday = day.day - timedelta(days=day.day.weekday())
        week = weeks.get(monday, Day(monday))
        weeks[monday] = Day(
            monday, week.videos + day.videos, week.usd + day.usd, week.reserved_usd + day.reserved_usd
        )
    return tuple(weeks.values())
