"""The limits of a server, its roles and its members, for its admins.

Here they are parsed, bounded, set and cleared; `bot.domain.quotas` decides what they mean for a request.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind, usd
from bot.domain.durations import parse_duration
from bot.domain.errors import Reason, UserError
from bot.domain.guilds import WINDOW_HOURS_MAX, GuildSettings, LimitOverrides, OperatorDefaults
from bot.domain.limits import Allowance
from bot.domain.money import parse_usd
from bot.domain.policy import Requester
from bot.services.admin.audited import Admin, AdminProblem, AdminRefused, AuditedService
from bot.store.guilds import guild_settings, limit_overrides
from bot.store.guilds.limit_overrides import LimitTarget
from bot.store.jobs import admission

VIDEOS_MAX = 10_000
RUNNING_MAX = 100
PAUSE_MAX = timedelta(days=30)
VIDEOS_PER_DAY_MAX = 100_000


class LimitPart(StrEnum):
    """One of the limits that can be set; the first three also for a role or a member."""

    VIDEOS = "videos"
    RUNNING = "running"
    PAUSE = "pause"
    WINDOW = "window"
    VIDEOS_PER_DAY = "videos_per_day"
    USD_PER_DAY = "usd_per_day"
    USD_PER_MONTH = "usd_per_month"
    EXEMPT_ADMINS = "exempt_admins"


EVERYTHING = "everything"
"""Stands for all parts, where some are cleared."""

_OVERRIDE_FIELDS = {
    LimitPart.VIDEOS: "videos_per_window",
    LimitPart.RUNNING: "max_active",
    LimitPart.PAUSE: "cooldown_s",
}
_SETTINGS_FIELDS = {
    LimitPart.WINDOW: "window_hours",
    LimitPart.VIDEOS_PER_DAY: "videos_per_day",
    LimitPart.EXEMPT_ADMINS: "admins_exempt",
}
_BUDGET_PARTS = {LimitPart.USD_PER_DAY, LimitPart.USD_PER_MONTH}
OVERRIDE_PARTS = tuple(_OVERRIDE_FIELDS)
"""The limits that a role or a member can have."""

Values = Mapping[LimitPart, Any]
"""New values by part; None clears one."""


@dataclass(frozen=True, slots=True)
class LimitOutOfBounds(Reason):
    """A number for a limit is below zero or over `most`."""

    part: LimitPart
    most: int


@dataclass(frozen=True, slots=True)
class LimitUnreadable(Reason):
    """What was written for a limit can't be used, for the reason that its reader gives."""

    part: LimitPart
    reason: Reason


@dataclass(frozen=True, slots=True)
class LimitChanges:
    """What an admin typed; None keeps a limit.

    pause, window: spans as people write them, "10m"; bare numbers are seconds and hours. usd_per_day,
    usd_per_month: amounts, "2.50". clear: a limit to remove, or `EVERYTHING`.
    """

    videos: int | None = None
    running: int | None = None
    pause: str | None = None
    window: str | None = None
    videos_per_day: int | None = None
    usd_per_day: str | None = None
    usd_per_month: str | None = None
    exempt_admins: bool | None = None
    clear: str | None = None

    def values(self, parts: Collection[LimitPart]) -> Values:
        """The new values of `parts`. Raises: UserError for what can't be parsed or is out of bounds."""
        cleared = [part for part in parts if self.clear in {EVERYTHING, part}]
        given = {part: _checked(part, getattr(self, part)) for part in LimitPart}
        said = {part: value for part, value in given.items() if part in parts and value is not None}
        return dict.fromkeys(cleared) | said


@dataclass(frozen=True, slots=True)
class AllLimits:
    """All limits of a server. roles, members: their own limits, by id."""

    settings: GuildSettings
    rules: OperatorDefaults
    roles: Mapping[int, LimitOverrides]
    members: Mapping[int, LimitOverrides]


class LimitService(AuditedService):
    """Sets and shows the limits of a server, its roles and its members."""

    async def set_server(self, admin: Admin, changes: LimitChanges) -> AuditEntry:
        """Sets limits of the server and of all its members; no changes: shows them. Raises: UserError."""
        values = changes.values(tuple(LimitPart))
        async with self._transaction(admin) as tx:
            before = tx.guild.settings
            after = before
            for part, value in values.items():
                after = _with(after, part, value)
            if after != before:
                await guild_settings.write(tx.connection, admin.guild_id, guild_settings.settings_columns(after))
            parts = values or LimitPart
            return await tx.record(
                AuditedChange(
                    Action.LIMITS_SET,
                    before={part: server_limit(before, self._defaults, part) for part in parts},
                    after={part: server_limit(after, self._defaults, part) for part in parts},
                )
            )

    async def set_role(self, admin: Admin, role_id: int, changes: LimitChanges) -> AuditEntry:
        """Sets limits of a role. Raises: UserError."""
        if role_id == admin.guild_id:
            raise UserError(AdminRefused(AdminProblem.EVERYONE_HAS_SERVER_LIMITS))
        return await self._set_overrides(admin, LimitTarget.ROLE, role_id, changes)

    async def set_member(self, admin: Admin, user_id: int, changes: LimitChanges) -> AuditEntry:
        """Sets limits of one member, which override those of their roles. Raises: UserError."""
        return await self._set_overrides(admin, LimitTarget.MEMBER, user_id, changes)

    async def _set_overrides(
        self, admin: Admin, kind: LimitTarget, target_id: int, changes: LimitChanges
    ) -> AuditEntry:
        values = changes.values(OVERRIDE_PARTS)
        async with self._transaction(admin) as tx:
            before = await limit_overrides.get(tx.connection, admin.guild_id, kind, target_id)
            after = before
            for part, value in values.items():
                after = _overrides_with(after, part, value)
            if after != before:
                await limit_overrides.put(tx.connection, admin.guild_id, kind, target_id, after)
            parts = values or OVERRIDE_PARTS
            return await tx.record(
                AuditedChange(
                    Action.LIMITS_SET,
                    TargetKind(kind),
                    str(target_id),
                    {part: {"value": override_value(before, part)} for part in parts},
                    {part: {"value": override_value(after, part)} for part in parts},
                )
            )

    async def all(self, admin: Admin) -> AllLimits:
        """All limits of the server."""
        async with self._database.read() as connection:
            guild = await guild_settings.get(connection, admin.guild_id)
            roles = await limit_overrides.by_target(connection, admin.guild_id, LimitTarget.ROLE)
            members = await limit_overrides.by_target(connection, admin.guild_id, LimitTarget.MEMBER)
        return AllLimits(guild.settings, self._defaults, roles, members)

    async def of_member(self, admin: Admin, user_id: int, roles: Collection[int], *, manages: bool) -> Allowance:
        """One member's limits, where each comes from, and what they have used.

        roles: the ids of their roles. manages: whether they can manage the bot.
        """
        requester = Requester(admin.guild_id, 0, user_id, frozenset(roles), manages)
        now = self._clock()
        async with self._database.read() as connection:
            return await admission.allowance(connection, self._defaults, requester, now)


def server_limit(settings: GuildSettings, defaults: OperatorDefaults, part: LimitPart) -> dict[str, Any]:
    """A limit of the server as the audit log keeps it: its value, and whether that is the operator's default."""
    if part in _BUDGET_PARTS:
        return {"value": usd(getattr(settings.budget, part))}
    if part in _OVERRIDE_FIELDS:
        own, default = override_value(settings.limits, part), override_value(defaults.limits, part)
    elif part is LimitPart.WINDOW:
        own, default = settings.window_hours, defaults.window_hours
    else:
        return {"value": getattr(settings, _SETTINGS_FIELDS[part])}
    return {"value": default or 0, "default": True} if own is None else {"value": own}


def override_value(overrides: LimitOverrides, part: LimitPart) -> int | None:
    """A limit of a role or a member; None where it is not set."""
    value: int | None = getattr(overrides, _OVERRIDE_FIELDS[part])
    return value


def _with(settings: GuildSettings, part: LimitPart, value: Any) -> GuildSettings:
    if part in _OVERRIDE_FIELDS:
        return replace(settings, limits=_overrides_with(settings.limits, part, value))
    if part in _BUDGET_PARTS:
        return replace(settings, budget=replace(settings.budget, **{part.value: value}))
    if part is LimitPart.EXEMPT_ADMINS:
        value = bool(value)
    return replace(settings, **{_SETTINGS_FIELDS[part]: value})


def _overrides_with(overrides: LimitOverrides, part: LimitPart, value: Any) -> LimitOverrides:
    return replace(overrides, **{_OVERRIDE_FIELDS[part]: value})


def _checked(part: LimitPart, value: Any) -> Any:
    """What was given for a limit, as it is stored. Raises: UserError that names the option."""
    maximum = _MAXIMUMS.get(part)
    if value is not None and maximum is not None and not 0 <= value <= maximum:
        raise UserError(LimitOutOfBounds(part, maximum))
    if value is None or part not in _READERS:
        return value
    try:
        return _READERS[part](value)
    except UserError as error:
        raise UserError(LimitUnreadable(part, error.reason)) from error


def _pause(text: str) -> int:
    pause = parse_duration(text, default_unit="s")
    if pause > PAUSE_MAX:
        raise UserError(AdminRefused(AdminProblem.PAUSE_TOO_LONG, PAUSE_MAX.days))
    return int(pause.total_seconds())


def _window(text: str) -> int:
    hours = Decimal(int(parse_duration(text, default_unit="h").total_seconds())) / 3600
    if hours % 1 or not 1 <= hours <= WINDOW_HOURS_MAX:
        raise UserError(AdminRefused(AdminProblem.WINDOW_NOT_IN_HOURS, WINDOW_HOURS_MAX))
    return int(hours)


_MAXIMUMS = {
    LimitPart.VIDEOS: VIDEOS_MAX,
    LimitPart.RUNNING: RUNNING_MAX,
    LimitPart.VIDEOS_PER_DAY: VIDEOS_PER_DAY_MAX,
}
_READERS: Mapping[LimitPart, Callable[[str], int | Decimal]] = {
    LimitPart.PAUSE: _pause,
    LimitPart.WINDOW: _window,
    LimitPart.USD_PER_DAY: parse_usd,
    LimitPart.USD_PER_MONTH: parse_usd,
}
