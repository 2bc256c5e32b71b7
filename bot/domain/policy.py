"""Decides who may order what and where, by the policy of a server's admins and the operator. Pure.

A deny overrides an allow, whether it names a thread, its channel or the category. Once one channel is allowed, all
others are denied; the same holds for roles. The first rule that refuses is reported: the server's, the member's,
the channel's, then the order's. Blocked terms are a question of their own (`find_violation`), because searching
for them costs more than everything else. Only the prompt is searched, because the negative prompt names what
should not be in the video.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bot.domain.errors import Reason, Remedy
from bot.domain.guilds import (
    OUTSIDE_SERVERS,
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
    DIRECT_ORDERS = "direct_orders"
    DRAINING = "draining"
    PAUSED = "paused"
    BANNED = "banned"
    MEMBER_PAUSED = "member_paused"  # by the bot, for blocked prompts
    ROLE = "role"
    CHANNEL = "channel"
    AGE_RESTRICTED = "age_restricted"
    MODEL = "model"
    RESOLUTION = "resolution"
    BLOCKED_TERM = "words"


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks, and where.

    roles: the member's, without @everyone. admin: may manage the bot in this server. channel_ids: of the channel,
    a thread's channel and the category. age_restricted: whether Discord marks the channel so. visited_guild_id:
    the server where somebody uses the bot as their own app, which the bot isn't in. message_id: there, the message
    that was clicked, which shows what they see.
    """

    guild_id: int
    channel_id: int
    user_id: int
    roles: frozenset[int] = frozenset()
    admin: bool = False
    channel_ids: frozenset[int] = frozenset()
    age_restricted: bool = False
    visited_guild_id: int | None = None
    message_id: int | None = None


@dataclass(frozen=True, slots=True)
class AccessPolicy:
    """All rules for one member in one server."""

    guild: Guild
    operator_state: OperatorState
    operator_defaults: OperatorDefaults
    entries: tuple[PolicyEntry, ...] = ()
    ban: Ban | None = None


@dataclass(frozen=True, slots=True)
class PolicyViolation(Reason):
    """The policy does not allow it."""

    rule: RuleName

    @property
    def remedy(self) -> Remedy:
        """Who can change that."""
        by_operator = self.rule in {RuleName.ACCESS, RuleName.DIRECT_ORDERS, RuleName.DRAINING}
        return Remedy.ASK_OPERATOR if by_operator else Remedy.ASK_ADMINS


@dataclass(frozen=True, slots=True)
class MemberBanned(PolicyViolation):
    """The member can't make videos in this server: an admin banned them, or the bot paused them."""

    ban: Ban


@dataclass(frozen=True, slots=True)
class RoleNotAllowed(PolicyViolation):
    """denied_id: the member's denied role; None if they lack one of `allowed_ids`."""

    denied_id: int | None
    allowed_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ChannelNotAllowed(PolicyViolation):
    """The channel is not allowed. allowed_ids: those that are; empty if only some are denied."""

    allowed_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ResolutionNotAllowed(PolicyViolation):
    """The server does not allow this resolution. allowed: those that it does."""

    allowed: tuple[Resolution, ...]


@dataclass(frozen=True, slots=True)
class ModelNotAllowed(PolicyViolation):
    """The server does not allow this model. allowed: what those are called that it does and the bot offers."""

    allowed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Consequence:
    """Of a blocked prompt. ban: the resulting pause. remaining: how many more lead to one. Both None: nothing."""

    ban: Ban | None = None
    remaining: int | None = None


@dataclass(frozen=True, slots=True)
class PromptBlocked(PolicyViolation):
    """The prompt contains a blocked term. term: as it is written in the prompt."""

    term: str
    consequence: Consequence = Consequence()


def evaluate_policy(
    policy: AccessPolicy, requester: Requester, order: Order, now: datetime
) -> PolicyViolation | None:
    """Why this order is not allowed, whatever its prompt says; None if it is."""
    return (
        blocks_all_orders(policy, now)
        or _check_roles(policy, requester)
        or _check_channel(policy, requester)
        or _check_model(policy, order)
        or _check_resolution(policy, order)
    )


def find_violation(prompt: str, blocked_terms: Sequence[BlockedTerm]) -> PromptBlocked | None:
    """Which blocked term the prompt contains; None if there is none. Takes milliseconds."""
    from bot.domain.blocked_terms import find_blocked  # noqa: PLC0415 - see there

    term = find_blocked(prompt, blocked_terms)
    return None if term is None else PromptBlocked(RuleName.BLOCKED_TERM, term)


def blocks_all_orders(policy: AccessPolicy, now: datetime) -> PolicyViolation | None:
    """Why this member can't order anything here at all; None if they can."""
    return _check_server(policy) or _check_ban(policy.ban, now)


def _check_server(policy: AccessPolicy) -> PolicyViolation | None:
    access = policy.guild.access
    if access is Access.BLOCKED or (access is Access.OPEN and not policy.operator_defaults.open_to_all):
        switched_off = access is Access.OPEN and policy.guild.id == OUTSIDE_SERVERS
        return PolicyViolation(RuleName.DIRECT_ORDERS if switched_off else RuleName.ACCESS)
    if policy.operator_state.draining:
        return PolicyViolation(RuleName.DRAINING)
    if policy.guild.settings.paused:
        return PolicyViolation(RuleName.PAUSED)
    return None


def _check_ban(ban: Ban | None, now: datetime) -> MemberBanned | None:
    if ban is None or (ban.expires_at is not None and ban.expires_at <= now):
        return None
    return MemberBanned(RuleName.MEMBER_PAUSED if ban.actor_id is None else RuleName.BANNED, ban)


def _check_roles(policy: AccessPolicy, requester: Requester) -> RoleNotAllowed | None:
    denied_id, allowed_ids, passes = _evaluate_entries(policy.entries, PolicyEntryKind.ROLE, requester.roles)
    return None if passes else RoleNotAllowed(RuleName.ROLE, denied_id, allowed_ids)


def _check_channel(policy: AccessPolicy, requester: Requester) -> PolicyViolation | None:
    ids = requester.channel_ids | {requester.channel_id}
    _, allowed_ids, passes = _evaluate_entries(policy.entries, PolicyEntryKind.CHANNEL, ids)
    if not passes:
        return ChannelNotAllowed(RuleName.CHANNEL, allowed_ids)
    if policy.guild.settings.age_restricted_only and not requester.age_restricted:
        return PolicyViolation(RuleName.AGE_RESTRICTED)
    return None


def _check_model(policy: AccessPolicy, order: Order) -> ModelNotAllowed | None:
    allowed = policy.guild.settings.allowed_models
    if allowed is None or order.model in allowed:
        return None
    offered = policy.operator_defaults.catalog.models
    return ModelNotAllowed(RuleName.MODEL, tuple(model.title for model in offered if model.name in allowed))


def _check_resolution(policy: AccessPolicy, order: Order) -> ResolutionNotAllowed | None:
    allowed = policy.guild.settings.allowed_resolutions
    if allowed and order.resolution not in allowed:
        return ResolutionNotAllowed(RuleName.RESOLUTION, tuple(one for one in Resolution if one in allowed))
    return None


def _evaluate_entries(
    entries: Collection[PolicyEntry], kind: PolicyEntryKind, ids: frozenset[int]
) -> tuple[int | None, tuple[int, ...], bool]:
    """Which of the ids is denied, which ids are allowed at all, and whether these ids pass."""
    named = [entry for entry in entries if entry.kind is kind]
    denied_id = next((entry.target_id for entry in named if not entry.allowed and entry.target_id in ids), None)
    allowed_ids = tuple(entry.target_id for entry in named if entry.allowed)
    return denied_id, allowed_ids, denied_id is None and (not allowed_ids or not ids.isdisjoint(allowed_ids))
