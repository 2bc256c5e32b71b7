"""What all changes by admins share: who makes them, and a transaction that also logs them.

A change is written together with its audit log entry and its notification. The operator state's row is locked
meanwhile, so that no job is admitted under settings that are being changed.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum, auto
from functools import cached_property
from typing import Any

from bot.domain.audit_log import Action, AuditedChange, AuditEntry
from bot.domain.errors import Reason
from bot.domain.guilds import Guild, GuildSettings, OperatorDefaults
from bot.domain.notifications import ActionLogged
from bot.operations.clock import Clock
from bot.store.engine import Connection, Database
from bot.store.guilds import audit_log as audit_log_store
from bot.store.guilds import guild_settings
from bot.store.outbox import notifications


class AdminProblem(StrEnum):
    """Why something that an admin asked for can't be done."""

    ALREADY_CANCELLED = auto()
    APPROVAL_NEEDS_LOG = auto()
    BAN_TOO_SHORT = auto()
    CREDITS_EXPIRE_AT_ONCE = auto()
    CREDITS_OUT_OF_BOUNDS = auto()
    EVERYONE_HAS_SERVER_LIMITS = auto()
    EVERYONE_IS_NO_ROLE = auto()
    LIMIT_OUT_OF_BOUNDS = auto()
    NOTHING_TO_CANCEL = auto()
    NOT_BANNED = auto()
    NO_CREDITS = auto()
    NO_LOG_CHANNEL = auto()
    NO_SUCH_MODEL = auto()
    NO_RESOLUTION_LEFT = auto()
    PATTERNS_TOO_SLOW = auto()
    PAUSE_TOO_LONG = auto()
    POLICY_ENTRY_NOT_SET = auto()
    TERM_NOT_BLOCKED = auto()
    TOO_MANY_PATTERNS = auto()
    TOO_MANY_POLICY_ENTRIES = auto()
    TOO_MANY_TERMS = auto()
    UNKNOWN_JOB = auto()
    VIOLATION_LIMIT_OUT_OF_BOUNDS = auto()
    VIOLATION_PAUSE_OUT_OF_BOUNDS = auto()
    WINDOW_NOT_IN_HOURS = auto()


@dataclass(frozen=True, slots=True)
class AdminRefused(Reason):
    """Something that an admin asked for can't be done.

    limit: what is allowed. count: what it would have been. subject: the option, or "channel" or "role".
    """

    problem: AdminProblem
    limit: int = 0
    count: int = 0
    subject: str = ""


_LOGGED_AS = {
    "paused": "paused",
    "log_channel_id": "channel_id",
    "allowed_resolutions": "resolutions",
    "allowed_models": "models",
    "age_restricted_only": "only",
    "approval_required": "needed",
    "violation_limit": "strikes",
    "violation_pause_hours": "pause_hours",
    "refused_content_counts": "refused_content",
    "quotes_shown": "shown",
}
"""What settings are called in the audit log, by their names in `GuildSettings`."""


@dataclass(frozen=True, slots=True)
class Admin:
    """Who manages the bot, and in which server. Whoever creates one has checked it."""

    guild_id: int
    user_id: int


@dataclass(frozen=True)
class AuditedTransaction:
    """What an admin does within one transaction. guild: the server as it was when the transaction began."""

    connection: Connection
    admin: Admin
    guild: Guild
    clock: Clock

    @cached_property
    def now(self) -> datetime:
        """The time of all that is done, read when it is first needed: after the locks, which may take a while."""
        return self.clock()

    async def record(self, change: AuditedChange) -> AuditEntry:
        """Logs the change and queues its notification; does nothing if nothing is different."""
        guild_id, by = self.admin.guild_id, self.admin.user_id
        entry = AuditEntry(guild_id, self.now, by, change)
        if change.is_change:
            await audit_log_store.record(self.connection, entry)
            await notifications.post(self.connection, guild_id, ActionLogged(guild_id, by, change), self.now)
        return entry

    async def write(self, settings: GuildSettings) -> None:
        """Stores the server's settings."""
        await guild_settings.write(self.connection, self.admin.guild_id, guild_settings.settings_columns(settings))

    async def change(self, action: Action, **settings: Any) -> AuditEntry:
        """Changes settings and records them under their names in the audit log."""
        own = replace(self.guild.settings, **settings)
        await self.write(own)
        before, after = (
            {_LOGGED_AS[name]: _plain(getattr(of, name)) for name in settings} for of in (self.guild.settings, own)
        )
        return await self.record(AuditedChange(action, before=before, after=after))


class AuditedService:
    """The base of the admins' services.

    wake: tells the worker that something may be due. task_lifetime: how long the video service keeps a task.
    """

    def __init__(
        self,
        database: Database,
        defaults: OperatorDefaults | None = None,
        *,
        wake: Callable[[], None],
        clock: Clock,
        task_lifetime: timedelta,
    ) -> None:
        self._database = database
        self._defaults = defaults or OperatorDefaults()
        self._wake = wake
        self._clock = clock
        self._task_lifetime = task_lifetime

    @asynccontextmanager
    async def _transaction(
        self, admin: Admin, *, lock_operator_state: bool = True
    ) -> AsyncIterator[AuditedTransaction]:
        """A transaction of this admin; wakes the worker once it is committed.

        lock_operator_state: not for what changes a job, whose row is locked before the operator state's.
        """
        async with self._database.write() as connection:
            if lock_operator_state:
                await guild_settings.lock_operator_state(connection)
            guild = await guild_settings.get(connection, admin.guild_id)
            yield AuditedTransaction(connection, admin, guild, self._clock)
        self._wake()


def _plain(value: Any) -> Any:
    """The value of a setting as the audit log keeps it."""
    return sorted(value) if isinstance(value, frozenset) else value
