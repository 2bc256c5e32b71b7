"""In which servers the bot is a guest: since when they were welcomed, when it left.

A welcome is marked in the transaction that has it told, so it is neither forgotten nor told twice. A server that
comes back after a day or more is welcomed again; sooner it is not, lest inviting and removing in turn writes to
somebody each time. What is erased after leaving is decided elsewhere.
"""

from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import case, select, update

from bot.domain.guilds import Guild
from bot.domain.notifications import Welcome
from bot.store.engine import Database
from bot.store.guilds import guild_settings as settings
from bot.store.outbox import notifications
from bot.store.schema import guilds

WELCOMED_AGAIN_AFTER = timedelta(days=1)
"""How long a server has been left when it is welcomed once more."""


class MembershipStore:
    """Servers, as guests see them. Every method raises StoreError where the database fails."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def joined(self, guild_id: int, now: datetime) -> None:
        """The bot is in the server, maybe again."""
        async with self._db.write() as connection:
            await settings.ensure(connection, guild_id)
            await connection.execute(update(guilds).where(guilds.c.id == guild_id).values(_back(now)))

    async def left(self, guild_id: int, now: datetime) -> None:
        """The bot was removed from the server; the first such word counts."""
        async with self._db.write() as connection:
            await settings.ensure(connection, guild_id)
            still_there = (guilds.c.id == guild_id) & guilds.c.left_at.is_(None)
            await connection.execute(update(guilds).where(still_there).values(left_at=now))

    async def reconcile(self, present: Collection[int], now: datetime) -> None:
        """Makes good what was missed: `present` are all servers that the bot is in at this moment."""
        async with self._db.write() as connection:
            rows = await connection.execute(select(guilds.c.id, guilds.c.left_at))
            known = {row.id: row.left_at for row in rows}
            gone = [guild_id for guild_id, left_at in known.items() if left_at is None and guild_id not in present]
            back = [guild_id for guild_id, left_at in known.items() if left_at is not None and guild_id in present]
            for guild_id in gone:
                await connection.execute(update(guilds).where(guilds.c.id == guild_id).values(left_at=now))
            for guild_id in back:
                await connection.execute(update(guilds).where(guilds.c.id == guild_id).values(_back(now)))

    async def to_welcome(self, present: Collection[int]) -> list[Guild]:
        """Those of the servers that were not welcomed yet."""
        async with self._db.read() as connection:
            query = select(guilds.c.id).where(guilds.c.welcomed_at.is_not(None))
            welcomed = set((await connection.execute(query)).scalars())
            return [await settings.get(connection, guild_id) for guild_id in present if guild_id not in welcomed]

    async def welcome(self, guild_id: int, welcome: Welcome, now: datetime, *, channel_id: int | None) -> bool:
        """Has the server welcomed in that channel, once; False where it was already.

        channel_id: None where there is no place to tell it; the server counts as welcomed all the same.
        """
        async with self._db.write() as connection:
            await settings.ensure(connection, guild_id)
            fresh = (guilds.c.id == guild_id) & guilds.c.welcomed_at.is_(None)
            marked = await connection.execute(update(guilds).where(fresh).values(welcomed_at=now))
            if marked.rowcount == 0:
                return False
            if channel_id is not None:
                await notifications.post(connection, guild_id, welcome, now, channel_id=channel_id)
            return True


def _back(now: datetime) -> dict[str, Any]:
    """The columns of a server that the bot is in again."""
    long_gone = guilds.c.left_at <= now - WELCOMED_AGAIN_AFTER
    return {"left_at": None, "welcomed_at": case((long_gone, None), else_=guilds.c.welcomed_at)}
