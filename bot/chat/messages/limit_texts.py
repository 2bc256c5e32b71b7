"""Which limit a video would pass: what is used, when there is room again, who can change it."""

from datetime import datetime

from bot.chat.messages.markdown import relative, several
from bot.chat.messages.reason_texts import REMEDIES, text_of
from bot.domain.durations import show_duration, window_text
from bot.domain.money import show_usd
from bot.domain.quotas import (
    BudgetPeriod,
    BudgetReached,
    LimitName,
    PauseNotOver,
    QueueFull,
    TotalBudgetReached,
    VideoLimitReached,
)

_PERIODS = {BudgetPeriod.DAY: "daily", BudgetPeriod.MONTH: "monthly"}


@text_of.register
def _(reached: VideoLimitReached) -> str:
    used, maximum = reached.used, reached.maximum
    unlocks = "" if reached.available_at is None else relative(reached.available_at)
    remedy = REMEDIES[reached.remedy]
    match reached.limit:
        case LimitName.RUNNING if not maximum:
            return f"You can't make videos here right now: your limit is 0 at a time. {remedy}"
        case LimitName.RUNNING:
            return (
                f"You have {used} of {maximum} videos in progress, including queued ones. You can ask for "
                f"another when one is done; `/videos list` shows them. {remedy}"
            )
        case LimitName.WINDOW if not maximum:
            return (
                "You can't make videos here right now: your limit is 0, and you have no credits. "
                "Server admins can raise your limit or give you credits."
            )
        case LimitName.WINDOW:
            return (
                f"You've used {used} of {maximum} videos in the last {_window(reached)}, and you have no "
                f"credits left. Your next video unlocks {unlocks}. "
                "Server admins can raise your limit or give you credits."
            )
        case LimitName.UNDELIVERED:
            return (
                f"In the last {_window(reached)}, {several(used, 'video')} of yours couldn't be posted where you "
                f"asked for them. You can ask again {unlocks}. "
                "A server admin can also let me post there and retry one of them."
            )
        case LimitName.QUEUE_SHARE:
            return (
                f"This server already has {several(used, 'video')} waiting, and its share of the bot's queue is "
                f"{maximum}. Try again once one of them starts. {remedy}"
            )
        case _ if not maximum:
            return f"This server's limit is 0 videos a day. {remedy}"
        case _:
            return (
                f"This server has used {used} of its {maximum} videos for today. "
                f"The next one unlocks {unlocks}. {remedy}"
            )


def _window(reached: VideoLimitReached) -> str:
    return "while" if reached.window is None else window_text(reached.window)


@text_of.register
def _(reached: PauseNotOver) -> str:
    ends = "soon" if reached.available_at is None else relative(reached.available_at)
    return (
        f"You need to wait {show_duration(reached.pause)} between videos here. You can ask again {ends}. "
        f"{REMEDIES[reached.remedy]}"
    )


@text_of.register
def _(reached: BudgetReached) -> str:
    by_operator = reached.limit in {LimitName.GRANTED_USD_DAY, LimitName.GRANTED_USD_MONTH}
    period = _PERIODS[reached.period]
    budget = f"the operator's {period} budget for this server" if by_operator else f"this server's {period} budget"
    return (
        f"This video doesn't fit {budget}: {show_usd(reached.used)} of "
        f"{show_usd(reached.maximum)} is used, and the video would cost about {show_usd(reached.estimate)}. "
        f"{_resets(reached.available_at)} {REMEDIES[reached.remedy]}"
    )


@text_of.register
def _(reached: TotalBudgetReached) -> str:
    return (
        f"This video doesn't fit the bot's {_PERIODS[reached.period]} budget, which all servers share: "
        f"{reached.used_percent}% is used. {_resets(reached.available_at)} {REMEDIES[reached.remedy]}"
    )


@text_of.register
def _(reached: QueueFull) -> str:
    return f"The bot's queue is full right now. Please try again in a few minutes. {REMEDIES[reached.remedy]}"


def _resets(at: datetime | None) -> str:
    return "Waiting won't help." if at is None else f"The budget resets {relative(at)}."
