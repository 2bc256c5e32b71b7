"""What admins look after: the limits of the server, of roles and of members.

What a limit means for a request is decided in `bot.domain.quotas`; here it is read, bounded, set and cleared.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from bot.domain.durations import parse_span, show_span, window_text
from bot.domain.errors import UserError
from bot.domain.guilds import WINDOW_HOURS_MAX, GuildSettings, LimitOverrides, OperatorDefaults
from bot.domain.limits import Allowance
from bot.domain.money import parse_usd, show_limit
from bot.domain.policy import Requester
from bot.operations.clock import Clock
from bot.services.admin.audited import Act, Acts, Admin
from bot.store.engine import Database
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

TIER_PARTS = (LimitPart.VIDEOS, LimitPart.RUNNING, LimitPart.PAUSE)

PART_NAMES = {
    LimitPart.VIDEOS: "videos in the window",
    LimitPart.RUNNING: "at once",
    LimitPart.PAUSE: "pause between requests",
    LimitPart.WINDOW: "window",
    LimitPart.VIDEOS_PER_DAY: "videos a day of the whole server",
    LimitPart.USD_PER_DAY: "USD a day of the whole server",
    LimitPart.USD_PER_MONTH: "USD a month of the whole server",
    LimitPart.EXEMPT_ADMINS: "admins exempt from the members' limits",
}
"""How people read the limits."""

Values = Mapping[LimitPart, Any]
"""New values by part; None clears one."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an admin wrote; None leaves a limit as it is.

    pause, window: spans as people write them, "10m"; bare numbers are seconds and hours. usd_per_day,
    usd_per_month: amounts, "2.50". clear: a part that is to say nothing any more, or `EVERYTHING`.
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
        """What is to be set and cleared of `parts`. Raises: UserError for what can't be read or is too much."""
        cleared = [part for part in parts if self.clear in {EVERYTHING, part}]
        given: dict[LimitPart, Any] = {
            LimitPart.VIDEOS: _within(LimitPart.VIDEOS, self.videos, VIDEOS_MAX),
            LimitPart.RUNNING: _within(LimitPart.RUNNING, self.running, RUNNING_MAX),
            LimitPart.PAUSE: _read(LimitPart.PAUSE, self.pause, _pause),
            LimitPart.WINDOW: _read(LimitPart.WINDOW, self.window, _window),
            LimitPart.VIDEOS_PER_DAY: _within(LimitPart.VIDEOS_PER_DAY, self.videos_per_day, VIDEOS_PER_DAY_MAX),
            LimitPart.USD_PER_DAY: _read(LimitPart.USD_PER_DAY, self.usd_per_day, _amount),
            LimitPart.USD_PER_MONTH: _read(LimitPart.USD_PER_MONTH, self.usd_per_month, _amount),
            LimitPart.EXEMPT_ADMINS: self.exempt_admins,
        }
        said = {part: value for part, value in given.items() if part in parts and value is not None}
        return dict.fromkeys(cleared) | said


@dataclass(frozen=True, slots=True)
class Stands:
    """How one limit stands after an act. before, after: in words; the same where nothing was changed."""

    what: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class AllLimits:
    """Who has what in a server. roles, members: limits of their own, by id."""

    settings: GuildSettings
    rules: OperatorDefaults
    roles: Mapping[int, LimitOverrides]
    members: Mapping[int, LimitOverrides]


class MemberLimits(Acts):
    """The limits of a server's members, each changed by itself."""

    def __init__(
        self, database: Database, rules: OperatorDefaults, *, wake: Callable[[], None], clock: Clock
    ) -> None:
        super().__init__(database, wake=wake, clock=clock)
        self._rules = rules

    async def set_server(self, admin: Admin, wanted: Wanted) -> list[Stands]:
        """Sets limits of the server and of all its members. Raises: UserError."""
        values = wanted.values(tuple(LimitPart))
        async with self._act(admin) as act:
            before = act.guild.settings
            after = before
            for part, value in values.items():
                after = _with(after, part, value)
            if after != before:
                await guild_settings.write(act.connection, admin.guild_id, guild_settings.settings_columns(after))
            return [
                await _told(
                    act,
                    PART_NAMES[part],
                    server_value(before, self._rules, part),
                    server_value(after, self._rules, part),
                )
                for part in (values or LimitPart)
            ]

    async def set_role(self, admin: Admin, role_id: int, wanted: Wanted) -> list[Stands]:
        """Sets limits of a role. Raises: UserError."""
        if role_id == admin.guild_id:
            raise UserError(
                "@everyone is every member: set that with `/video-admin limits server`. Nothing was changed."
            )
        return await self._set_tier(admin, LimitTarget.ROLE, role_id, f"<@&{role_id}>", wanted)

    async def set_member(self, admin: Admin, user_id: int, wanted: Wanted) -> list[Stands]:
        """Sets limits of a single member, which beat those of their roles. Raises: UserError."""
        return await self._set_tier(admin, LimitTarget.MEMBER, user_id, f"<@{user_id}>", wanted)

    async def _set_tier(
        self, admin: Admin, kind: LimitTarget, target_id: int, name: str, wanted: Wanted
    ) -> list[Stands]:
        values = wanted.values(TIER_PARTS)
        async with self._act(admin) as act:
            before = await limit_overrides.get(act.connection, admin.guild_id, kind, target_id)
            after = before
            for part, value in values.items():
                after = _tier_with(after, part, value)
            if after != before:
                await limit_overrides.put(act.connection, admin.guild_id, kind, target_id, after)
            return [
                await _told(
                    act, f"{PART_NAMES[part]} of {name}", tier_value(before, part), tier_value(after, part)
                )
                for part in (values or TIER_PARTS)
            ]

    async def all(self, admin: Admin) -> AllLimits:
        """Who has what in the server."""
        async with self._database.read() as connection:
            guild = await guild_settings.get(connection, admin.guild_id)
            roles = await limit_overrides.by_target(connection, admin.guild_id, LimitTarget.ROLE)
            members = await limit_overrides.by_target(connection, admin.guild_id, LimitTarget.MEMBER)
        return AllLimits(guild.settings, self._rules, roles, members)

    async def of_member(self, admin: Admin, user_id: int, roles: Collection[int], *, manages: bool) -> Allowance:
        """What one member of the server may have, from where, and what they have used.

        roles: the ids of the member's. manages: whether they may manage the bot.
        """
        requester = Requester(admin.guild_id, 0, user_id, frozenset(roles), manages)
        now = self._clock()
        async with self._database.read() as connection:
            return await admission.allowance(connection, self._rules, requester, now)


async def _told(act: Act, what: str, before: str, after: str) -> Stands:
    await act.record(what, before, after)
    return Stands(what, before, after)


def server_value(settings: GuildSettings, rules: OperatorDefaults, part: LimitPart) -> str:
    """How a limit of the server reads, with the operator's where nothing is set."""
    value, is_default = server_limit(settings, rules, part)
    return f"{value}, operator's default" if is_default else value


def server_limit(settings: GuildSettings, rules: OperatorDefaults, part: LimitPart) -> tuple[str, bool]:
    """How a limit of the server reads, and whether it is the operator's because nothing is set."""
    match part:
        case LimitPart.WINDOW:
            return _or_operators(settings.window_hours, rules.window_hours, _window_shown)
        case LimitPart.VIDEOS_PER_DAY:
            return "no limit" if settings.videos_per_day is None else str(settings.videos_per_day), False
        case LimitPart.USD_PER_DAY:
            return show_limit(settings.budget.usd_per_day), False
        case LimitPart.USD_PER_MONTH:
            return show_limit(settings.budget.usd_per_month), False
        case LimitPart.EXEMPT_ADMINS:
            return "yes" if settings.admins_exempt else "no", False
        case LimitPart.PAUSE:
            return _or_operators(settings.limits.cooldown_s, rules.limits.cooldown_s or 0, _seconds)
        case LimitPart.VIDEOS:
            return _or_operators(settings.limits.videos_per_window, rules.limits.videos_per_window or 0, str)
        case LimitPart.RUNNING:
            return _or_operators(settings.limits.max_active, rules.limits.max_active or 0, str)


def tier_value(tier: LimitOverrides, part: LimitPart) -> str:
    """How a limit of a role or member reads."""
    value = {
        LimitPart.VIDEOS: tier.videos_per_window,
        LimitPart.RUNNING: tier.max_active,
        LimitPart.PAUSE: tier.cooldown_s,
    }[part]
    if value is None:
        return "not set"
    return _seconds(value) if part is LimitPart.PAUSE else str(value)


def _or_operators(own: int | None, operators: int, show: Callable[[int], str]) -> tuple[str, bool]:
    return show(operators if own is None else own), own is None


def _seconds(seconds: int) -> str:
    return show_span(timedelta(seconds=seconds)) if seconds else "none"


def _window_shown(hours: int) -> str:
    return window_text(timedelta(hours=hours))


def _with(settings: GuildSettings, part: LimitPart, value: Any) -> GuildSettings:
    match part:
        case LimitPart.WINDOW:
            return replace(settings, window_hours=value)
        case LimitPart.VIDEOS_PER_DAY:
            return replace(settings, videos_per_day=value)
        case LimitPart.USD_PER_DAY | LimitPart.USD_PER_MONTH:
            return replace(settings, budget=replace(settings.budget, **{part.value: value}))
        case LimitPart.EXEMPT_ADMINS:
            return replace(settings, admins_exempt=bool(value))
        case _:
            return replace(settings, limits=_tier_with(settings.limits, part, value))


def _tier_with(tier: LimitOverrides, part: LimitPart, value: int | None) -> LimitOverrides:
    match part:
        case LimitPart.VIDEOS:
            return replace(tier, videos_per_window=value)
        case LimitPart.RUNNING:
            return replace(tier, max_active=value)
        case _:
            return replace(tier, cooldown_s=value)


def _within(part: LimitPart, number: int | None, most: int) -> int | None:
    if number is not None and not 0 <= number <= most:
        raise UserError(f"`{part}`: That number must be from 0 to {most:,}. Nothing was changed.")
    return number


def _read(part: LimitPart, text: str | None, reader: Callable[[str], int | Decimal]) -> int | Decimal | None:
    """What was written for a limit. Raises: UserError, naming its option: one message can set several."""
    if text is None:
        return None
    try:
        return reader(text)
    except UserError as error:
        raise UserError(f"`{part}`: {error}") from error


def _amount(text: str) -> Decimal:
    try:
        return parse_usd(text)
    except UserError as error:
        raise UserError(f"{error} Nothing was changed.") from error


def _pause(text: str) -> int:
    pause = parse_span(text, bare="s")
    if pause > PAUSE_MAX:
        raise UserError(f"A pause may be {PAUSE_MAX.days} days at most. Nothing was changed.")
    return int(pause.total_seconds())


def _window(text: str) -> int:
    hours = Decimal(int(parse_span(text, bare="h").total_seconds())) / 3600
    if hours % 1 or not 1 <= hours <= WINDOW_HOURS_MAX:
        raise UserError(
            f"The window is in whole hours, 1 to {WINDOW_HOURS_MAX}: write `24h` or `7d`. Nothing was changed."
        )
    return int(hours)
