"""Tracks which servers the bot is in, and which were welcomed.

A welcome is marked in the transaction that queues it, so it is sent exactly once. A server that comes back after a
day is welcomed again; sooner it is not, so that inviting and removing the bot in turn sends no messages. Servers
that are there when a new database meets Discord for the first time count as welcomed: the bot is not new to them.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, or_, select, update

from bot.domain.guilds import OUTSIDE_SERVERS, Guild
from bot.domain.notifications import Welcome
from bot.store.engine import Connection, Database
from bot.store.guilds import guild_settings
from bot.store.outbox import notifications
from bot.store.schema import guilds

WELCOMED_AGAIN_AFTER = timedelta(days=1)
"""How long after its removal the bot welcomes a server again."""


class MembershipStore:
    """The servers that the bot is in. Every method raises StoreError where the database fails."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def joined(self, guild_id: int, now: datetime) -> None:
        """Records that the bot is in the server, perhaps again."""
        async with self._db.write() as connection:
            await guild_settings.write(connection, guild_id, _back(now))

    async def left(self, guild_id: int, now: datetime) -> None:
        """Records that the bot was removed; the first call counts."""
        async with self._db.write() as connection:
            await guild_settings.ensure(connection, guild_id)
            still_there = (guilds.c.id == guild_id) & guilds.c.left_at.is_(None)
            await connection.execute(update(guilds).where(still_there).values(left_at=now))

    async def reconcile(self, present: Collection[int], now: datetime) -> None:
        """Catches up on missed changes; `present`: all servers that the bot is in now."""
        async with self._db.write() as connection:
            known_before = or_(guilds.c.welcomed_at.is_not(None), guilds.c.left_at.is_not(None))
            if await connection.scalar(select(guilds.c.id).where(known_before).limit(1)) is None:
                await _welcome_silently(connection, present, now)
            real = guilds.c.id != OUTSIDE_SERVERS
            for row in (await connection.execute(select(guilds.c.id, guilds.c.left_at).where(real))).all():
                is_here = row.id in present
                if is_here is (row.left_at is not None):  # it left or came back unnoticed
                    columns = _back(now) if is_here else {"left_at": now}
                    await connection.execute(update(guilds).where(guilds.c.id == row.id).values(columns))

    async def to_welcome(self, present: Collection[int]) -> list[Guild]:
        """The servers in `present` that were not welcomed yet."""
        async with self._db.read() as connection:
            query = select(guilds.c.id).where(guilds.c.welcomed_at.is_not(None))
            welcomed = set(await connection.scalars(query))
            return [
                await guild_settings.get(connection, guild_id) for guild_id in present if guild_id not in welcomed
            ]

    async def welcome(self, guild_id: int, welcome: Welcome, now: datetime, *, channel_id: int | None) -> bool:
        """Queues the server's welcome, once; False if it was already welcomed.

        channel_id: None if there is no channel for it; the server then counts as welcomed.
        """
        async with self._db.write() as connection:
            await guild_settings.ensure(connection, guild_id)
            fresh = (guilds.c.id == guild_id) & guilds.c.welcomed_at.is_(None)
            marked = await connection.execute(update(guilds).where(fresh).values(welcomed_at=now))
            if marked.rowcount == 0:
                return False
            if channel_id is not None:
                await notifications.post(connection, guild_id, welcome, now, channel_id=channel_id)
            return True


async def _welcome_silently(connection: Connection, guild_ids: Collection[int], now: datetime) -> None:
    for guild_id in guild_ids:
        await guild_settings.write(connection, guild_id, {"welcomed_at": now})


def _back(now: datetime) -> dict[str, Any]:
    """The columns of a server that the bot is in again."""
    long_gone = guilds.c.left_at <= now - WELCOMED_AGAIN_AFTER
    return {"left_at": None, "welcomed_at": case((long_gone, None), else_=guilds.c.welcomed_at)}
