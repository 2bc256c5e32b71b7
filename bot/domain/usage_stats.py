"""A server's usage over a span of days. Pure.

Days are UTC's, as budgets count them; a video and its cost belong to the day on which it was ordered.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from bot.domain.guilds import Budget
from bot.domain.jobs import ENDED, FailureReason, JobState

NEVER_TRIED = frozenset({FailureReason.DECLINED, FailureReason.EXPIRED})
"""Failures that don't count in the success rate: these videos were never approved."""


_DAY_LENGTH = len("2026-01-31")


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
    """How many videos ended in which way. in_progress: not ended yet.

    rejected: by the video service's moderation; `failed` doesn't include them.
    """

    delivered: int = 0
    failed: int = 0
    rejected: int = 0
    cancelled: int = 0
    in_progress: int = 0

    @property
    def ordered(self) -> int:
        """All of them."""
        return self.delivered + self.failed + self.rejected + self.cancelled + self.in_progress

    def __add__(self, other: "VideoCounts") -> "VideoCounts":
        return VideoCounts(
            self.delivered + other.delivered,
            self.failed + other.failed,
            self.rejected + other.rejected,
            self.cancelled + other.cancelled,
            self.in_progress + other.in_progress,
        )


def videos_of(state: JobState, count: int, failure: FailureReason | None = None) -> VideoCounts:
    """`count` videos whose jobs are in that state; each state that ends a job has a field of its name."""
    if failure is FailureReason.REJECTED:
        return VideoCounts(rejected=count)
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

    failures: by reason, without rejected ones. members: how many ordered something; top: those who ordered most.
    in_queue: from order to submission; to_video: from order to the posted video. days: each of the span, without
    gaps.
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


class JobLine(NamedTuple):
    """One job, for the export and for the statistics; as a database says it, because there are many.

    created_at: in UTC, to the second, as text (`2026-01-31T09:05:00Z`). state, failure: their values. Amounts are
    in billionths of a USD: what was reserved at its acceptance, and what it comes to in the ledger, None for
    nothing. is_reserved: the latter is only expected yet. provider: who makes or made it, None where it is open.
    """

    id: str
    created_at: str
    user_id: int
    state: str
    failure: str | None
    resolution: str
    in_queue_s: float | None
    to_video_s: float | None
    reserved_nano_usd: int | None
    nano_usd: int | None
    is_reserved: bool
    provider: str | None = None


class UsageTally:
    """Counts jobs as they are read, in chunks: what a server's statistics are made of."""

    def __init__(self) -> None:
        self._states: Counter[tuple[str, str, str | None]] = Counter()
        self._ordered: Counter[int] = Counter()
        self._delivered: Counter[int] = Counter()
        self._reserved: Counter[str] = Counter()
        self._in_queue_s: list[float] = []
        self._to_video_s: list[float] = []

    def add(self, lines: Sequence[JobLine]) -> None:
        """Counts these jobs."""
        self._states.update([(line.created_at[:_DAY_LENGTH], line.state, line.failure) for line in lines])
        self._ordered.update([line.user_id for line in lines])
        self._delivered.update([line.user_id for line in lines if line.state == JobState.DELIVERED])
        self._in_queue_s += [line.in_queue_s for line in lines if line.in_queue_s is not None]
        self._to_video_s += [line.to_video_s for line in lines if line.to_video_s is not None]
        for line in lines:
            if line.is_reserved:
                self._reserved[line.created_at[:_DAY_LENGTH]] += line.nano_usd or 0

    def videos(self) -> dict[date, VideoCounts]:
        """How the videos of each day ended."""
        days: defaultdict[date, VideoCounts] = defaultdict(VideoCounts)
        for (day, state, failure), count in self._states.items():
            reason = None if failure is None else FailureReason(failure)
            days[date.fromisoformat(day)] += videos_of(JobState(state), count, reason)
        return dict(days)

    def failures(self) -> dict[FailureReason, int]:
        """How often each reason occurred; rejected videos are not among them."""
        reasons: Counter[FailureReason] = Counter()
        for (_, _, failure), count in self._states.items():
            if failure not in {None, FailureReason.REJECTED}:
                reasons[FailureReason(failure)] += count
        return dict(reasons)

    def reserved_nano_usd(self) -> dict[date, int]:
        """The part of each day's cost that is only expected yet, in billionths of a USD."""
        return {date.fromisoformat(day): amount for day, amount in self._reserved.items()}

    def members(self, *, without: int) -> dict[int, tuple[int, int]]:
        """How many videos each member ordered and received, those who ordered most first. without: no member."""
        most = sorted(self._ordered.items(), key=lambda pair: (-pair[1], pair[0]))
        return {user_id: (count, self._delivered[user_id]) for user_id, count in most if user_id != without}

    def in_queue(self) -> Waits | None:
        """From order to submission; None without data."""
        return _waits(self._in_queue_s)

    def to_video(self) -> Waits | None:
        """From order to the posted video; None without data."""
        return _waits(self._to_video_s)


def _waits(seconds: list[float]) -> Waits | None:
    """Median and 95th percentile by nearest rank."""
    if not seconds:
        return None
    in_order = sorted(seconds)
    # The zero-based rank of a percentage, in integers: ceil(count * share / 100) - 1.
    median_s, p95_s = (in_order[(len(in_order) * share + 99) // 100 - 1] for share in (50, 95))
    return Waits(median_s, p95_s)


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
