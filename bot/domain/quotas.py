"""Who may ask for how much, and why not. Pure: usage comes in as numbers and times, a verdict goes out.

The store gathers a `Situation` and asks for the verdict in the transaction that adds the job, so that
simultaneous requests never pass a limit together. What the operator and the server have is looked at before
what the member has: no credit and no exemption lifts it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from bot.chat.messages.markdown import relative
from bot.domain.durations import show_span, window_text
from bot.domain.guilds import Budget, GuildSettings
from bot.domain.limits import Limits, Usage, next_free_at, usable
from bot.domain.money import show_share, show_usd

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


@dataclass(frozen=True, slots=True)
class Refused:
    """It may not. text: for the member: which limit, what is used of it, when it frees, who can change it.

    frees_at: when the limit lets the next one in by the clock alone; None where it takes something else.
    """

    limit: LimitName
    text: str
    frees_at: datetime | None = None


def evaluate_quota(situation: Situation, now: datetime) -> Accepted | Refused:
    """Whether one more video may be made at `now`.

    Of several limits of the house and the server, that is named which frees last: once it does, all have.
    """
    refusals = list(_over_all(situation, now))
    if refusals:
        return max(refusals, key=lambda it: (it.frees_at is None, it.frees_at or now))
    return _members(situation, now)


@dataclass(frozen=True, slots=True)
class _Purse:
    """A budget of a day or a month, and what is spent of it. lasts: how a text calls that time."""

    name: LimitName
    limit: Decimal
    used: Decimal
    ends: datetime
    lasts: str


def _over_all(it: Situation, now: datetime) -> Iterator[Refused]:
    """The limits of the house and of the server that are reached, the operator's first."""
    day, month = day_ends(now), month_ends(now)
    for refuse, budget, spent, names in (
        (_house_is_empty, it.house, it.house_spent, (LimitName.HOUSE_USD_DAY, LimitName.HOUSE_USD_MONTH)),
        (_grant_is_empty, it.granted, it.guild_spent, (LimitName.GRANTED_USD_DAY, LimitName.GRANTED_USD_MONTH)),
        (_guild_is_empty, it.guild.budget, it.guild_spent, (LimitName.GUILD_USD_DAY, LimitName.GUILD_USD_MONTH)),
    ):
        for name, limit, used, ends, lasts in (
            (names[0], budget.usd_per_day, spent.usd_today, day, "today"),
            (names[1], budget.usd_per_month, spent.usd_month, month, "this month"),
        ):
            if limit is not None and used + it.estimate > limit:
                yield refuse(_Purse(name, limit, used, ends, lasts), it.estimate)
    most, made = it.guild.videos_per_day, it.guild_spent.videos_today
    if most is not None and made >= most:
        frees_at = None if most == 0 else day
        yield Refused(
            LimitName.GUILD_VIDEOS,
            f"This server has used {made} of its {most} videos of today. {_frees(frees_at)} {_ADMINS}",
            frees_at,
        )
    if it.queued >= it.max_queued:
        # Without a number: how much others wait for is not this server's business.
        yield Refused(
            LimitName.QUEUE,
            "All places in this bot's queue are taken: too many videos wait already. A place frees each time that "
            f"one of them starts; ask again in a few minutes. {_OPERATOR}",
            now,
        )
    if it.queued_here >= it.queued_share:
        yield Refused(
            LimitName.QUEUE_SHARE,
            f"This server has {it.queued_here} of its {it.queued_share} places in the bot's queue. One frees as "
            f"soon as a video of yours here starts, or a moderator answers one that waits for them. {_OPERATOR}",
            now,
        )


def _house_is_empty(purse: _Purse, estimate: Decimal) -> Refused:
    # As a share: what all servers together spend is the operator's business.
    frees_at = None if estimate > purse.limit else purse.ends
    share = show_share(min(purse.used, purse.limit), purse.limit)
    text = (
        f"What this bot may spend {purse.lasts}, over all servers, has no room for this video: {share} of the "
        f"operator's budget is used. {_frees(frees_at)} {_OPERATOR}"
    )
    return Refused(purse.name, text, frees_at)


def _grant_is_empty(purse: _Purse, estimate: Decimal) -> Refused:
    return _budget_is_empty(purse, estimate, "The operator's budget for this server", _OPERATOR)


def _guild_is_empty(purse: _Purse, estimate: Decimal) -> Refused:
    return _budget_is_empty(purse, estimate, "This server's budget", _ADMINS)


def _budget_is_empty(purse: _Purse, estimate: Decimal, whose: str, who: str) -> Refused:
    frees_at = None if estimate > purse.limit else purse.ends
    text = (
        f"{whose} for {purse.lasts} has no room for this video: {show_usd(purse.used)} of {show_usd(purse.limit)} "
        f"is used, and it is expected to cost {show_usd(estimate)}. {_frees(frees_at)} {who}"
    )
    return Refused(purse.name, text, frees_at)


def _members(it: Situation, now: datetime) -> Accepted | Refused:
    """The limits of the member, those that free soonest first."""
    limits, usage = it.limits, it.usage
    wasted = over_failure_limit(limits, usage)
    if limits.exempt:
        return wasted or Accepted()
    most = limits.max_active.value
    if usage.running >= most:
        frees = (
            "None may be made at present."
            if most == 0
            else "The next one can start as soon as fewer are; `/videos list` shows them."
        )
        text = f"You have {usage.running} of {most} videos under way, those that wait included. {frees} {_ADMINS}"
        return Refused(LimitName.RUNNING, text)
    pause = timedelta(seconds=limits.cooldown_s.value)
    # A last one from further ahead than a pause was accepted before the clock was set back.
    if pause and usage.last_at is not None and now - pause < usage.last_at <= now + pause:
        ends = usage.last_at + pause
        return Refused(
            LimitName.PAUSE,
            f"Between two requests there is a pause of {show_span(pause)} here; your last one was "
            f"{relative(usage.last_at)}. You can ask again {relative(ends)}. {_ADMINS}",
            ends,
        )
    if wasted is not None:
        return wasted
    used, most = len(usage.counted_at), limits.videos_per_window.value
    if used < most:
        return Accepted()
    for credit in usable(usage.credits, now):
        return Accepted(credit.credit_grant_id)
    frees_at = next_free_at(usage, limits)
    return Refused(
        LimitName.WINDOW,
        f"You have used {used} of {most} videos in {window_text(limits.window)}, and no credits are left. "
        f"{_frees(frees_at, of='The next one')} The admins of this server can change that or grant you extra "
        "videos.",
        frees_at,
    )


def over_failure_limit(limits: Limits, usage: Usage) -> Refused | None:
    """Why a member of whom many videos were made for nothing gets no more for now; None where that may go on.

    Each was given back, and paid: without a bound that could cost anything. No credit, no exemption lifts it.
    """
    wasted, most = usage.wasted_at, max(WASTED_MIN, limits.videos_per_window.value)
    if len(wasted) < most:
        return None
    frees_at = wasted[len(wasted) - most] + limits.window
    text = (
        f"{len(wasted)} videos of yours were made in the last {window_text(limits.window)} but could not be "
        f"posted where you asked for them. You can ask again {relative(frees_at)}. The admins of this server can "
        "change that: once I can post there, they can have one tried again."
    )
    return Refused(LimitName.WASTED, text, frees_at)


_ADMINS = "The admins of this server can change that."
_OPERATOR = "Only the operator of this bot can change that."


def _frees(at: datetime | None, *, of: str = "It") -> str:
    """When something frees; None where no waiting helps."""
    return "It does not free by itself." if at is None else f"{of} frees {relative(at)}."


def day_ends(now: datetime) -> datetime:
    """When the day of UTC's calendar ends."""
    return datetime(now.year, now.month, now.day, tzinfo=UTC) + timedelta(days=1)


def month_ends(now: datetime) -> datetime:
    """When the month of UTC's calendar ends."""
    return datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
