"""Reads and writes the limits of roles and single members, inside the caller's transaction.

An acceptance reads them, so writers first lock the operator state.
"""

from dataclasses import asdict
from enum import StrEnum

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.guilds import LimitOverrides
from bot.store.engine import insert_of
from bot.store.guilds.guild_settings import overrides_of
from bot.store.schema import limit_overrides


class LimitTarget(StrEnum):
    """What a limit applies to."""

    ROLE = "role"
    MEMBER = "member"


async def by_target(connection: AsyncConnection, guild_id: int, kind: LimitTarget) -> dict[int, LimitOverrides]:
    """The limits of the server's roles or members, by id."""
    of_kind = (limit_overrides.c.guild_id == guild_id) & (limit_overrides.c.kind == kind)
    rows = await connection.execute(select(limit_overrides).where(of_kind))
    return {row.target_id: overrides_of(row) for row in rows}


async def get(connection: AsyncConnection, guild_id: int, kind: LimitTarget, target_id: int) -> LimitOverrides:
    """The limits of one role or member; empty if none are set."""
    query = select(limit_overrides).where(_is(guild_id, kind, target_id))
    row = (await connection.execute(query)).one_or_none()
    return LimitOverrides() if row is None else overrides_of(row)


async def put(
    connection: AsyncConnection, guild_id: int, kind: LimitTarget, target_id: int, limits: LimitOverrides
) -> None:
    """Stores the limits of a role or member; empty ones leave no row."""
    if limits == LimitOverrides():
        await connection.execute(delete(limit_overrides).where(_is(guild_id, kind, target_id)))
        return
    columns = asdict(limits)
    key = {"guild_id": guild_id, "kind": kind, "target_id": target_id}
    row = insert_of(connection, limit_overrides).values(key | columns)
    await connection.execute(row.on_conflict_do_update(index_elements=list(key), set_=columns))


def _is(guild_id: int, kind: LimitTarget, target_id: int) -> ColumnElement[bool]:
    overrides = limit_overrides.c
    return (overrides.guild_id == guild_id) & (overrides.kind == kind) & (overrides.target_id == target_id)
