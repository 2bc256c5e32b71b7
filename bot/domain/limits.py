"""What a member may have in a server, where each number comes from, and what they have. Pure.

Whether one more video may be made of that is decided in `bot.domain.quotas`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bot.domain.errors import Reason
from bot.domain.guilds import GuildSettings, LimitOverrides, OperatorDefaults


class Origin(StrEnum):
    """Who set a limit."""

    OPERATOR = "operator"
    SERVER = "server"
    ROLE = "role"
    MEMBER = "member"


@dataclass(frozen=True, slots=True)
class Limit:
    """A number, and where it comes from. role_id: the role that gives it, where a role does."""

    value: int
    origin: Origin
    role_id: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one member may have in one server.

    videos_per_window: in the rolling `window`. max_active: jobs in progress. cooldown_s: seconds between requests.
    exempt: none of them holds, because the server exempts its admins.
    """

    videos_per_window: Limit
    max_active: Limit
    cooldown_s: Limit
    window: timedelta
    exempt: bool = False


@dataclass(frozen=True, slots=True)
class Credit:
    """What is left of a grant of extra videos. expires_at: None for never."""

    credit_grant_id: int
    left: int
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """What one member has in one server.

    counted_at: when each video that counts in the window was asked for, oldest first; those paid with a credit
    do not. running: jobs that have not ended. last_at: the last request that was accepted.
    credits: usable ones, the first to expire first. wasted_at: when each video of the window was asked for that
    was made and could not be posted, oldest first.
    """

    counted_at: tuple[datetime, ...] = ()
    running: int = 0
    last_at: datetime | None = None
    credits: tuple[Credit, ...] = ()
    wasted_at: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a member may have, and what they have. at: when that was.

    stopped: why they may order nothing at all just now; None where they may.
    """

    limits: Limits
    usage: Usage
    at: datetime | None = None
    stopped: Reason | None = None

    @property
    def next_free_at(self) -> datetime | None:
        """When the window lets the next one in, where it is full; None for a limit of zero."""
        return next_free_at(self.usage, self.limits)

    @property
    def pause_ends_at(self) -> datetime | None:
        """When the pause after the last request ends; None where none is on."""
        if self.usage.last_at is None or self.limits.exempt or not self.limits.cooldown_s.value:
            return None
        pause = timedelta(seconds=self.limits.cooldown_s.value)
        on = self.at is None or self.at - pause < self.usage.last_at <= self.at + pause
        return self.usage.last_at + pause if on else None


def limits_for(
    rules: OperatorDefaults,
    guild: GuildSettings,
    roles: Mapping[int, LimitOverrides],
    own: LimitOverrides | None,
    *,
    admin: bool,
) -> Limits:
    """The limits of a member, each number by itself.

    The member's own number beats all; else the best of what their roles say, though it be less than the
    server's; else the server's; else the operator's. roles: the tiers of those roles that the member has.
    admin: may manage the bot.
    """

    def pick(part: str, *, least: bool) -> Limit:
        if own is not None and (value := getattr(own, part)) is not None:
            return Limit(value, Origin.MEMBER)
        said = [(getattr(tier, part), role_id) for role_id, tier in sorted(roles.items())]
        by_roles = [(value, role_id) for value, role_id in said if value is not None]
        if by_roles:
            best = (min if least else max)(by_roles, key=lambda pair: pair[0])
            return Limit(best[0], Origin.ROLE, best[1])
        if (value := getattr(guild.limits, part)) is not None:
            return Limit(value, Origin.SERVER)
        return Limit(getattr(rules.limits, part), Origin.OPERATOR)

    return Limits(
        videos_per_window=pick("videos_per_window", least=False),
        max_active=pick("max_active", least=False),
        cooldown_s=pick("cooldown_s", least=True),
        window=timedelta(hours=guild.window_hours or rules.window_hours),
        exempt=admin and guild.admins_exempt,
    )


def roles_of(tiers: Mapping[int, LimitOverrides], roles: Collection[int]) -> dict[int, LimitOverrides]:
    """Those of a server's role tiers that a member with these roles has."""
    return {role_id: tier for role_id, tier in tiers.items() if role_id in roles}


def next_free_at(usage: Usage, limits: Limits) -> datetime | None:
    """When the window lets one more video in; None where it does already, or never will (a limit of zero)."""
    over = len(usage.counted_at) - limits.videos_per_window.value
    if over < 0 or limits.videos_per_window.value == 0 or limits.exempt:
        return None
    return usage.counted_at[over] + limits.window


def usable(credits_left: Iterable[Credit], now: datetime) -> tuple[Credit, ...]:
    """The grants that still pay for something at `now`, the first to expire first."""
    left = [it for it in credits_left if it.left > 0 and (it.expires_at is None or it.expires_at > now)]
    return tuple(sorted(left, key=lambda it: (it.expires_at is None, it.expires_at or now, it.credit_grant_id)))
