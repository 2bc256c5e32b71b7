"""The server as a whole, for its admins: the settings overview, pausing, the log channel and the audit log."""

from dataclasses import dataclass

from bot.domain.audit_log import Action, AuditEntry
from bot.domain.errors import NotPossible
from bot.domain.guilds import Budget, Guild, OperatorDefaults, PolicyEntry
from bot.domain.notifications import LogChannelLeft
from bot.domain.quotas import Spent
from bot.services.admin.audited import Admin, AdminProblem, AdminRefused, AuditedService
from bot.store.guilds import audit_log as audit_log_store
from bot.store.guilds import bans, guild_settings, limit_overrides, policy_entries
from bot.store.guilds.limit_overrides import LimitTarget
from bot.store.money import credit_grants, ledger
from bot.store.outbox import notifications

AUDIT_LOG_MAX = 500
"""The most audit log entries that are shown."""


@dataclass(frozen=True, slots=True)
class Overview:
    """All settings of a server, and what is used.

    budget: the operator's for this server. draining: the operator takes no new jobs anywhere. terms, bans: how
    many. role_overrides, member_overrides: how many have their own limits. credits: usable ones of all members.
    """

    guild: Guild
    rules: OperatorDefaults
    budget: Budget
    draining: bool
    spent: Spent
    entries: tuple[PolicyEntry, ...]
    terms: int
    bans: int
    role_overrides: int
    member_overrides: int
    credits: int
    credit_members: int


class SettingsService(AuditedService):
    """Settings of the server as a whole."""

    async def overview(self, admin: Admin) -> Overview:
        """All settings of the admin's server."""
        guild_id, now = admin.guild_id, self._clock()
        async with self._database.read() as connection:
            guild = await guild_settings.get(connection, guild_id)
            state = await guild_settings.operator_state_of(connection)
            held = await credit_grants.credit_totals(connection, guild_id, now)
            return Overview(
                guild=guild,
                rules=self._defaults,
                budget=guild.budget.over(self._defaults.guild_budget),
                draining=state.draining,
                spent=await ledger.spent(connection, guild_id, now),
                entries=await policy_entries.entries(connection, guild_id),
                terms=len(await policy_entries.terms(connection, guild_id)),
                bans=len(await bans.active_bans(connection, guild_id, now)),
                role_overrides=len(await limit_overrides.by_target(connection, guild_id, LimitTarget.ROLE)),
                member_overrides=len(await limit_overrides.by_target(connection, guild_id, LimitTarget.MEMBER)),
                credits=held.credits,
                credit_members=held.members,
            )

    async def set_paused(self, admin: Admin, *, paused: bool) -> AuditEntry:
        """Stops accepting jobs, or accepts them again; queued ones stay either way."""
        async with self._transaction(admin) as tx:
            return await tx.change(Action.PAUSED_SET, paused=paused)

    async def set_quotes_shown(self, admin: Admin, *, shown: bool) -> AuditEntry:
        """Sets whether members are told what an order takes before it is placed."""
        async with self._transaction(admin) as tx:
            return await tx.change(Action.QUOTES_SHOWN_SET, quotes_shown=shown)

    async def log_to(self, admin: Admin, channel_id: int | None) -> AuditEntry:
        """Sets the channel for changes, refusals and failures; None turns the log off.

        The old channel gets a last message, so that nobody turns a log off unnoticed.
        Raises: NotPossible if moderators approve jobs in the log channel.
        """
        async with self._transaction(admin) as tx:
            if channel_id is None and tx.guild.settings.approval_required:
                raise NotPossible(AdminRefused(AdminProblem.APPROVAL_NEEDS_LOG))
            before = tx.guild.settings.log_channel_id
            entry = await tx.change(Action.LOG_CHANNEL_SET, log_channel_id=channel_id)
            if before is not None and before != channel_id:
                left = LogChannelLeft(admin.user_id, channel_id)
                await notifications.post(tx.connection, admin.guild_id, left, tx.now, channel_id=before)
            return entry

    async def audit_log(self, admin: Admin, number: int) -> list[AuditEntry]:
        """The latest entries of the server's audit log, newest first."""
        async with self._database.read() as connection:
            return await audit_log_store.latest(connection, admin.guild_id, min(number, AUDIT_LOG_MAX))
