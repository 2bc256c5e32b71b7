"""The audit trail: who changed what, from what to what. Functions work inside the caller's transaction."""

from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.guilds import Change
from bot.store.schema import audit_log


async def record(connection: AsyncConnection, change: Change) -> None:
    """Writes a change down."""
    await connection.execute(
        insert(audit_log).values(
            guild_id=change.guild_id,
            at=change.at,
            by=change.by,
            what=change.what,
            before=change.before,
            after=change.after,
        )
    )


async def latest(connection: AsyncConnection, guild_id: int, limit: int) -> list[Change]:
    """A server's latest changes, newest first; 0: the operator's for all."""
    query = (
        select(audit_log)
        .where(audit_log.c.guild_id == guild_id)
        .order_by(audit_log.c.at.desc(), audit_log.c.id.desc())
        .limit(limit)
    )
    rows = await connection.execute(query)
    return [Change(row.guild_id, row.at, row.by, row.what, row.before, row.after) for row in rows]
