"""What a server's admins and the operator have set: frozen values, read from the store, shown, compared.

Pure. None in a setting says nothing: what stands below it counts, a role's before the server's before the
operator's. What the settings mean for a request is decided in `bot.domain.quotas`, `bot.domain.policy` and
`bot.admission`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from bot.domain.jobs import Resolution

WINDOW_HOURS_MAX = 720
"""The longest rolling window, in hours: 30 days."""


@dataclass(frozen=True, slots=True)
class LimitOverrides:
    """Limits of one member, as a server, a role or a member has them. None says nothing.

    videos: in the rolling window. running: at once. pause_s: seconds between two requests.
    """

    videos: int | None = None
    running: int | None = None
    pause_s: int | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """The most that accepted videos may cost in USD in a day and in a month of UTC's calendar. None: no limit."""

    usd_per_day: Decimal | None = None
    usd_per_month: Decimal | None = None

    def over(self, otherwise: "Budget") -> "Budget":
        """This one where it says something, else the other."""
        return Budget(
            otherwise.usd_per_day if self.usd_per_day is None else self.usd_per_day,
            otherwise.usd_per_month if self.usd_per_month is None else self.usd_per_month,
        )


@dataclass(frozen=True, slots=True)
class GuildSettings:
    """What a server's admins have set.

    tier: limits of every member. window_hours: the rolling window of `videos`; None: the operator's.
    admins_exempt: whether members who may manage the bot have no limits of their own (the server's still hold).
    videos_per_day: of the whole server, in a day of UTC's calendar. budget: of the whole server.
    resolutions: those allowed. age_restricted_only: only in channels that Discord marks so.
    approval: whether a moderator has to let each job through. paused: no new jobs.
    strikes: blocked prompts within a day that pause a member, 0 for never; strike_pause_hours: for how long.
    log_channel_id: where changes, refusals and failures are reported.
    """

    tier: LimitOverrides = LimitOverrides()
    window_hours: int | None = None
    admins_exempt: bool = False
    videos_per_day: int | None = None
    budget: Budget = Budget()
    resolutions: frozenset[Resolution] = frozenset(Resolution)
    age_restricted_only: bool = False
    approval: bool = False
    paused: bool = False
    strikes: int = 3
    strike_pause_hours: int = 24
    log_channel_id: int | None = None


class Access(StrEnum):
    """Whether the operator lets a server use the bot. OPEN: as `OperatorDefaults.open_to_all` says."""

    OPEN = "open"
    ALLOWED = "allowed"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Guild:
    """A server as the store knows it.

    budget: the operator's for this server, beside the one its admins set; None in it: the house's default.
    welcomed_at: when the welcome was posted. left_at: when the bot was removed; None while it is there.
    """

    id: int
    settings: GuildSettings = GuildSettings()
    access: Access = Access.OPEN
    budget: Budget = Budget()
    welcomed_at: datetime | None = None
    left_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class OperatorDefaults:
    """What the operator has set for all servers, in settings; `OperatorState` holds what is changed by command.

    tier: every member's limits where nobody set others; complete. window_hours: of `tier.videos`.
    prices: the estimated cost of a video in USD, until enough is known of what tasks really cost.
    budget: over everything. guild_budget: of each server, unless it has its own.
    queued_max: jobs that wait over all servers. open_to_all: whether a server needs no leave of the operator.
    """

    tier: LimitOverrides = LimitOverrides(videos=5, running=2, pause_s=0)
    window_hours: int = 24
    prices: Mapping[Resolution, Decimal] = field(
        default_factory=lambda: {Resolution.P480: Decimal("0.10"), Resolution.P720: Decimal("0.20")}
    )
    budget: Budget = Budget()
    guild_budget: Budget = Budget()
    queued_max: int = 1000
    open_to_all: bool = True


@dataclass(frozen=True, slots=True)
class OperatorState:
    """What the operator has changed by command; one row in the store. None in it: as `OperatorDefaults` says.

    draining: no new jobs anywhere; what is accepted is finished.
    """

    draining: bool = False
    budget: Budget = Budget()
    queued_max: int | None = None

    def places(self, rules: OperatorDefaults) -> int:
        """How many jobs may wait over all servers: as a command says, else as the settings do."""
        return rules.queued_max if self.queued_max is None else self.queued_max


BLOCKED_PROMPTS = "blocked_prompts"
"""The reason of a ban that the bot made by itself: too many prompts that held blocked words."""


@dataclass(frozen=True, slots=True)
class Ban:
    """A member who may order nothing in a server.

    until: None for one without end. by: None where the bot did it itself. reason: the admin's words, or
    `BLOCKED_PROMPTS`; a sentence where an earlier version of the bot did it.
    """

    guild_id: int
    user_id: int
    reason: str
    at: datetime
    until: datetime | None = None
    by: int | None = None


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
    """A word or phrase, or a pattern, that no prompt may hold. text: as the admin wrote it."""

    text: str
    is_pattern: bool = False


OPERATORS = "operator's "
"""How a change begins that the operator made for a server."""


@dataclass(frozen=True, slots=True)
class Change:
    """A line of the audit trail. what: the setting or the act.

    by: None where the bot itself did it, and in a server's trail where the operator did, whom servers are not
    told by name: `what` begins with `OPERATORS` then.
    """

    guild_id: int
    at: datetime
    by: int | None
    what: str
    before: str | None
    after: str | None
