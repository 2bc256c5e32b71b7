"""Writes the limits of roles and of single members, inside of the caller's transaction.

The caller holds the house's row: an acceptance reads what is written here. Reading is
`bot.store.guilds.guild_settings`.
"""

from enum import StrEnum

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.guilds import LimitOverrides
from bot.store.engine import insert_of
from bot.store.guilds.guild_settings import tier_of
from bot.store.schema import limit_overrides


class TierKind(StrEnum):
    """Whose limits they are."""

    ROLE = "role"
    MEMBER = "member"


async def get(connection: AsyncConnection, guild_id: int, kind: TierKind, target_id: int) -> LimitOverrides:
    """The limits of a role or member; one that says nothing where there are none."""
    row = (await connection.execute(select(limit_overrides).where(_is(guild_id, kind, target_id)))).one_or_none()
    return LimitOverrides() if row is None else tier_of(row)


async def put(
    connection: AsyncConnection, guild_id: int, kind: TierKind, target_id: int, tier: LimitOverrides
) -> None:
    """Writes the limits of a role or member; one that says nothing leaves no row."""
    if tier == LimitOverrides():
        await connection.execute(delete(limit_overrides).where(_is(guild_id, kind, target_id)))
        return
    said = {
        "videos_per_window": tier.videos_per_window,
        "max_active": tier.max_active,
        "cooldown_s": tier.cooldown_s,
    }
    row = insert_of(connection, limit_overrides).values(guild_id=guild_id, kind=kind, target_id=target_id, **said)
    await connection.execute(
        row.on_conflict_do_update(index_elements=["guild_id", "kind", "target_id"], set_=said)
    )


def _is(guild_id: int, kind: TierKind, target_id: int) -> ColumnElement[bool]:
    return (
        (limit_overrides.c.guild_id == guild_id)
        & (limit_overrides.c.kind == kind)
        & (limit_overrides.c.target_id == target_id)
    )
