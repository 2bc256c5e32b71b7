"""The limits of a server, its roles and its members, for its admins: parsed, checked and set.

`bot.domain.quotas` decides what they mean for a request.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from operator import attrgetter
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
    """A limit that can be set, named like its option."""

    VIDEOS = "videos"
    RUNNING = "running"
    PAUSE = "pause"
    WINDOW = "window"
    VIDEOS_PER_DAY = "videos_per_day"
    USD_PER_DAY = "usd_per_day"
    USD_PER_MONTH = "usd_per_month"
    EXEMPT_ADMINS = "exempt_admins"


EVERYTHING = "everything"
"""Stands for all limits in `LimitChanges.clear`."""

_FIELDS = {
    LimitPart.VIDEOS: "limits.videos_per_window",
    LimitPart.RUNNING: "limits.max_active",
    LimitPart.PAUSE: "limits.cooldown_s",
    LimitPart.WINDOW: "window_hours",
    LimitPart.VIDEOS_PER_DAY: "videos_per_day",
    LimitPart.USD_PER_DAY: "budget.usd_per_day",
    LimitPart.USD_PER_MONTH: "budget.usd_per_month",
    LimitPart.EXEMPT_ADMINS: "admins_exempt",
}
"""Where `GuildSettings` holds each limit."""

OVERRIDE_PARTS = (LimitPart.VIDEOS, LimitPart.RUNNING, LimitPart.PAUSE)
"""The limits that a role or a member can have; `GuildSettings.limits` has the same fields as their overrides."""

_WITH_DEFAULT = {*OVERRIDE_PARTS, LimitPart.WINDOW}
"""Those for which `OperatorDefaults` has a value, in the same place."""

Values = Mapping[LimitPart, Any]
"""New values by part; None clears one."""


@dataclass(frozen=True, slots=True)
class LimitUnreadable(Reason):
    """What was typed for a limit can't be parsed."""

    part: LimitPart
    reason: Reason


@dataclass(frozen=True, slots=True)
class LimitChanges:
    """What an admin typed; None keeps a limit.

    pause, window: durations such as "10m"; numbers alone are seconds and hours. usd_per_day, usd_per_month:
    amounts such as "2.50". clear: a limit to remove, or `EVERYTHING`.
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
        new = {part: value for part, value in given.items() if part in parts and value is not None}
        return dict.fromkeys(cleared) | new


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
            before = after = tx.guild.settings
            for part, value in values.items():
                after = _with(after, part, value)
            if after != before:
                await tx.write(after)
            was, now = (
                {part.value: server_limit(own, self._defaults, part) for part in values or LimitPart}
                for own in (before, after)
            )
            return await tx.record(AuditedChange(Action.LIMITS_SET, before=was, after=now))

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
            after = replace(before, **{_override_field(part): value for part, value in values.items()})
            if after != before:
                await limit_overrides.put(tx.connection, admin.guild_id, kind, target_id, after)
            was, now = (
                {part.value: {"value": override_value(own, part)} for part in values or OVERRIDE_PARTS}
                for own in (before, after)
            )
            return await tx.record(AuditedChange(Action.LIMITS_SET, TargetKind(kind), str(target_id), was, now))

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
    read = attrgetter(_FIELDS[part])
    value = read(settings)
    if value is None and part in _WITH_DEFAULT:
        return {"value": read(defaults) or 0, "default": True}
    return {"value": usd(value) if isinstance(value, Decimal) else value}


def override_value(overrides: LimitOverrides, part: LimitPart) -> int | None:
    """A limit of a role or a member; None where it is not set."""
    value: int | None = getattr(overrides, _override_field(part))
    return value


def _override_field(part: LimitPart) -> str:
    return _FIELDS[part].removeprefix("limits.")


def _with(settings: GuildSettings, part: LimitPart, value: Any) -> GuildSettings:
    group, _, field = _FIELDS[part].rpartition(".")
    if group:
        return replace(settings, **{group: replace(getattr(settings, group), **{field: value})})
    if part is LimitPart.EXEMPT_ADMINS:
        value = bool(value)
    return replace(settings, **{field: value})


def _checked(part: LimitPart, value: Any) -> Any:
    """What was typed for a limit, as it is stored. Raises: UserError that names the option."""
    maximum = _MAXIMUMS.get(part)
    if value is not None and maximum is not None and not 0 <= value <= maximum:
        raise UserError(AdminRefused(AdminProblem.LIMIT_OUT_OF_BOUNDS, maximum, subject=part))
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
