"""Reads and writes bans, inside the caller's transaction. Retention deletes the rows of bans that are over."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.guilds import Ban
from bot.domain.jobs import ACTIVE
from bot.store.engine import insert_of
from bot.store.schema import bans, jobs


async def active_ban(connection: AsyncConnection, guild_id: int, user_id: int, now: datetime) -> Ban | None:
    """The member's ban at `now`."""
    query = select(bans).where(bans.c.guild_id == guild_id, bans.c.user_id == user_id, _is_active(now))
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else ban_of(row)


async def active_bans(connection: AsyncConnection, guild_id: int, now: datetime) -> list[Ban]:
    """The server's bans at `now`, the latest first."""
    query = select(bans).where(bans.c.guild_id == guild_id, _is_active(now))
    rows = await connection.execute(query.order_by(bans.c.created_at.desc(), bans.c.user_id))
    return [ban_of(row) for row in rows]


async def put(connection: AsyncConnection, ban: Ban) -> None:
    """Stores a ban, replacing the member's earlier one."""
    columns = asdict(ban)
    row = insert_of(connection, bans).values(columns)
    await connection.execute(row.on_conflict_do_update(index_elements=["guild_id", "user_id"], set_=columns))


async def remove(connection: AsyncConnection, guild_id: int, user_id: int) -> None:
    """Removes the member's ban, if there is one."""
    await connection.execute(delete(bans).where(bans.c.guild_id == guild_id, bans.c.user_id == user_id))


async def count_active_jobs(connection: AsyncConnection, guild_id: int, user_id: int) -> int:
    """How many of the member's jobs in the server have not ended."""
    is_theirs = (jobs.c.guild_id == guild_id) & (jobs.c.user_id == user_id)
    query = select(func.count()).select_from(jobs).where(is_theirs, jobs.c.state.in_(sorted(ACTIVE)))
    return (await connection.execute(query)).scalar_one()


def ban_of(row: Row[Any]) -> Ban:
    """The ban in a row of `bans`."""
    return Ban(row.guild_id, row.user_id, row.reason, row.created_at, row.expires_at, row.actor_id)


def _is_active(now: datetime) -> ColumnElement[bool]:
    return or_(bans.c.expires_at.is_(None), bans.c.expires_at > now)
