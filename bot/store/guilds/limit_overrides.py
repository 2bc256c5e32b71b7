"""Reads and writes the limits of roles and single members, inside the caller's transaction.

An acceptance reads them, so writers first lock the operator state.
"""

from dataclasses import asdict
from enum import StrEnum

from sqlalchemy import delete, select

from bot.domain.guilds import LimitOverrides
from bot.store.engine import Connection
from bot.store.guilds.guild_settings import overrides_of
from bot.store.schema import limit_overrides
from bot.store.upserts import upsert


class LimitTarget(StrEnum):
    """What a limit applies to."""

    ROLE = "role"
    MEMBER = "member"


async def by_target(connection: Connection, guild_id: int, kind: LimitTarget) -> dict[int, LimitOverrides]:
    """The limits of the server's roles or members, by id."""
    rows = await connection.execute(select(limit_overrides).filter_by(guild_id=guild_id, kind=kind))
    return {row.target_id: overrides_of(row) for row in rows}


async def get(connection: Connection, guild_id: int, kind: LimitTarget, target_id: int) -> LimitOverrides:
    """The limits of one role or member; empty if none are set."""
    query = select(limit_overrides).filter_by(guild_id=guild_id, kind=kind, target_id=target_id)
    row = (await connection.execute(query)).one_or_none()
    return LimitOverrides() if row is None else overrides_of(row)


async def put(
    connection: Connection, guild_id: int, kind: LimitTarget, target_id: int, limits: LimitOverrides
) -> None:
    """Stores the limits of a role or member; empty ones leave no row."""
    key = {"guild_id": guild_id, "kind": kind, "target_id": target_id}
    if limits == LimitOverrides():
        await connection.execute(delete(limit_overrides).filter_by(**key))
    else:
        await upsert(connection, limit_overrides, key | asdict(limits))
