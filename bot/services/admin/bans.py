"""Bans by admins: members who can't order videos."""

from dataclasses import dataclass
from datetime import timedelta

from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind, seconds
from bot.domain.errors import NotPossible
from bot.domain.guilds import Ban
from bot.services.admin.audited import Admin, AdminProblem, AdminRefused, AuditedService
from bot.store.guilds import bans, violations
from bot.store.jobs import overview


@dataclass(frozen=True, slots=True)
class Banned:
    """A new ban. active_jobs: how many of the member's jobs are still in progress."""

    entry: AuditEntry
    ban: Ban
    active_jobs: int


class BanService(AuditedService):
    """Bans by admins and pauses for blocked prompts; both are lifted the same way."""

    async def ban(self, admin: Admin, user_id: int, reason: str, duration: timedelta | None) -> Banned:
        """Bans a member, permanently if `duration` is None. Replaces an active ban.

        Jobs already ordered continue; the admin can cancel them.
        """
        if duration is not None and duration <= timedelta(0):
            raise NotPossible(AdminRefused(AdminProblem.BAN_TOO_SHORT))
        async with self._transaction(admin) as tx:
            before = await bans.active_ban(tx.connection, admin.guild_id, user_id, tx.now)
            until = None if duration is None else tx.now + duration
            ban = Ban(admin.guild_id, user_id, reason, tx.now, until, admin.user_id)
            await bans.put(tx.connection, ban)
            entry = await tx.record(_change(Action.MEMBER_BANNED, user_id, before, ban))
            return Banned(entry, ban, await overview.count_active(tx.connection, admin.guild_id, user_id))

    async def unban(self, admin: Admin, user_id: int) -> AuditEntry:
        """Lifts a ban and clears the member's violations.

        Raises: NotPossible if there is no active ban.
        """
        async with self._transaction(admin) as tx:
            before = await bans.active_ban(tx.connection, admin.guild_id, user_id, tx.now)
            if before is None:
                raise NotPossible(AdminRefused(AdminProblem.NOT_BANNED))
            await bans.remove(tx.connection, admin.guild_id, user_id)
            await violations.forget(tx.connection, admin.guild_id, user_id)
            return await tx.record(_change(Action.MEMBER_UNBANNED, user_id, before, None))

    async def active(self, admin: Admin) -> list[Ban]:
        """The server's active bans, newest first."""
        async with self._database.read() as connection:
            return await bans.active_bans(connection, admin.guild_id, self._clock())


def _change(action: Action, user_id: int, before: Ban | None, after: Ban | None) -> AuditedChange:
    was, now = (
        None if ban is None else {"until": seconds(ban.expires_at), "reason": ban.reason}
        for ban in (before, after)
    )
    return AuditedChange(action, TargetKind.MEMBER, str(user_id), was, now)
