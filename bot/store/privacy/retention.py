"""Deletes or anonymises data past its retention period, and data of servers that removed the bot.

Each method is one short transaction over one batch and returns how many rows it changed; one or several processes
call it until that is zero. What a limit still needs stays.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, delete, exists, not_, or_, select, update

from bot.domain.guilds import Access, GuildSettings, OperatorDefaults
from bot.domain.task_durations import SAMPLES
from bot.store.engine import Connection, Database
from bot.store.guilds import guild_settings
from bot.store.guilds.violations import WITHIN
from bot.store.jobs import pictures, recovery
from bot.store.jobs.rows import count_jobs
from bot.store.jobs.task_durations import is_of, kinds_with_durations
from bot.store.money.credit_grants import expire, write_off
from bot.store.money_tables import credit_grants, daily_totals, ledger
from bot.store.privacy import anonymise
from bot.store.schema import (
    EVERYWHERE,
    NOBODY,
    audit_log,
    bans,
    blocked_terms,
    guilds,
    interaction_tokens,
    jobs,
    limit_overrides,
    member_settings,
    members,
    notifications,
    policy_entries,
    task_durations,
    violations,
)

_SET_BY_ADMINS = (
    limit_overrides,
    policy_entries,
    blocked_terms,
    bans,
    violations,
    members,
    audit_log,
    notifications,
)


class RetentionStore:
    """Data past its retention period. Every method raises StoreError where the database fails."""

    def __init__(self, database: Database, rules: OperatorDefaults | None = None) -> None:
        self._database = database
        self._rules = rules or OperatorDefaults()

    async def expire_credits(self, now: datetime) -> int:
        """Writes off expired credit grants."""
        async with self._database.write() as connection:
            return await expire(connection, now)

    async def release_held_costs(self, now: datetime) -> int:
        """Returns a batch of reservations whose cost was never reported; see `OperatorDefaults`."""
        before = now - self._rules.unknown_cost_held_for
        async with self._database.write() as connection:
            return await recovery.release_held_costs(connection, before, now, anonymise.BATCH)

    async def anonymise_jobs(self, before: datetime) -> int:
        """Anonymises a batch of jobs that ended before `before`."""
        return await anonymise.anonymise_batch(
            self._database, jobs, jobs.c.user_id != NOBODY, jobs.c.state_changed_at <= before
        )

    async def anonymise_entries(self, before: datetime, now: datetime) -> int:
        """Anonymises a batch of entries from before `before` that no limit needs."""
        async with self._database.read() as connection:
            span = await anonymise.longest_lookback(connection, self._rules)
        past = ledger.c.effective_at <= min(before, now - span)
        return await anonymise.anonymise_batch(self._database, ledger, ledger.c.user_id != NOBODY, past)

    async def anonymise_grants(self, before: datetime) -> int:
        """Anonymises a batch of used-up credit grants from before `before`."""
        grants = credit_grants.c
        used_up = and_(grants.user_id != NOBODY, grants.credits_left == 0, grants.created_at <= before)
        return await anonymise.anonymise_batch(self._database, credit_grants, used_up)

    async def drop_old(self, before: datetime, now: datetime) -> int:
        """Deletes a batch of old audit lines, bans and notifications, and of violations that no longer count.

        Also expired tokens, and settings of members who have had no videos for that long: none of theirs is kept.
        """
        has_jobs = exists(select(jobs.c.id).where(jobs.c.user_id == member_settings.c.user_id))
        dropped = 0
        for table, old in (
            (audit_log, audit_log.c.at <= before),
            (violations, violations.c.created_at <= now - WITHIN),
            (bans, bans.c.expires_at <= before),
            (interaction_tokens, interaction_tokens.c.expires_at <= now),
            (notifications, and_(notifications.c.due_at.is_(None), notifications.c.created_at <= before)),
            (member_settings, and_(member_settings.c.changed_at <= before, not_(has_jobs))),
            (members, and_(members.c.erasure_requested_at.is_(None), members.c.created_at <= before)),
        ):
            dropped += await anonymise.delete_batch(self._database, table, old)
        return dropped

    async def drop_pictures(self, before: datetime) -> int:
        """Deletes a batch of kept pictures whose jobs ended before `before`."""
        async with self._database.write() as connection:
            return await pictures.delete_kept_since(connection, before)

    async def drop_durations(self) -> int:
        """Deletes a batch of durations that are too old to be used."""
        dropped = 0
        async with self._database.read() as connection:
            kinds = await kinds_with_durations(connection)
        for kind in kinds:
            newest_first = select(task_durations.c.id).where(is_of(kind)).order_by(task_durations.c.id.desc())
            oldest_used = newest_first.offset(SAMPLES - 1).limit(1).scalar_subquery()
            too_old = and_(is_of(kind), task_durations.c.id < oldest_used)
            dropped += await anonymise.delete_batch(self._database, task_durations, too_old)
        return dropped

    async def left_guilds(self, before: datetime) -> list[int]:
        """The servers that removed the bot before `before`."""
        query = select(guilds.c.id).where(guilds.c.left_at <= before).order_by(guilds.c.id)
        async with self._database.read() as connection:
            return list(await connection.scalars(query))

    async def anonymise_left_jobs(self, guild_id: int, before: datetime) -> int:
        """Anonymises a batch of such a server's jobs, including the server; not those whose cost is still held."""
        not_held = jobs.c.cost_unknown_since.is_(None)
        gone = and_(jobs.c.guild_id == guild_id, not_held, _is_left(guild_id, before))
        return await anonymise.anonymise_batch(self._database, jobs, gone, guild_id=EVERYWHERE)

    async def anonymise_left_entries(self, guild_id: int, before: datetime, now: datetime) -> int:
        """Anonymises a batch of such a server's entries, including the server."""
        async with self._database.read() as connection:
            span = await anonymise.lookback(connection, self._rules, guild_id)
        gone = and_(ledger.c.guild_id == guild_id, ledger.c.effective_at <= now - span, _is_left(guild_id, before))
        return await anonymise.anonymise_batch(self._database, ledger, gone, guild_id=EVERYWHERE)

    async def clear_left(self, guild_id: int, before: datetime, now: datetime) -> int:
        """Deletes such a server's settings and data, once its jobs are gone.

        The operator's decisions about it stay, and so do this month's sums: inviting the bot again gives nobody a
        fresh budget.
        """
        month = now.date().replace(day=1)
        async with self._database.write() as connection:
            await guild_settings.lock_operator_state(connection)
            if not await _is_empty(connection, guild_id, before):
                return 0
            await write_off(connection, credit_grants.c.guild_id == guild_id, now, guild_id=EVERYWHERE)
            touched = 0
            for table in (credit_grants, *_SET_BY_ADMINS):
                touched += await anonymise.delete_batch_in(connection, table, table.c.guild_id == guild_id)
            old = and_(daily_totals.c.guild_id == guild_id, daily_totals.c.day < month)
            touched += (await connection.execute(delete(daily_totals).where(old))).rowcount
            return touched + await _clear_row(connection, guild_id)


def _left(guild_id: int, before: datetime) -> Select[Any]:
    return select(guilds.c.id).where(guilds.c.id == guild_id, guilds.c.left_at <= before)


def _is_left(guild_id: int, before: datetime) -> ColumnElement[bool]:
    """Whether the server is still without the bot."""
    return exists(_left(guild_id, before))


async def _is_empty(connection: Connection, guild_id: int, before: datetime) -> bool:
    """Whether the server is still without the bot and has no jobs; locks its row."""
    if await connection.scalar(_left(guild_id, before).with_for_update()) is None:
        return False
    return not await count_jobs(connection, jobs.c.guild_id == guild_id)


async def _clear_row(connection: Connection, guild_id: int) -> int:
    """Deletes the server's row, or only its settings if the row is still needed."""
    here = guilds.c.id == guild_id
    is_needed = or_(
        guilds.c.access != Access.OPEN,
        guilds.c.granted_usd_per_day.is_not(None),
        guilds.c.granted_usd_per_month.is_not(None),
        exists(select(ledger.c.id).where(ledger.c.guild_id == guild_id)),
        exists(select(daily_totals.c.day).where(daily_totals.c.guild_id == guild_id)),
    )
    gone = (await connection.execute(delete(guilds).where(here, not_(is_needed)))).rowcount
    if not gone:
        fresh = guild_settings.settings_columns(GuildSettings()) | {"welcomed_at": None}
        await connection.execute(update(guilds).where(here).values(fresh))
    return gone
