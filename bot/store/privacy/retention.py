"""Deletes or anonymises data past its retention period, and data of servers that removed the bot.

Each method is one short transaction over one batch and returns how many rows it changed; one or several processes
call it until that is zero. What a limit still needs stays.
"""

from datetime import datetime

from sqlalchemy import ColumnElement, and_, delete, exists, not_, or_, select, update

from bot.domain.guilds import Access, GuildSettings, OperatorDefaults
from bot.domain.jobs import ENDED
from bot.store.engine import Connection, Database
from bot.store.guilds import guild_settings
from bot.store.guilds.violations import WITHIN
from bot.store.money.credit_grants import expire
from bot.store.privacy import anonymise
from bot.store.privacy.member_data import write_off
from bot.store.schema import (
    EVERYWHERE,
    NOBODY,
    audit_log,
    bans,
    blocked_terms,
    credit_grants,
    daily_totals,
    first_frames,
    jobs,
    ledger,
    limit_overrides,
    members,
    notifications,
    policy_entries,
    violations,
)
from bot.store.schema import guilds as guild_rows

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

    async def anonymise_jobs(self, before: datetime) -> int:
        """Anonymises a batch of jobs that ended before `before`."""
        return await anonymise.anonymise_jobs(
            self._database, and_(jobs.c.user_id != NOBODY, jobs.c.state_changed_at <= before)
        )

    async def anonymise_entries(self, before: datetime, now: datetime) -> int:
        """Anonymises a batch of entries from before `before` that no limit needs."""
        async with self._database.read() as connection:
            span = await anonymise.longest_lookback(connection, self._rules)
        past = entries_until(min(before, now - span))
        return await anonymise.anonymise_entries(self._database, and_(ledger.c.user_id != NOBODY, past))

    async def anonymise_grants(self, before: datetime) -> int:
        """Anonymises a batch of used-up credit grants from before `before`."""
        spent = and_(
            credit_grants.c.user_id != NOBODY,
            credit_grants.c.credits_left == 0,
            credit_grants.c.created_at <= before,
        )
        return await anonymise.anonymise_grants(self._database, spent)

    async def drop_old(self, before: datetime, now: datetime) -> int:
        """Deletes a batch of old audit lines, bans and notifications, and of violations that no longer count."""
        dropped = 0
        for table, old in (
            (audit_log, audit_log.c.at <= before),
            (violations, violations.c.created_at <= now - WITHIN),
            (bans, bans.c.expires_at <= before),
            (notifications, and_(notifications.c.due_at.is_(None), notifications.c.created_at <= before)),
            (members, and_(members.c.erasure_requested_at.is_(None), members.c.created_at <= before)),
        ):
            dropped += await anonymise.delete_batch(self._database, table, old)
        return dropped

    async def drop_frames(self) -> int:
        """Deletes a batch of first frames whose job has ended."""
        ended = exists(
            select(jobs.c.id).where(jobs.c.id == first_frames.c.job_id, jobs.c.state.in_(sorted(ENDED)))
        )
        return await anonymise.delete_batch(self._database, first_frames, ended)

    async def left(self, before: datetime) -> list[int]:
        """The servers that removed the bot before `before`."""
        query = select(guild_rows.c.id).where(guild_rows.c.left_at <= before).order_by(guild_rows.c.id)
        async with self._database.read() as connection:
            return list((await connection.execute(query)).scalars())

    async def blank_left_jobs(self, guild_id: int, before: datetime) -> int:
        """Anonymises a batch of such a server's jobs, including the server."""
        gone = and_(jobs.c.guild_id == guild_id, _is_left(guild_id, before))
        return await anonymise.anonymise_jobs(self._database, gone, guild_id=EVERYWHERE)

    async def blank_left_entries(self, guild_id: int, before: datetime, now: datetime) -> int:
        """Anonymises a batch of such a server's entries, including the server."""
        async with self._database.read() as connection:
            span = await anonymise.lookback(connection, self._rules, guild_id)
        gone = and_(ledger.c.guild_id == guild_id, entries_until(now - span), _is_left(guild_id, before))
        return await anonymise.anonymise_entries(self._database, gone, guild_id=EVERYWHERE)

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
            touched = await _write_off_all(connection, guild_id, now)
            for table in _SET_BY_ADMINS:
                touched += await anonymise.delete_batch_in(connection, table, table.c.guild_id == guild_id)
            old = and_(daily_totals.c.guild_id == guild_id, daily_totals.c.day < month)
            touched += (await connection.execute(delete(daily_totals).where(old))).rowcount
            return touched + await _clear_row(connection, guild_id)


def entries_until(moment: datetime) -> ColumnElement[bool]:
    """Ledger entries that took effect by `moment`."""
    past: ColumnElement[bool] = ledger.c.effective_at <= moment
    return past


def _is_left(guild_id: int, before: datetime) -> ColumnElement[bool]:
    """Whether the server is still without the bot."""
    return exists(select(guild_rows.c.id).where(guild_rows.c.id == guild_id, guild_rows.c.left_at <= before))


async def _is_empty(connection: Connection, guild_id: int, before: datetime) -> bool:
    """Whether the server is still without the bot and has no jobs; locks its row."""
    gone = select(guild_rows.c.id).where(guild_rows.c.id == guild_id, guild_rows.c.left_at <= before)
    if (await connection.execute(gone.with_for_update())).one_or_none() is None:
        return False
    some = select(jobs.c.id).where(jobs.c.guild_id == guild_id).limit(1)
    return (await connection.execute(some)).one_or_none() is None


async def _write_off_all(connection: Connection, guild_id: int, now: datetime) -> int:
    here = credit_grants.c.guild_id == guild_id
    await write_off(connection, here, now, guild_id=EVERYWHERE)
    return await anonymise.delete_batch_in(connection, credit_grants, here)


async def _clear_row(connection: Connection, guild_id: int) -> int:
    """Deletes the server's row, or only its settings if the row is still needed."""
    here = guild_rows.c.id == guild_id
    is_needed = or_(
        guild_rows.c.access != Access.OPEN,
        guild_rows.c.granted_usd_per_day.is_not(None),
        guild_rows.c.granted_usd_per_month.is_not(None),
        exists(select(ledger.c.id).where(ledger.c.guild_id == guild_id)),
        exists(select(daily_totals.c.day).where(daily_totals.c.guild_id == guild_id)),
    )
    gone = (await connection.execute(delete(guild_rows).where(here, not_(is_needed)))).rowcount
    if not gone:
        fresh = guild_settings.settings_columns(GuildSettings()) | {"welcomed_at": None}
        await connection.execute(update(guild_rows).where(here).values(fresh))
    return gone
