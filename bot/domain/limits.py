"""What a member may have in a server, who set each limit, and what they have used. Pure.

`bot.domain.quotas` decides whether they may have one more video.
"""

import sys
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
    """A number and its origin. role_id: the role that it comes from, if any."""

    value: int
    origin: Origin
    role_id: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """A member's limits in one server.

    videos_per_window: in the rolling `window`. max_active: jobs in progress. cooldown_s: seconds between requests.
    exempt: the server exempts its admins, so none of these apply.
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
    """What a member has used in one server.

    charged_at: request times of the videos that count in the window, without those paid with a credit, oldest
    first. running: jobs that have not ended. last_accepted_at: the last accepted request. credits: the usable
    ones, the first to expire first. undelivered_at: request times of the window's videos that were made but could
    not be posted, oldest first.
    """

    charged_at: tuple[datetime, ...] = ()
    running: int = 0
    last_accepted_at: datetime | None = None
    credits: tuple[Credit, ...] = ()
    undelivered_at: tuple[datetime, ...] = ()

    def left(self, limits: Limits) -> int | None:
        """How many videos the window has room for; None without a limit."""
        return None if limits.exempt else max(limits.videos_per_window.value - len(self.charged_at), 0)

    def next_available_at(self, limits: Limits) -> datetime | None:
        """When the full window has room again; None if it has room now, or never will (a limit of zero)."""
        excess = len(self.charged_at) - limits.videos_per_window.value
        if excess < 0 or limits.videos_per_window.value == 0 or limits.exempt:
            return None
        return self.charged_at[excess] + limits.window

    def cooldown_ends_at(self, limits: Limits, now: datetime) -> datetime | None:
        """When the pause after the last request ends; None if there is none at `now`."""
        last_at, cooldown = self.last_accepted_at, timedelta(seconds=limits.cooldown_s.value)
        if last_at is None or limits.exempt or not cooldown:
            return None
        # A request more than a cooldown ahead of now was accepted before the clock was set back.
        return last_at + cooldown if now - cooldown < last_at <= now + cooldown else None


@dataclass(frozen=True, slots=True)
class Allowance:
    """A member's limits and usage at the time `at`. refusal: why they can't order anything now, if so."""

    limits: Limits
    usage: Usage
    at: datetime
    refusal: Reason | None = None

    @property
    def room(self) -> int:
        """How many videos the member's own limits have room for now, credits included; many without limits."""
        if self.refusal is not None:
            return 0
        left = self.usage.left(self.limits)
        if left is None:
            return sys.maxsize
        left += sum(credit.left for credit in self.usage.credits)
        return max(min(left, self.limits.max_active.value - self.usage.running), 0)


def limits_for(
    defaults: OperatorDefaults,
    guild: GuildSettings,
    role_overrides: Mapping[int, LimitOverrides],
    member_overrides: LimitOverrides | None,
    *,
    admin: bool,
) -> Limits:
    """A member's limits, each chosen independently.

    The member's own value comes first, then the most generous of their roles' (even if it is stricter than the
    server's), then the server's, then the operator's. role_overrides: of the member's roles only. admin: may
    manage the bot.
    """

    def pick(field: str, *, smallest: bool = False) -> Limit:
        if (value := getattr(member_overrides, field, None)) is not None:
            return Limit(value, Origin.MEMBER)
        by_role = [(getattr(overrides, field), role_id) for role_id, overrides in sorted(role_overrides.items())]
        if candidates := [pair for pair in by_role if pair[0] is not None]:
            value, role_id = (min if smallest else max)(candidates, key=lambda pair: pair[0])
            return Limit(value, Origin.ROLE, role_id)
        if (value := getattr(guild.limits, field)) is not None:
            return Limit(value, Origin.SERVER)
        return Limit(getattr(defaults.limits, field), Origin.OPERATOR)

    return Limits(
        videos_per_window=pick("videos_per_window"),
        max_active=pick("max_active"),
        cooldown_s=pick("cooldown_s", smallest=True),
        window=timedelta(hours=guild.window_hours or defaults.window_hours),
        exempt=admin and guild.admins_exempt,
    )


def overrides_of(by_role: Mapping[int, LimitOverrides], roles: Collection[int]) -> dict[int, LimitOverrides]:
    """The overrides that apply to a member with these roles."""
    return {role_id: overrides for role_id, overrides in by_role.items() if role_id in roles}


def usable(credits_left: Iterable[Credit], now: datetime) -> tuple[Credit, ...]:
    """The grants that can still pay at `now`, the first to expire first."""
    left = [
        grant for grant in credits_left if grant.left > 0 and (grant.expires_at is None or grant.expires_at > now)
    ]
    left.sort(key=lambda grant: (grant.expires_at is None, grant.expires_at or now, grant.credit_grant_id))
    return tuple(left)
