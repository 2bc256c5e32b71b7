"""Who may ask for how much, and why not. Pure: usage comes in as numbers and times, a verdict goes out.

The store gathers a `Situation` and asks for the verdict in the transaction that adds the job, so that
simultaneous requests never pass a limit together. What the operator and the server have is looked at before
what the member has: no credit and no exemption lifts it.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from bot.domain.errors import Reason, Remedy
from bot.domain.guilds import Budget, GuildSettings
from bot.domain.limits import Limits, Usage, next_free_at, usable

WASTED_MIN = 3
"""So many videos that were made and could not be posted are nobody's fault; see `over_failure_limit`."""


class LimitName(StrEnum):
    """Which limit hit."""

    RUNNING = "running"
    PAUSE = "pause"
    WINDOW = "window"
    GUILD_VIDEOS = "guild_videos"
    GUILD_USD_DAY = "guild_usd_day"
    GUILD_USD_MONTH = "guild_usd_month"
    GRANTED_USD_DAY = "granted_usd_day"
    GRANTED_USD_MONTH = "granted_usd_month"
    HOUSE_USD_DAY = "house_usd_day"
    HOUSE_USD_MONTH = "house_usd_month"
    QUEUE = "queue"
    QUEUE_SHARE = "queue_share"
    WASTED = "wasted"


@dataclass(frozen=True, slots=True)
class Spent:
    """What accepted videos come to, reserved and settled, in the day and the month of UTC's calendar."""

    videos_today: int = 0
    usd_today: Decimal = Decimal(0)
    usd_month: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a verdict depends on.

    guild: what the server's admins set; guild_spent: the whole server's. granted: the operator's budget for
    this server. house: the operator's over everything; house_spent: everybody's. queued: jobs that wait, over
    all servers; max_queued: the most. queued_here: the server's, those that wait for a moderator included.
    estimate: what the video will cost, in USD.
    """

    limits: Limits
    usage: Usage
    guild: GuildSettings
    guild_spent: Spent
    granted: Budget
    house: Budget
    house_spent: Spent
    queued: int
    max_queued: int
    queued_here: int
    estimate: Decimal

    @property
    def queued_share(self) -> int:
        """How many places of the queue one server may take: a quarter, so that the others find some."""
        return max(1, self.max_queued // 4)


@dataclass(frozen=True, slots=True)
class Accepted:
    """The video may be made. credit: the grant that pays for it, where the window is full."""

    credit: int | None = None


class BudgetPeriod(StrEnum):
    """What a budget is for: a day or a month of UTC's calendar."""

    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class LimitReached(Reason):
    """One more video would pass a limit.

    remedy: who can change it. frees_at: when it lets the next one in by the clock alone; None where it takes
    something else.
    """

    limit: LimitName
    remedy: Remedy
    frees_at: datetime | None


@dataclass(frozen=True, slots=True)
class VideoLimitReached(LimitReached):
    """A number of videos is reached. window: the rolling time in which they count, where they do."""

    used: int
    most: int
    window: timedelta | None = None


@dataclass(frozen=True, slots=True)
class PauseNotOver(LimitReached):
    """The last request was too short a time ago."""

    pause: timedelta


@dataclass(frozen=True, slots=True)
class BudgetReached(LimitReached):
    """The video does not fit a server's budget. Amounts in USD; estimate: what the video will cost."""

    period: BudgetPeriod
    used: Decimal
    most: Decimal
    estimate: Decimal


@dataclass(frozen=True, slots=True)
class TotalBudgetReached(LimitReached):
    """The video does not fit the operator's budget over all servers.

    A share alone, in whole percent: what all servers spend together is the operator's business.
    """

    period: BudgetPeriod
    used_percent: int


@dataclass(frozen=True, slots=True)
class QueueFull(LimitReached):
    """Too many videos wait, over all servers. Without a number: the others' are not this server's business."""


def evaluate_quota(situation: Situation, now: datetime) -> Accepted | LimitReached:
    """Whether one more video may be made at `now`.

    Of several limits of the house and the server, that is named which frees last: once it does, all have.
    """
    refusals = list(_over_all(situation, now))
    return max(refusals, key=_how_lasting) if refusals else _members(situation, now)


def _how_lasting(reached: LimitReached) -> tuple[bool, float]:
    """Sorts refusals: the queue moves within minutes, a budget at its time, a limit of zero never."""
    passes = reached.limit in {LimitName.QUEUE, LimitName.QUEUE_SHARE}
    return not passes, math.inf if reached.frees_at is None else reached.frees_at.timestamp()


def _over_all(it: Situation, now: datetime) -> Iterator[LimitReached]:
    """The limits of the house and of the server that are reached, the operator's first."""
    yield from _budgets(it, now)
    most, made = it.guild.videos_per_day, it.guild_spent.videos_today
    if most is not None and made >= most:
        frees_at = None if most == 0 else day_ends(now)
        yield VideoLimitReached(LimitName.GUILD_VIDEOS, Remedy.ASK_ADMINS, frees_at, made, most)
    if it.queued >= it.max_queued:
        yield QueueFull(LimitName.QUEUE, Remedy.ASK_OPERATOR, None)
    if it.queued_here >= it.queued_share:
        here = it.queued_here
        yield VideoLimitReached(LimitName.QUEUE_SHARE, Remedy.ASK_OPERATOR, None, here, it.queued_share)


def _budgets(it: Situation, now: datetime) -> Iterator[LimitReached]:
    """The budgets that have no room for the video, the operator's first."""
    day, month = BudgetPeriod.DAY, BudgetPeriod.MONTH
    for name, period, budget, spent in (
        (LimitName.HOUSE_USD_DAY, day, it.house, it.house_spent),
        (LimitName.HOUSE_USD_MONTH, month, it.house, it.house_spent),
        (LimitName.GRANTED_USD_DAY, day, it.granted, it.guild_spent),
        (LimitName.GRANTED_USD_MONTH, month, it.granted, it.guild_spent),
        (LimitName.GUILD_USD_DAY, day, it.guild.budget, it.guild_spent),
        (LimitName.GUILD_USD_MONTH, month, it.guild.budget, it.guild_spent),
    ):
        most, used, ends = (
            (budget.usd_per_day, spent.usd_today, day_ends(now))
            if period is day
            else (budget.usd_per_month, spent.usd_month, month_ends(now))
        )
        if most is None or used + it.estimate <= most:
            continue
        frees_at = None if it.estimate > most else ends
        if budget is it.house:
            yield TotalBudgetReached(name, Remedy.ASK_OPERATOR, frees_at, period, _percent(used, most))
        else:
            remedy = Remedy.ASK_OPERATOR if budget is it.granted else Remedy.ASK_ADMINS
            yield BudgetReached(name, remedy, frees_at, period, used, most, it.estimate)


def _percent(used: Decimal, most: Decimal) -> int:
    """The share that is used, rounded down so that only a full budget reads 100."""
    return 100 if most <= 0 else min(100, max(0, int(used * 100 / most)))


def _members(it: Situation, now: datetime) -> Accepted | LimitReached:
    """The limits of the member, those that free soonest first."""
    limits, usage = it.limits, it.usage
    wasted = over_failure_limit(limits, usage)
    if limits.exempt:
        return wasted or Accepted()
    most = limits.max_active.value
    if usage.running >= most:
        return VideoLimitReached(LimitName.RUNNING, Remedy.ASK_ADMINS, None, usage.running, most)
    pause = timedelta(seconds=limits.cooldown_s.value)
    # A last one from further ahead than a pause was accepted before the clock was set back.
    if pause and usage.last_at is not None and now - pause < usage.last_at <= now + pause:
        return PauseNotOver(LimitName.PAUSE, Remedy.ASK_ADMINS, usage.last_at + pause, pause)
    if wasted is not None:
        return wasted
    used, most = len(usage.counted_at), limits.videos_per_window.value
    if used < most:
        return Accepted()
    for credit in usable(usage.credits, now):
        return Accepted(credit.credit_grant_id)
    frees_at = next_free_at(usage, limits)
    return VideoLimitReached(LimitName.WINDOW, Remedy.ASK_ADMINS, frees_at, used, most, limits.window)


def over_failure_limit(limits: Limits, usage: Usage) -> VideoLimitReached | None:
    """Why a member of whom many videos were made for nothing gets no more for now; None where that may go on.

    Each was given back, and paid: without a bound that could cost anything. No credit, no exemption lifts it.
    """
    wasted, most = usage.wasted_at, max(WASTED_MIN, limits.videos_per_window.value)
    if len(wasted) < most:
        return None
    frees_at = wasted[len(wasted) - most] + limits.window
    return VideoLimitReached(LimitName.WASTED, Remedy.ASK_ADMINS, frees_at, len(wasted), most, limits.window)


def day_ends(now: datetime) -> datetime:
    """When the day of UTC's calendar ends."""
    return datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)


def month_ends(now: datetime) -> datetime:
    """When the month of UTC's calendar ends."""
    return datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
