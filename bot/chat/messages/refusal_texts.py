"""Why an order was refused, by the policy or by a limit, and what the member can do about it."""

from collections.abc import Sequence
from dataclasses import dataclass

from bot.chat.messages.audit_texts import NO_REASON
from bot.chat.messages.markdown import escaped, exact, relative, sentence, several
from bot.chat.messages.reason_texts import REMEDIES, text_of
from bot.domain import policy, quotas
from bot.domain.durations import show_duration, window_text
from bot.domain.errors import Reason, Remedy
from bot.domain.money import show_usd

_NAMED_MAX = 10
_REASON_MAX = 700
_TERM_MAX = 200
_PERIODS = {quotas.BudgetPeriod.DAY: "daily", quotas.BudgetPeriod.MONTH: "monthly"}
_RULES = {
    policy.RuleName.ACCESS: "This server isn't allowed to use the bot right now. {remedy}",
    policy.RuleName.DIRECT_ORDERS: (
        "I take no orders in direct messages at the moment. {remedy} You can use me in a server instead."
    ),
    policy.RuleName.DRAINING: (
        "The bot isn't taking new videos in any server right now. Videos you've already asked for will still be "
        "made. {remedy}"
    ),
    policy.RuleName.PAUSED: (
        "The server admins have paused the bot. Videos you've already asked for will still be made; new ones have "
        "to wait until an admin resumes it."
    ),
    policy.RuleName.AGE_RESTRICTED: (
        "This server only allows videos in age-restricted channels. Please use one of those. {remedy}"
    ),
}


@dataclass(frozen=True, slots=True)
class OutsideServers(Reason):
    """A refusal of an order in direct messages, where there is no admin to ask."""

    reason: Reason


@text_of.register
def _(outside: OutsideServers) -> str:
    reason = outside.reason
    operator = REMEDIES[Remedy.ASK_OPERATOR]
    match reason:
        case quotas.VideoLimitReached(limit=quotas.LimitName.VIDEOS_PER_WINDOW, maximum=0):
            return f"You can't make videos in direct messages right now: the limit is 0. {operator}"
        case quotas.VideoLimitReached(limit=quotas.LimitName.VIDEOS_PER_WINDOW, available_at=at):
            unlocks = "" if at is None else f" Your next one here unlocks {relative(at)}."
            return (
                f"You've used {reason.used} of {reason.maximum} videos in direct messages in the last "
                f"{_window(reason)}.{unlocks} Servers that have me have limits of their own."
            )
        case quotas.VideoLimitReached(limit=quotas.LimitName.MAX_ACTIVE):
            return (
                f"You have {reason.used} of {reason.maximum} videos in progress here, including queued ones. You "
                "can ask for another when one is done; `/videos list` shows them."
            )
        case quotas.VideoLimitReached(limit=quotas.LimitName.GUILD_QUEUE):
            return "Too many videos from direct messages are waiting right now. Please try again in a few minutes."
        case quotas.VideoLimitReached(limit=quotas.LimitName.UNDELIVERED, available_at=at):
            unlocks = "" if at is None else f" You can ask again {relative(at)}."
            videos = several(reason.used, "video")
            return f"In the last {_window(reason)}, {videos} of yours couldn't be sent to you.{unlocks}"
        case quotas.CooldownActive(available_at=at):
            ends = "soon" if at is None else relative(at)
            return f"You need to wait {show_duration(reason.cooldown)} between videos. You can ask again {ends}."
        case quotas.BudgetReached(available_at=at):
            resets = "Waiting won't help." if at is None else f"It resets {relative(at)}."
            period = _PERIODS[reason.period]
            return f"The {period} budget for videos in direct messages is used up. {resets} {operator}"
        case quotas.FewerFit():
            return f"There's room for {reason.fits} more here, and you asked for {reason.asked}. {operator}"
        case policy.PolicyViolation(rule=policy.RuleName.ACCESS):
            return f"I can't take orders in direct messages right now. {operator}"
        case _:
            return text_of(reason)


@text_of.register
def _(violation: policy.PolicyViolation) -> str:
    remedy = REMEDIES[violation.remedy]
    match violation:
        case policy.RoleNotAllowed(denied_id=None):
            roles = _listed(violation.allowed_ids, "<@&{}>")
            return f"Only members with {roles} can make videos in this server. {remedy}"
        case policy.RoleNotAllowed():
            return f"Members with the role <@&{violation.denied_id}> can't make videos in this server. {remedy}"
        case policy.ChannelNotAllowed():
            channels = _listed(violation.allowed_ids, "<#{}>")
            where = f"Use {channels} instead." if channels else "Please use another channel."
            return f"You can't make videos in this channel. {where} {remedy}"
        case policy.ModelNotAllowed(allowed=()):
            return f"This server allows no model that can be used right now. {remedy}"
        case policy.ModelNotAllowed():
            models = " or ".join(violation.allowed)
            return f"This server only allows videos by {models}. Please choose that as the `model`. {remedy}"
        case policy.ResolutionNotAllowed():
            allowed = " or ".join(violation.allowed)
            return f"This server only allows {allowed} videos. Please choose that as the `resolution`. {remedy}"
        case _:
            return _RULES[violation.rule].format(remedy=remedy)


@text_of.register
def _(violation: policy.MemberBanned) -> str:
    ban, remedy = violation.ban, REMEDIES[violation.remedy]
    until = "" if ban.expires_at is None else f" until {exact(ban.expires_at)}"
    if violation.rule is policy.RuleName.MEMBER_PAUSED:
        return f"You're paused{until}: too many of your prompts were blocked. {remedy}"
    reason = "" if ban.reason == NO_REASON else escaped(ban.reason, _REASON_MAX)
    why = f"Reason: {sentence(reason)}" if reason else "No reason was given."
    return f"You can't make videos in this server{until}. {why} {remedy}"


@text_of.register
def _(violation: policy.PromptBlocked) -> str:
    text = (
        f"Your prompt contains something this server blocks: “{escaped(violation.term, _TERM_MAX)}”. "
        f"Please leave it out. {REMEDIES[violation.remedy]}"
    )
    follows = _consequence(violation.consequence)
    return f"{text}\n{follows}" if follows else text


def _consequence(consequence: policy.Consequence) -> str:
    """What the member has to know after a blocked prompt; empty where nothing follows."""
    ban, remaining = consequence.ban, consequence.remaining
    if ban is not None:
        if ban.expires_at is None:
            return "You can't make videos in this server any more."
        return f"That was one too many: you're paused until {exact(ban.expires_at)} ({relative(ban.expires_at)})."
    if remaining is None:
        return ""
    if remaining == 1:
        return "One more blocked prompt and you'll be paused."
    return f"{remaining} more blocked prompts and you'll be paused."


def _listed(ids: Sequence[int], mention: str) -> str:
    """Roles or channels as Discord shows them."""
    names = [mention.format(each) for each in ids]
    if len(names) > _NAMED_MAX:
        return f"{', '.join(names[:_NAMED_MAX])} or {len(names) - _NAMED_MAX} more"
    return " or ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


@text_of.register
def _(reached: quotas.VideoLimitReached) -> str:
    used, maximum = reached.used, reached.maximum
    unlocks = "" if reached.available_at is None else relative(reached.available_at)
    remedy = REMEDIES[reached.remedy]
    match reached.limit:
        case quotas.LimitName.MAX_ACTIVE if not maximum:
            return f"You can't make videos here right now: your limit is 0 at a time. {remedy}"
        case quotas.LimitName.MAX_ACTIVE:
            return (
                f"You have {used} of {maximum} videos in progress, including queued ones. You can ask for "
                f"another when one is done; `/videos list` shows them. {remedy}"
            )
        case quotas.LimitName.VIDEOS_PER_WINDOW if not maximum:
            return (
                "You can't make videos here right now: your limit is 0, and you have no credits. "
                "Server admins can raise your limit or give you credits."
            )
        case quotas.LimitName.VIDEOS_PER_WINDOW:
            return (
                f"You've used {used} of {maximum} videos in the last {_window(reached)}, and you have no "
                f"credits left. Your next video unlocks {unlocks}. "
                "Server admins can raise your limit or give you credits."
            )
        case quotas.LimitName.UNDELIVERED:
            return (
                f"In the last {_window(reached)}, {several(used, 'video')} of yours couldn't be posted where you "
                f"asked for them. You can ask again {unlocks}. "
                "A server admin can also let me post there and retry one of them."
            )
        case quotas.LimitName.GUILD_QUEUE:
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


@text_of.register
def _(reached: quotas.FewerFit) -> str:
    fits = reached.fits
    instead = "Leave `variations` out to make one video" if fits == 1 else f"Ask for `variations: {fits}`"
    return f"{_room(reached)} {instead}. {REMEDIES[reached.remedy]}"


def _room(fewer: quotas.FewerFit) -> str:
    """For how many videos there is room, and why not for more."""
    fits, asked, reached = fewer.fits, fewer.asked, fewer.reached
    if isinstance(reached, quotas.VideoLimitReached):
        before, maximum = reached.used - (fits - fewer.by_credits), reached.maximum
        match reached.limit:
            case quotas.LimitName.MAX_ACTIVE:
                now = f"; {before} {'is' if before == 1 else 'are'} in progress now" if before > 0 else ""
                videos = several(maximum, "video")
                return (
                    f"You can have {videos} in progress at a time, and each of the {asked} variations counts{now}."
                )
            case quotas.LimitName.VIDEOS_PER_WINDOW:
                left = f"{fits} of {maximum} videos left in {_window(reached)}"
                if fewer.by_credits:
                    left = f"{several(fits, 'video')} left, credits included"
                return f"You have {left}, and you asked for {asked}."
            case quotas.LimitName.GUILD_VIDEOS_PER_DAY:
                return f"This server has {fits} of its {maximum} videos left for today, and you asked for {asked}."
            case _:
                return (
                    f"This server's share of the bot's queue has room for {fits} more, and you asked for {asked}."
                )
    match reached:
        case quotas.BudgetReached() | quotas.TotalBudgetReached():
            budget = f"{_PERIODS[reached.period]} budget"
            if isinstance(reached, quotas.TotalBudgetReached):
                whose = f"The bot's {budget}, which all servers share,"
            elif reached.remedy is Remedy.ASK_OPERATOR:
                whose = f"The operator's {budget} for this server"
            else:
                whose = f"This server's {budget}"
            return f"{whose} has room for {fits} more, and you asked for {asked}."
        case _:
            return f"The bot's queue has room for {fits} more right now, and you asked for {asked}."


def _window(reached: quotas.VideoLimitReached) -> str:
    return "while" if reached.window is None else window_text(reached.window)


@text_of.register
def _(reached: quotas.LimitReached) -> str:
    at, remedy = reached.available_at, REMEDIES[reached.remedy]
    resets = "Waiting won't help." if at is None else f"The budget resets {relative(at)}."
    match reached:
        case quotas.CooldownActive():
            ends = "soon" if at is None else relative(at)
            cooldown = show_duration(reached.cooldown)
            return f"You need to wait {cooldown} between videos here. You can ask again {ends}. {remedy}"
        case quotas.BudgetReached():
            budget = f"{_PERIODS[reached.period]} budget"
            by_operator = reached.remedy is Remedy.ASK_OPERATOR
            whose = f"the operator's {budget} for this server" if by_operator else f"this server's {budget}"
            return (
                f"This video doesn't fit {whose}: {show_usd(reached.used)} of {show_usd(reached.maximum)} is "
                f"used, and the video would cost about {show_usd(reached.estimate)}. {resets} {remedy}"
            )
        case quotas.TotalBudgetReached():
            return (
                f"This video doesn't fit the bot's {_PERIODS[reached.period]} budget, which all servers share: "
                f"{reached.used_percent}% is used. {resets} {remedy}"
            )
        case _ if reached.limit is quotas.LimitName.PROVIDER_USD:
            return (
                "This video would cost more than the bot's operator allows for a single one. Try a lower "
                f"resolution or a shorter video. {remedy}"
            )
        case _:
            return f"The bot's queue is full right now. Please try again in a few minutes. {remedy}"
