"""The settings of a server's admins and of the operator, as frozen values.

Pure. None means not set, and the next one applies: a role's, then the server's, then the operator's.
`bot.domain.quotas` and `bot.domain.policy` decide what the settings mean for an order.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from bot.domain.jobs import ProviderName, Resolution
from bot.domain.models import DEFAULT_CATALOG, WAN22_FLASH, Catalog

OUTSIDE_SERVERS = 1
"""Stands for a server's id where an order comes from direct messages. No server has it, as ids carry a time."""

WINDOW_HOURS_MAX = 720
"""The longest rolling window, in hours: 30 days."""


@dataclass(frozen=True, slots=True)
class LimitOverrides:
    """Limits of one member, set for a server, a role or a member. None means not set.

    videos_per_window: in the rolling window. max_active: jobs in progress. cooldown_s: seconds between requests.
    """

    videos_per_window: int | None = None
    max_active: int | None = None
    cooldown_s: int | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that accepted videos may cost in USD in a day and in a month of UTC's calendar. None: no limit."""

    usd_per_day: Decimal | None = None
    usd_per_month: Decimal | None = None

    def over(self, otherwise: "Budget") -> "Budget":
        """This budget, with the other's amounts where it has none."""
        return Budget(
            otherwise.usd_per_day if self.usd_per_day is None else self.usd_per_day,
            otherwise.usd_per_month if self.usd_per_month is None else self.usd_per_month,
        )


@dataclass(frozen=True, slots=True)
class GuildSettings:
    """What a server's admins have set.

    limits: limits of every member. window_hours: the rolling window; None: the operator's.
    admins_exempt: whether members who may manage the bot have no limits of their own (the server's still hold).
    videos_per_day: of the whole server, in a day of UTC's calendar. budget: of the whole server.
    allowed_resolutions: never empty. allowed_models: by name; None for all that the operator offers.
    age_restricted_only: only in channels that Discord marks so.
    approval_required: whether a moderator has to approve each job. paused: no new jobs.
    violation_limit: blocked prompts within a day that pause a member for violation_pause_hours; 0 for never.
    refused_content_counts: whether what the video service's moderation refuses counts like a blocked prompt.
    log_channel_id: where changes, refusals and failures are reported. quotes_shown: whether members are told what
    an order takes before it is placed.
    """

    limits: LimitOverrides = LimitOverrides()
    window_hours: int | None = None
    admins_exempt: bool = False
    videos_per_day: int | None = None
    budget: Budget = Budget()
    allowed_resolutions: frozenset[Resolution] = frozenset(WAN22_FLASH.resolutions)
    allowed_models: frozenset[str] | None = None
    age_restricted_only: bool = False
    approval_required: bool = False
    paused: bool = False
    violation_limit: int = 3
    violation_pause_hours: int = 24
    refused_content_counts: bool = False
    log_channel_id: int | None = None
    quotes_shown: bool = True


class Access(StrEnum):
    """Whether the operator lets a server use the bot. OPEN: as `OperatorDefaults.open_to_all` says."""

    OPEN = "open"
    ALLOWED = "allowed"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Guild:
    """A server as the store knows it.

    budget: set by the operator for this server, in addition to the admins' own; None means the default.
    welcomed_at: when the welcome was posted. left_at: when the bot was removed; None while it is there.
    """

    id: int
    settings: GuildSettings = GuildSettings()
    access: Access = Access.OPEN
    budget: Budget = Budget()
    welcomed_at: datetime | None = None
    left_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class DirectOrders:
    """What the operator allows outside servers, where no admin sets anything.

    enabled: whether orders are taken there at all. videos_per_window: each member's. budget: of all of them.
    """

    enabled: bool = False
    videos_per_window: int = 3
    budget: Budget = Budget()


@dataclass(frozen=True, slots=True)
class OperatorDefaults:
    """What the operator has set for all servers, in settings; `OperatorState` holds what is changed by command.

    limits: every member's limits where nobody set others; complete. window_hours: of the rolling window.
    catalog: the models that are offered, and what they are estimated to cost. budget: over everything.
    guild_budget: of each server, unless it has its own. max_queued: jobs that wait across all servers.
    open_to_all: whether a server can use the bot without being allowed first. unknown_cost_held_for: how long
    after its submission an ended job's reservation is held, where the upstream may bill it. keeps_pictures:
    whether a picture is kept after its submission. direct: what is different outside servers. provider_budgets:
    what all videos may cost at each provider, besides `budget`.
    """

    limits: LimitOverrides = LimitOverrides(videos_per_window=5, max_active=2, cooldown_s=0)
    window_hours: int = 24
    catalog: Catalog = DEFAULT_CATALOG
    budget: Budget = Budget()
    guild_budget: Budget = Budget()
    max_queued: int = 1000
    open_to_all: bool = True
    unknown_cost_held_for: timedelta = timedelta(days=2)
    keeps_pictures: bool = True
    direct: DirectOrders = DirectOrders()
    provider_budgets: Mapping[ProviderName, Budget] = field(default_factory=dict, hash=False)

    def within(self, guild_id: int) -> "OperatorDefaults":
        """What applies in this server, or outside servers."""
        if guild_id != OUTSIDE_SERVERS:
            return self
        limits = replace(self.limits, videos_per_window=self.direct.videos_per_window)
        return replace(self, limits=limits, guild_budget=self.direct.budget, open_to_all=self.direct.enabled)


@dataclass(frozen=True, slots=True)
class OperatorState:
    """What the operator has changed by command; one row in the store. None in it: as `OperatorDefaults` says.

    draining: no new jobs anywhere; what is accepted is finished.
    """

    draining: bool = False
    budget: Budget = Budget()
    max_queued: int | None = None

    def queue_limit(self, defaults: OperatorDefaults) -> int:
        """How many jobs may wait across all servers: as set by command, else the default."""
        return defaults.max_queued if self.max_queued is None else self.max_queued


BLOCKED_PROMPTS = "blocked_prompts"
"""The reason of a ban by the bot itself, for too many prompts with blocked terms."""


@dataclass(frozen=True, slots=True)
class Ban:
    """A member who can't order in a server.

    expires_at: None if permanent. actor_id: None for the bot itself. reason: the admin's words, or
    `BLOCKED_PROMPTS`; a sentence where an earlier version of the bot banned.
    """

    guild_id: int
    user_id: int
    reason: str
    created_at: datetime
    expires_at: datetime | None = None
    actor_id: int | None = None


@dataclass(frozen=True, slots=True)
class PolicyEntry:
    """A channel (or category) or a role that is allowed or denied."""

    kind: "PolicyEntryKind"
    target_id: int
    allowed: bool


class PolicyEntryKind(StrEnum):
    """What a `PolicyEntry` names."""

    CHANNEL = "channel"
    ROLE = "role"


@dataclass(frozen=True, slots=True)
class BlockedTerm:
    """A word, phrase or pattern that prompts can't contain. text: as the admin typed it."""

    text: str
    is_pattern: bool = False
