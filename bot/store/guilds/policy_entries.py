"""Reads and writes which channels, roles and words a server allows or blocks, inside the caller's transaction."""

from collections.abc import Sequence
from dataclasses import asdict

from sqlalchemy import delete, select

from bot.domain.guilds import BlockedTerm, PolicyEntry, PolicyEntryKind
from bot.store.engine import Connection
from bot.store.schema import blocked_terms, policy_entries
from bot.store.upserts import upsert


async def entries(connection: Connection, guild_id: int) -> tuple[PolicyEntry, ...]:
    """The channels and roles that the server allows or denies."""
    query = select(policy_entries).filter_by(guild_id=guild_id)
    rows = await connection.execute(query.order_by(policy_entries.c.kind, policy_entries.c.target_id))
    return tuple(PolicyEntry(PolicyEntryKind(row.kind), row.target_id, row.allowed) for row in rows)


async def put_entry(connection: Connection, guild_id: int, entry: PolicyEntry) -> None:
    """Allows or denies a channel or role, replacing an earlier entry."""
    await upsert(connection, policy_entries, {"guild_id": guild_id, **asdict(entry)})


async def remove_entry(connection: Connection, guild_id: int, kind: PolicyEntryKind, target_id: int) -> None:
    """Removes a channel's or role's entry."""
    entry = delete(policy_entries).filter_by(guild_id=guild_id, kind=kind, target_id=target_id)
    await connection.execute(entry)


async def terms(connection: Connection, guild_id: int) -> tuple[BlockedTerm, ...]:
    """The words and patterns that prompts may not contain."""
    query = select(blocked_terms).where(blocked_terms.c.guild_id == guild_id).order_by(blocked_terms.c.text)
    return tuple(BlockedTerm(row.text, row.is_pattern) for row in await connection.execute(query))


async def add_terms(connection: Connection, guild_id: int, new: Sequence[BlockedTerm]) -> None:
    """Blocks words; one with the same text is replaced."""
    for term in new:
        await upsert(connection, blocked_terms, {"guild_id": guild_id, **asdict(term)})


async def remove_term(connection: Connection, guild_id: int, text: str) -> None:
    """Allows a word again."""
    await connection.execute(delete(blocked_terms).filter_by(guild_id=guild_id, text=text))
