"""Writes which channels, roles and words a server allows or blocks, inside of the caller's transaction.

They are read by `bot.store.guilds.guild_settings`, with all else that an acceptance depends on.
"""

from collections.abc import Sequence

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.guilds import BlockedTerm, PolicyEntry, PolicyEntryKind
from bot.store.engine import insert_of
from bot.store.schema import blocked_terms, policy_entries


async def put_place(connection: AsyncConnection, guild_id: int, place: PolicyEntry) -> None:
    """Allows or denies a channel or role, whatever was said of it before."""
    row = insert_of(connection, policy_entries).values(
        guild_id=guild_id, kind=place.kind, target_id=place.target_id, allowed=place.allowed
    )
    keys = ["guild_id", "kind", "target_id"]
    await connection.execute(row.on_conflict_do_update(index_elements=keys, set_={"allowed": place.allowed}))


async def forget_place(connection: AsyncConnection, guild_id: int, kind: PolicyEntryKind, target_id: int) -> None:
    """Says nothing about a channel or role any more."""
    is_it = (
        (policy_entries.c.guild_id == guild_id)
        & (policy_entries.c.kind == kind)
        & (policy_entries.c.target_id == target_id)
    )
    await connection.execute(delete(policy_entries).where(is_it))


async def add_words(connection: AsyncConnection, guild_id: int, new: Sequence[BlockedTerm]) -> None:
    """Blocks words; one that is written the same is replaced."""
    for word in new:
        row = insert_of(connection, blocked_terms).values(
            guild_id=guild_id, text=word.text, is_pattern=word.is_pattern
        )
        said = {"is_pattern": word.is_pattern}
        await connection.execute(row.on_conflict_do_update(index_elements=["guild_id", "text"], set_=said))


async def remove_word(connection: AsyncConnection, guild_id: int, text: str) -> None:
    """Lets a word in again."""
    await connection.execute(
        delete(blocked_terms).where(blocked_terms.c.guild_id == guild_id, blocked_terms.c.text == text)
    )
