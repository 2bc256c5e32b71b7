"""Decides whether a member may have one more video, or several at once, and why not. Pure.

The store gathers a `QuotaContext` and decides in the transaction that adds the job, so that simultaneous requests
can't pass a limit together. The limits of the operator and the server come before the member's: no credit and no
exemption lifts them.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from bot.domain.errors import Reason, Remedy
from bot.domain.guilds import Budget, GuildSettings
from bot.domain.limits import Limits, Usage, usable
from bot.domain.money import percent

UNDELIVERED_MIN = 3
"""The lowest value of the limit in `over_failure_limit`: this many failed posts happen to anyone."""


class BudgetPeriod(StrEnum):
    """What a budget is for: a day or a month (UTC)."""

    DAY = "day"
    MONTH = "month"


class LimitName(StrEnum):
    """Which limit was reached. The text is what the database holds."""

    MAX_ACTIVE = "running"
    COOLDOWN = "pause"
    VIDEOS_PER_WINDOW = "window"
    GUILD_VIDEOS_PER_DAY = "guild_videos"
    GUILD_USD_PER_DAY = "guild_usd_day"
    GUILD_USD_PER_MONTH = "guild_usd_month"
    GRANTED_USD_PER_DAY = "granted_usd_day"
    GRANTED_USD_PER_MONTH = "granted_usd_month"
    TOTAL_USD_PER_DAY = "house_usd_day"
    TOTAL_USD_PER_MONTH = "house_usd_month"
    PROVIDER_USD = "provider_usd"
    QUEUE = "queue"
    GUILD_QUEUE = "queue_share"
    UNDELIVERED = "wasted"


_DAILY_BUDGETS = {LimitName.GUILD_USD_PER_DAY, LimitName.GRANTED_USD_PER_DAY, LimitName.TOTAL_USD_PER_DAY}
_QUEUE_LIMITS = {LimitName.QUEUE, LimitName.GUILD_QUEUE}
_SET_BY_OPERATOR = _QUEUE_LIMITS | {
    LimitName.GRANTED_USD_PER_DAY,
    LimitName.GRANTED_USD_PER_MONTH,
    LimitName.TOTAL_USD_PER_DAY,
    LimitName.TOTAL_USD_PER_MONTH,
    LimitName.PROVIDER_USD,
}


@dataclass(frozen=True, slots=True)
class Spent:
    """What accepted videos cost, reserved and settled, in the current day and month (UTC)."""

    videos_today: int = 0
    usd_today: Decimal = Decimal(0)
    usd_month: Decimal = Decimal(0)

    def with_one_more(self, estimate: Decimal) -> "Spent":
        """With one more accepted video."""
        return Spent(self.videos_today + 1, self.usd_today + estimate, self.usd_month + estimate)


@dataclass(frozen=True, slots=True)
class QuotaContext:
    """All that the decision depends on.

    guild: what the server's admins set. guild_spent: by the whole server. granted_budget: the operator's for this
    server. total_budget: the operator's for all servers. total_spent: by all servers. queued: waiting jobs of all
    servers, at most `max_queued`. queued_here: the server's, including those that await approval. estimate: what
    the video will cost, in USD. is_too_dear: whether no provider may ever make something that costs so much.
    """

    limits: Limits
    usage: Usage
    guild: GuildSettings
    guild_spent: Spent
    granted_budget: Budget
    total_budget: Budget
    total_spent: Spent
    queued: int
    max_queued: int
    queued_here: int
    estimate: Decimal
    is_too_dear: bool = False

    @property
    def max_queued_here(self) -> int:
        """One server may take a quarter of the queue, so that there is room for others."""
        return max(1, self.max_queued // 4)

    def with_one_more(self, verdict: "WithinQuota", now: datetime) -> "QuotaContext":
        """What the decision about the next video of the same order depends on, after one more was accepted."""
        usage, grant_id = self.usage, verdict.credit_grant_id
        usage = replace(
            usage,
            charged_at=(*usage.charged_at, now) if grant_id is None else usage.charged_at,
            running=usage.running + 1,
            credits=tuple(
                replace(credit, left=credit.left - (credit.credit_grant_id == grant_id))
                for credit in usage.credits
            ),
        )
        return replace(
            self,
            usage=usage,
            guild_spent=self.guild_spent.with_one_more(self.estimate),
            total_spent=self.total_spent.with_one_more(self.estimate),
            queued=self.queued + 1,
            queued_here=self.queued_here + 1,
        )


@dataclass(frozen=True, slots=True)
class WithinQuota:
    """The video may be made. credit_grant_id: the grant that pays for it, where the window is full."""

    credit_grant_id: int | None = None


@dataclass(frozen=True, slots=True)
class LimitReached(Reason):
    """One more video would pass a limit; of the whole queue, a member learns nothing else.

    available_at: when time alone makes room; None where it takes something else.
    """

    limit: LimitName
    available_at: datetime | None

    @property
    def remedy(self) -> Remedy:
        """Who can change the limit."""
        return Remedy.ASK_OPERATOR if self.limit in _SET_BY_OPERATOR else Remedy.ASK_ADMINS

    @property
    def period(self) -> BudgetPeriod:
        """Of a budget: what it is for."""
        return BudgetPeriod.DAY if self.limit in _DAILY_BUDGETS else BudgetPeriod.MONTH


@dataclass(frozen=True, slots=True)
class VideoLimitReached(LimitReached):
    """A number of videos is reached. window: the rolling time in which they count, if any."""

    used: int
    maximum: int
    window: timedelta | None = None


@dataclass(frozen=True, slots=True)
class CooldownActive(LimitReached):
    """The last request was too recent."""

    cooldown: timedelta


@dataclass(frozen=True, slots=True)
class BudgetReached(LimitReached):
    """The video does not fit a server's budget. Amounts in USD; estimate: what the video will cost."""

    used: Decimal
    maximum: Decimal
    estimate: Decimal


@dataclass(frozen=True, slots=True)
class TotalBudgetReached(LimitReached):
    """The video does not fit the operator's budget for all servers, whose amounts members don't see."""

    used_percent: int


@dataclass(frozen=True, slots=True)
class FewerFit(LimitReached):
    """Of several videos at once, only the first `fits` would be accepted.

    by_credits: how many of these credits would pay for. reached: why the next one isn't accepted.
    """

    asked: int
    fits: int
    by_credits: int
    reached: LimitReached


def evaluate_together(context: QuotaContext, count: int, now: datetime) -> list[WithinQuota] | LimitReached:
    """Whether so many videos may be made at once: all of them or none."""
    accepted: list[WithinQuota] = []
    while len(accepted) < count:
        verdict = evaluate_quota(context, now)
        if isinstance(verdict, LimitReached):
            if not accepted:
                return verdict
            by_credits = sum(one.credit_grant_id is not None for one in accepted)
            return FewerFit(verdict.limit, verdict.available_at, count, len(accepted), by_credits, verdict)
        accepted.append(verdict)
        context = context.with_one_more(verdict, now)
    return accepted


def evaluate_quota(context: QuotaContext, now: datetime) -> WithinQuota | LimitReached:
    """Whether one more video may be made at `now`.

    If several limits of the operator and the server are reached, returns the one that lasts longest.
    """
    reached = [*_budgets(context, now), *_video_counts(context, now)]
    return max(reached, key=_duration_order) if reached else _member_limits(context, now)


def _duration_order(reached: LimitReached) -> tuple[bool, float]:
    """Sorts limits: the queue moves within minutes, a budget resets at its time, a limit of zero never."""
    ends_at = math.inf if reached.available_at is None else reached.available_at.timestamp()
    return reached.limit not in _QUEUE_LIMITS, ends_at


def _budgets(context: QuotaContext, now: datetime) -> Iterator[LimitReached]:
    """The budgets that have no room for the video, the operator's first."""
    if context.is_too_dear:
        yield LimitReached(LimitName.PROVIDER_USD, None)
    total, granted, guild = context.total_budget, context.granted_budget, context.guild.budget
    by_all, by_guild = context.total_spent, context.guild_spent
    for name, budget, spent in (
        (LimitName.TOTAL_USD_PER_DAY, total, by_all),
        (LimitName.TOTAL_USD_PER_MONTH, total, by_all),
        (LimitName.GRANTED_USD_PER_DAY, granted, by_guild),
        (LimitName.GRANTED_USD_PER_MONTH, granted, by_guild),
        (LimitName.GUILD_USD_PER_DAY, guild, by_guild),
        (LimitName.GUILD_USD_PER_MONTH, guild, by_guild),
    ):
        if name in _DAILY_BUDGETS:
            maximum, used, ends_at = budget.usd_per_day, spent.usd_today, day_ends(now)
        else:
            maximum, used, ends_at = budget.usd_per_month, spent.usd_month, _month_ends(now)
        if maximum is None or used + context.estimate <= maximum:
            continue
        available_at = None if context.estimate > maximum else ends_at
        if budget is total:
            yield TotalBudgetReached(name, available_at, min(100, percent(used, maximum)))
        else:
            yield BudgetReached(name, available_at, used, maximum, context.estimate)


def _video_counts(context: QuotaContext, now: datetime) -> Iterator[LimitReached]:
    """The server's daily limit and the limits of the queue that are reached."""
    maximum, used = context.guild.videos_per_day, context.guild_spent.videos_today
    if maximum is not None and used >= maximum:
        available_at = None if maximum == 0 else day_ends(now)
        yield VideoLimitReached(LimitName.GUILD_VIDEOS_PER_DAY, available_at, used, maximum)
    if context.queued >= context.max_queued:
        yield LimitReached(LimitName.QUEUE, None)
    used, maximum = context.queued_here, context.max_queued_here
    if used >= maximum:
        yield VideoLimitReached(LimitName.GUILD_QUEUE, None, used, maximum)


def _member_limits(context: QuotaContext, now: datetime) -> WithinQuota | LimitReached:
    """The member's limits, those that end soonest first."""
    limits, usage = context.limits, context.usage
    failures = over_failure_limit(limits, usage)
    if limits.exempt:
        return failures or WithinQuota()
    maximum = limits.max_active.value
    if usage.running >= maximum:
        return VideoLimitReached(LimitName.MAX_ACTIVE, None, usage.running, maximum)
    cooldown_ends_at = usage.cooldown_ends_at(limits, now)
    if cooldown_ends_at is not None:
        return CooldownActive(LimitName.COOLDOWN, cooldown_ends_at, timedelta(seconds=limits.cooldown_s.value))
    if failures is not None:
        return failures
    used, maximum = len(usage.charged_at), limits.videos_per_window.value
    if used < maximum:
        return WithinQuota()
    for credit in usable(usage.credits, now):
        return WithinQuota(credit.credit_grant_id)
    available_at = usage.next_available_at(limits)
    return VideoLimitReached(LimitName.VIDEOS_PER_WINDOW, available_at, used, maximum, limits.window)


def over_failure_limit(limits: Limits, usage: Usage) -> VideoLimitReached | None:
    """Stops a member for whom too many videos were made that could not be posted; None where it is fine.

    The operator paid for each and the member got it back, so without a limit the cost would have no bound.
    Neither credits nor exemptions lift it.
    """
    failed_at, maximum = usage.undelivered_at, max(UNDELIVERED_MIN, limits.videos_per_window.value)
    if len(failed_at) < maximum:
        return None
    available_at = failed_at[-maximum] + limits.window
    return VideoLimitReached(LimitName.UNDELIVERED, available_at, len(failed_at), maximum, limits.window)


def day_ends(now: datetime) -> datetime:
    """When the UTC day ends."""
    return datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)


def _month_ends(now: datetime) -> datetime:
    """When the UTC month ends."""
    return datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
