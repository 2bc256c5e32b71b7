"""What may be asked for, by whom and where: what a server's admins and the operator allow. Pure.

A deny beats an allow, whether it names a thread, its channel or the category; as soon as one channel is allowed,
all others are not, and likewise with roles. The order in which the rules stand is that in which a member is told:
nobody at all, not this member, not here, not this. Only the prompt is searched for blocked words: what is written
into the negative prompt is to stay out of the video anyway.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bot.chat.messages.markdown import escaped, relative
from bot.domain.blocked_terms import blocked
from bot.domain.guilds import (
    Access,
    Ban,
    BlockedTerm,
    Guild,
    OperatorDefaults,
    OperatorState,
    PolicyEntry,
    PolicyEntryKind,
)
from bot.domain.jobs import Order, Resolution


class RuleName(StrEnum):
    """Which rule refused."""

    ACCESS = "access"
    DRAINING = "draining"
    PAUSED = "paused"
    BANNED = "banned"
    ROLE = "role"
    CHANNEL = "channel"
    AGE_RESTRICTED = "age_restricted"
    RESOLUTION = "resolution"
    WORDS = "words"


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks, and where.

    roles: the member's, without @everyone. admin: may manage the bot in this server. places: the channel, the
    channel of a thread, the category. age_restricted: whether Discord marks the channel so.
    """

    guild_id: int
    channel_id: int
    user_id: int
    roles: frozenset[int] = frozenset()
    admin: bool = False
    places: frozenset[int] = frozenset()
    age_restricted: bool = False


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """All rules that hold for one member in one server."""

    guild: Guild
    house: OperatorState
    operator_defaults: OperatorDefaults
    places: tuple[PolicyEntry, ...] = ()
    words: tuple[BlockedTerm, ...] = ()
    ban: Ban | None = None


@dataclass(frozen=True, slots=True)
class Forbidden:
    """It is not allowed. text: for the member: what, why, who can change it. word: the blocked word, if one."""

    rule: RuleName
    text: str
    word: str | None = None


def evaluate_policy(book: AccessPolicy, requester: Requester, order: Order, now: datetime) -> Forbidden | None:
    """Why this order is not allowed; None where it is."""
    return (
        stopped(book, now)
        or _roleless(book.places, requester)
        or _misplaced(book, requester)
        or _unwanted(book, order)
    )


def best_resolution(allowed: Collection[Resolution]) -> Resolution:
    """What a member gets who named no resolution: the best that is allowed."""
    return max(allowed or Resolution, key=list(Resolution).index)


def violation_note(ban: Ban | None, left: int | None) -> str:
    """What a member is told after a blocked prompt, to stand after the refusal; empty where nothing follows.

    ban: the pause that it brought. left: how many more bring one; None where none does.
    """
    if ban is not None:
        until = (
            "for good"
            if ban.expires_at is None
            else f"until {_moment(ban.expires_at)} ({relative(ban.expires_at)})"
        )
        return f"That was once too often: you may make no videos in this server {until}."
    if left is None:
        return ""
    return "The next blocked prompt pauses you." if left == 1 else f"{left} more blocked prompts pause you."


_ADMINS = "The admins of this server can change that."
_NAMED_MAX = 10
_REASON_ROOM = 700
_WORD_ROOM = 200


def stopped(book: AccessPolicy, now: datetime) -> Forbidden | None:
    """Why this member may order nothing at all here, whatever it is; None where nothing stands against it."""
    return _closed(book) or _banned(book.ban, now)


def _closed(book: AccessPolicy) -> Forbidden | None:
    access = book.guild.access
    if access is Access.BLOCKED or (access is Access.OPEN and not book.operator_defaults.open_to_all):
        return Forbidden(
            RuleName.ACCESS,
            "This server may not use this bot at present. Only the operator of the bot can change that.",
        )
    if book.house.draining:
        return Forbidden(
            RuleName.DRAINING,
            "The operator of this bot takes no new videos at present, in any server; what was ordered is "
            "finished. Only they can let videos in again.",
        )
    if book.guild.settings.paused:
        return Forbidden(
            RuleName.PAUSED,
            "The admins of this server have paused the bot. What was ordered is finished; new videos have to wait "
            "until they resume it.",
        )
    return None


def _banned(ban: Ban | None, now: datetime) -> Forbidden | None:
    if ban is None or (ban.expires_at is not None and ban.expires_at <= now):
        return None
    until = "" if ban.expires_at is None else f" until {_moment(ban.expires_at)}"
    return Forbidden(
        RuleName.BANNED,
        f"You may not make videos in this server{until}. The reason: {_sentence(ban.reason)} {_ADMINS}",
    )


def _roleless(places: Collection[PolicyEntry], requester: Requester) -> Forbidden | None:
    if _allowed(places, PolicyEntryKind.ROLE, requester.roles):
        return None
    denied = [place for place in places if _is_denied(place, PolicyEntryKind.ROLE, requester.roles)]
    if denied:
        why = f"Members with the role <@&{denied[0].target_id}> make no videos in this server."
    else:
        named = _named(places, PolicyEntryKind.ROLE, "<@&{}>")
        why = f"In this server, videos are made by members with {named} only."
    return Forbidden(RuleName.ROLE, f"{why} {_ADMINS}")


def _misplaced(book: AccessPolicy, requester: Requester) -> Forbidden | None:
    if not _allowed(book.places, PolicyEntryKind.CHANNEL, requester.places | {requester.channel_id}):
        allowed = _named(book.places, PolicyEntryKind.CHANNEL, "<#{}>")
        where = f"Use {allowed}." if allowed else "Use another channel."
        return Forbidden(
            RuleName.CHANNEL, f"In this server, no videos are made in this channel. {where} {_ADMINS}"
        )
    if book.guild.settings.age_restricted_only and not requester.age_restricted:
        return Forbidden(
            RuleName.AGE_RESTRICTED,
            f"In this server, videos are made in age-restricted channels only. Use one of those. {_ADMINS}",
        )
    return None


def _unwanted(book: AccessPolicy, order: Order) -> Forbidden | None:
    allowed = book.guild.settings.allowed_resolutions
    if allowed and order.resolution not in allowed:
        names = " or ".join(sorted(allowed))
        return Forbidden(
            RuleName.RESOLUTION,
            f"In this server, videos are made in {names} only. Choose that as the `resolution`. {_ADMINS}",
        )
    word = blocked(order.prompt, book.words)
    if word is not None:
        return Forbidden(
            RuleName.WORDS,
            f"Your prompt holds something that is blocked in this server: “{escaped(word, _WORD_ROOM)}”. "
            f"Say it without. {_ADMINS}",
            word,
        )
    return None


def _allowed(places: Collection[PolicyEntry], kind: PolicyEntryKind, theirs: Collection[int]) -> bool:
    if any(_is_denied(place, kind, theirs) for place in places):
        return False
    allowed = [place.target_id for place in places if place.kind is kind and place.allowed]
    return not allowed or any(target_id in theirs for target_id in allowed)


def _is_denied(place: PolicyEntry, kind: PolicyEntryKind, theirs: Collection[int]) -> bool:
    return place.kind is kind and not place.allowed and place.target_id in theirs


def _named(places: Collection[PolicyEntry], kind: PolicyEntryKind, mention: str) -> str:
    """Those that are allowed, as Discord shows them."""
    names = [mention.format(place.target_id) for place in places if place.kind is kind and place.allowed]
    more = len(names) - _NAMED_MAX
    return ", ".join(names[:_NAMED_MAX]) + (f" and {more} more" if more > 0 else "")


def _sentence(text: str) -> str:
    shown = escaped(text, _REASON_ROOM) or "none was given"
    return shown if shown.endswith((".", "!", "?", "…", "。")) else f"{shown}."


def _moment(moment: datetime) -> str:
    return f"<t:{int(moment.timestamp())}:f>"
