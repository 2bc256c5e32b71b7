"""Words what a server's admins and the operator don't allow, and what follows from a blocked prompt."""

from collections.abc import Sequence
from datetime import datetime

from bot.chat.messages.markdown import escaped, relative
from bot.chat.messages.reason_texts import REMEDIES, text_of
from bot.domain.guilds import BLOCKED_PROMPTS, Ban
from bot.domain.policy import (
    ChannelNotAllowed,
    Consequence,
    MemberBanned,
    PolicyViolation,
    PromptBlocked,
    ResolutionNotAllowed,
    RoleNotAllowed,
    RuleName,
)

_NAMED_MAX = 10
_REASON_ROOM = 700
_TERM_ROOM = 200


@text_of.register
def _(violation: PolicyViolation) -> str:
    remedy = REMEDIES[violation.remedy]
    match violation.rule:
        case RuleName.ACCESS:
            return f"This server isn't allowed to use the bot right now. {remedy}"
        case RuleName.DRAINING:
            return (
                "The bot isn't taking new videos in any server right now. Videos you've already asked for will "
                f"still be made. {remedy}"
            )
        case RuleName.PAUSED:
            return (
                "The server admins have paused the bot. Videos you've already asked for will still be made; "
                "new ones have to wait until an admin resumes it."
            )
        case RuleName.AGE_RESTRICTED:
            return f"This server only allows videos in age-restricted channels. Please use one of those. {remedy}"
        case rule:
            return f"This server's rules don't allow that ({rule.replace('_', ' ')}). {remedy}"


@text_of.register
def _(violation: MemberBanned) -> str:
    ban, remedy = violation.ban, REMEDIES[violation.remedy]
    until = "" if ban.expires_at is None else f" until {_moment(ban.expires_at)}"
    if ban.actor_id is None and ban.reason == BLOCKED_PROMPTS:
        return f"You're paused{until}: too many of your prompts contained blocked words. {remedy}"
    return f"You can't make videos in this server{until}. Reason: {_sentence(ban_reason(ban))} {remedy}"


def ban_reason(ban: Ban) -> str:
    """Why the member is banned, as plain text: the admin's own words, or the bot's."""
    return "too many blocked prompts" if ban.actor_id is None and ban.reason == BLOCKED_PROMPTS else ban.reason


@text_of.register
def _(violation: RoleNotAllowed) -> str:
    if violation.denied_id is not None:
        why = f"Members with the role <@&{violation.denied_id}> can't make videos in this server."
    else:
        why = f"Only members with {_listed(violation.allowed_ids, '<@&{}>')} can make videos in this server."
    return f"{why} {REMEDIES[violation.remedy]}"


@text_of.register
def _(violation: ChannelNotAllowed) -> str:
    allowed = _listed(violation.allowed_ids, "<#{}>")
    where = f"Use {allowed} instead." if allowed else "Please use another channel."
    return f"You can't make videos in this channel. {where} {REMEDIES[violation.remedy]}"


@text_of.register
def _(violation: ResolutionNotAllowed) -> str:
    allowed = " or ".join(violation.allowed)
    return (
        f"This server only allows {allowed} videos. Please choose that as the `resolution`. "
        f"{REMEDIES[violation.remedy]}"
    )


@text_of.register
def _(violation: PromptBlocked) -> str:
    text = (
        f"Your prompt contains something this server blocks: “{escaped(violation.term, _TERM_ROOM)}”. "
        f"Please leave it out. {REMEDIES[violation.remedy]}"
    )
    follows = _consequence(violation.consequence)
    return f"{text}\n{follows}" if follows else text


def _consequence(consequence: Consequence) -> str:
    """What the member has to know after a blocked prompt; empty where nothing follows."""
    ban, remaining = consequence.ban, consequence.remaining
    if ban is not None and ban.expires_at is None:
        return "You can't make videos in this server any more."
    if ban is not None and ban.expires_at is not None:
        return (
            f"That was one too many: you're paused until {_moment(ban.expires_at)} ({relative(ban.expires_at)})."
        )
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


def _sentence(text: str) -> str:
    shown = escaped(text, _REASON_ROOM) or "none was given"
    return shown if shown.endswith((".", "!", "?", "…", "。")) else f"{shown}."


def _moment(moment: datetime) -> str:
    return f"<t:{int(moment.timestamp())}:f>"
