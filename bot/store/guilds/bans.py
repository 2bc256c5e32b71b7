"""Reads and writes who may order nothing in a server, inside of the caller's transaction.

A ban that ran out is as good as none; its row stays until it is replaced or swept away.
"""

from datetime import datetime

from sqlalchemy import delete, func, or_, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.guilds import Ban
from bot.domain.jobs import ACTIVE
from bot.store.engine import insert_of
from bot.store.guilds.guild_settings import ban_from
from bot.store.schema import bans, jobs


async def put(connection: AsyncConnection, ban: Ban) -> None:
    """Writes a ban, in place of the one that stood."""
    said = {
        "reason": ban.reason,
        "created_at": ban.created_at,
        "expires_at": ban.expires_at,
        "actor_id": ban.actor_id,
    }
    row = insert_of(connection, bans).values(guild_id=ban.guild_id, user_id=ban.user_id, **said)
    await connection.execute(row.on_conflict_do_update(index_elements=["guild_id", "user_id"], set_=said))


async def lift(connection: AsyncConnection, guild_id: int, user_id: int) -> None:
    """Takes the member's ban away, if there is one."""
    await connection.execute(delete(bans).where(bans.c.guild_id == guild_id, bans.c.user_id == user_id))


async def standing(connection: AsyncConnection, guild_id: int, now: datetime) -> list[Ban]:
    """The bans that hold in the server at `now`, the latest first."""
    holds = or_(bans.c.expires_at.is_(None), bans.c.expires_at > now)
    query = (
        select(bans).where(bans.c.guild_id == guild_id, holds).order_by(bans.c.created_at.desc(), bans.c.user_id)
    )
    return [ban_from(row) for row in await connection.execute(query)]


async def under_way(connection: AsyncConnection, guild_id: int, user_id: int) -> int:
    """How many of the member's jobs in the server have not ended."""
    is_theirs = (jobs.c.guild_id == guild_id) & (jobs.c.user_id == user_id)
    query = select(func.count()).select_from(jobs).where(is_theirs, jobs.c.state.in_(sorted(ACTIVE)))
    return (await connection.execute(query)).scalar_one()
