"""Reads and writes bans, inside the caller's transaction. Retention deletes the rows of bans that are over."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, or_, select

from bot.domain.guilds import Ban
from bot.store.engine import Connection
from bot.store.schema import bans
from bot.store.upserts import upsert


async def active_ban(connection: Connection, guild_id: int, user_id: int, now: datetime) -> Ban | None:
    """The member's ban at `now`."""
    query = select(bans).filter_by(guild_id=guild_id, user_id=user_id).where(_is_active(now))
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else ban_of(row)


async def active_bans(connection: Connection, guild_id: int, now: datetime) -> list[Ban]:
    """The server's bans at `now`, the latest first."""
    query = select(bans).where(bans.c.guild_id == guild_id, _is_active(now))
    rows = await connection.execute(query.order_by(bans.c.created_at.desc(), bans.c.user_id))
    return [ban_of(row) for row in rows]


async def put(connection: Connection, ban: Ban) -> None:
    """Stores a ban, replacing the member's earlier one."""
    await upsert(connection, bans, asdict(ban))


async def remove(connection: Connection, guild_id: int, user_id: int) -> None:
    """Removes the member's ban, if there is one."""
    await connection.execute(delete(bans).filter_by(guild_id=guild_id, user_id=user_id))


def ban_of(row: Row[Any]) -> Ban:
    """The ban in a row of `bans`."""
    return Ban(row.guild_id, row.user_id, row.reason, row.created_at, row.expires_at, row.actor_id)


def _is_active(now: datetime) -> ColumnElement[bool]:
    return or_(bans.c.expires_at.is_(None), bans.c.expires_at > now)
