"""What every act of an admin has in common: who it is, and the transaction that says what was changed.

A change is written together with its line in the audit trail and with what the log channel is told. The house's
row is held meanwhile, so that no job is let in by what is being changed.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime

from bot.chat.messages.markdown import mention, naming
from bot.domain.guilds import Change, Guild, GuildSettings
from bot.operations.clock import Clock
from bot.store.engine import Connection, Database
from bot.store.guilds import audit_log, guild_settings
from bot.store.outbox import notifications

SHOWN_MAX = 300
"""How much of a value the log channel is shown, in characters."""


@dataclass(frozen=True, slots=True)
class Admin:
    """Who manages the bot, and in which server; checked by whoever makes one."""

    guild_id: int
    user_id: int


@dataclass(frozen=True, slots=True)
class Act:
    """One act of an admin, in its transaction. guild: the server as it was when the act began."""

    connection: Connection
    admin: Admin
    guild: Guild
    now: datetime

    async def record(self, what: str, before: str | None, after: str | None) -> Change:
        """Writes the change down and has it told, where it is one. All plain text, mentions work."""
        change = Change(self.admin.guild_id, self.now, self.admin.user_id, what, before, after)
        if before != after:
            await audit_log.record(self.connection, change)
            told = f"⚙️ {mention(self.admin.user_id)} changed {shown(change)}"
            await notifications.post(self.connection, self.admin.guild_id, told, self.now)
        return change


class Acts:
    """The base of all that admins look after."""

    def __init__(self, database: Database, *, wake: Callable[[], None], clock: Clock) -> None:
        self._database = database
        self._wake = wake
        self._clock = clock

    @asynccontextmanager
    async def _act(self, admin: Admin) -> AsyncIterator[Act]:
        """A transaction of this admin's; the worker is woken when it is written."""
        async with self._database.write() as connection:
            await guild_settings.lock_operator_state(connection)
            yield Act(connection, admin, await guild_settings.get(connection, admin.guild_id), self._clock())
        self._wake()

    async def _set(
        self,
        admin: Admin,
        what: str,
        change: Callable[[GuildSettings], GuildSettings],
        shown: Callable[[GuildSettings], str | None],
    ) -> Change:
        """Changes the server's settings. shown: how the setting reads in "before → after"."""
        async with self._act(admin) as act:
            before, after = act.guild.settings, change(act.guild.settings)
            await guild_settings.write(act.connection, admin.guild_id, guild_settings.settings_columns(after))
            return await act.record(what, shown(before), shown(after))


def shown(change: Change) -> str:
    """The change as admins read it in a message: what, and "before → after". Mentions in it work."""
    return f"**{naming(change.what)}**: {_value(change.before)} → {_value(change.after)}"


def _value(value: str | None) -> str:
    return "nothing" if value is None else naming(value, SHOWN_MAX)
