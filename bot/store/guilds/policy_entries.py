"""Reads and writes which channels, roles and words a server allows or blocks, inside the caller's transaction."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.guilds import BlockedTerm, PolicyEntry, PolicyEntryKind
from bot.store.engine import insert_of
from bot.store.schema import blocked_terms, policy_entries


async def entries(connection: AsyncConnection, guild_id: int) -> tuple[PolicyEntry, ...]:
    """The channels and roles that the server allows or denies."""
    query = select(policy_entries).where(policy_entries.c.guild_id == guild_id)
    rows = await connection.execute(query.order_by(policy_entries.c.kind, policy_entries.c.target_id))
    return tuple(PolicyEntry(PolicyEntryKind(row.kind), row.target_id, row.allowed) for row in rows)


async def put_entry(connection: AsyncConnection, guild_id: int, entry: PolicyEntry) -> None:
    """Allows or denies a channel or role, replacing an earlier entry."""
    row = insert_of(connection, policy_entries).values(guild_id=guild_id, **asdict(entry))
    keys = ["guild_id", "kind", "target_id"]
    await connection.execute(row.on_conflict_do_update(index_elements=keys, set_={"allowed": entry.allowed}))


async def remove_entry(connection: AsyncConnection, guild_id: int, kind: PolicyEntryKind, target_id: int) -> None:
    """Removes a channel's or role's entry."""
    columns = policy_entries.c
    is_it = (columns.guild_id == guild_id) & (columns.kind == kind) & (columns.target_id == target_id)
    await connection.execute(delete(policy_entries).where(is_it))


async def terms(connection: AsyncConnection, guild_id: int) -> tuple[BlockedTerm, ...]:
    """The words and patterns that prompts may not contain."""
    query = select(blocked_terms).where(blocked_terms.c.guild_id == guild_id).order_by(blocked_terms.c.text)
    return tuple(BlockedTerm(row.text, row.is_pattern) for row in await connection.execute(query))


async def add_terms(connection: AsyncConnection, guild_id: int, new: Sequence[BlockedTerm]) -> None:
    """Blocks words; one with the same text is replaced."""
    for term in new:
        row = insert_of(connection, blocked_terms).values(guild_id=guild_id, **asdict(term))
        values = {"is_pattern": term.is_pattern}
        await connection.execute(row.on_conflict_do_update(index_elements=["guild_id", "text"], set_=values))


async def remove_term(connection: AsyncConnection, guild_id: int, text: str) -> None:
    """Allows a word again."""
    is_it = (blocked_terms.c.guild_id == guild_id) & (blocked_terms.c.text == text)
    await connection.execute(delete(blocked_terms).where(is_it))
