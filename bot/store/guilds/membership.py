"""Tracks which servers the bot is in, and which were welcomed.

A welcome is marked in the transaction that queues it, so it is sent exactly once. A server that comes back after a
day is welcomed again; sooner it is not, so that inviting and removing the bot in turn sends no messages. Servers
that are there when a new database meets Discord for the first time count as welcomed: the bot is not new to them.

A process only knows the servers of its own shards, and only judges those. The number of shards may change: what
was recorded of any shards holds for all servers that they had.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, select, update

from bot.domain.guilds import OUTSIDE_SERVERS, Access, Guild, GuildSettings
from bot.domain.notifications import Welcome
from bot.domain.shards import Shard, covers
from bot.store.engine import Connection, Database
from bot.store.guilds import guild_settings
from bot.store.outbox import notifications
from bot.store.schema import guilds, listed_shards
from bot.store.upserts import insert_of

WELCOMED_AGAIN_AFTER = timedelta(days=1)
"""How long after its removal the bot welcomes a server again."""

_SHARD_STEP = 1 << 22
"""Ids that differ by less have the same shard; PostgreSQL shifts a bigint by integers only."""

_BATCH = 500
"""How many servers one statement names."""


@dataclass(frozen=True, slots=True)
class Description:
    """How a server is called, and its system channel, if the bot can post there."""

    name: str
    system_channel_id: int | None


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

    async def reconcile(self, shard: Shard, present: Collection[int], now: datetime) -> frozenset[int]:
        """Catches up on missed changes; `present`: all servers of the shard that the bot is in now.

        Returns those that weren't welcomed yet.
        """
        async with self._db.write() as connection:
            rows = await connection.execute(select(listed_shards.c.id, listed_shards.c["count"]))
            listed = [Shard(id_, count) for id_, count in rows]
            columns = (guilds.c.id, guilds.c.left_at, guilds.c.welcomed_at)
            known = {row.id: row for row in await connection.execute(select(*columns).where(_in_shard(shard)))}
            came = [id_ for id_ in present if id_ in known and known[id_].left_at is not None]
            went = [id_ for id_, row in known.items() if id_ not in present and row.left_at is None]
            # Servers that no earlier start could have seen are not new to the bot, but the database is.
            first_seen = [id_ for id_ in present if not covers(listed, id_) and not _is_welcomed(known.get(id_))]
            await _create(connection, [id_ for id_ in first_seen if id_ not in known])
            changes: list[tuple[list[int], dict[str, Any]]] = [
                (came, _back(now)),
                (went, {"left_at": now}),
                (first_seen, {"welcomed_at": now}),
            ]
            for ids, values in changes:
                for some in _batches(ids):
                    await connection.execute(update(guilds).where(guilds.c.id.in_(some)).values(values))
            if shard not in listed:
                row = {"count": shard.count, "id": shard.id, "listed_at": now}
                await connection.execute(insert_of(connection, listed_shards).values(row).on_conflict_do_nothing())
            welcomed = select(guilds.c.id).where(_in_shard(shard), guilds.c.welcomed_at.is_not(None))
            return frozenset(present) - set(await connection.scalars(welcomed))

    async def unwelcomed(self, guild_id: int) -> Guild | None:
        """The server, if it was not welcomed yet."""
        async with self._db.read() as connection:
            guild = await guild_settings.get(connection, guild_id)
        return guild if guild.welcomed_at is None else None

    async def describe(self, found: Mapping[int, Description]) -> None:
        """Records what servers are called and where announcements can be posted, where that changed."""
        for ids in _batches(found):
            async with self._db.write() as connection:
                columns = (guilds.c.id, guilds.c.name, guilds.c.system_channel_id)
                rows = (await connection.execute(select(*columns).where(guilds.c.id.in_(ids)))).all()
                known = {row.id: Description(row.name, row.system_channel_id) for row in rows}
                await _create(connection, [id_ for id_ in ids if id_ not in known])
                changed = [
                    {"of": id_, "called": found[id_].name, "channel": found[id_].system_channel_id}
                    for id_ in ids
                    if known.get(id_) != found[id_]
                ]
                if changed:
                    changing = update(guilds).where(guilds.c.id == bindparam("of"))
                    changing = changing.values(name=bindparam("called"), system_channel_id=bindparam("channel"))
                    await connection.execute(changing, changed)

    async def descriptions(self) -> dict[int, Description]:
        """What the servers that the bot is in are called, in all processes' shards."""
        async with self._db.read() as connection:
            columns = (guilds.c.id, guilds.c.name, guilds.c.system_channel_id)
            described = guilds.c.left_at.is_(None) & guilds.c.name.is_not(None)
            rows = (await connection.execute(select(*columns).where(described).order_by(guilds.c.id))).all()
            return {row.id: Description(row.name, row.system_channel_id) for row in rows}

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


def _in_shard(shard: Shard) -> ColumnElement[bool]:
    """The rows of a shard's servers; see `bot.domain.shards.shard_of`."""
    return (guilds.c.id != OUTSIDE_SERVERS) & (guilds.c.id // _SHARD_STEP % shard.count == shard.id)


def _batches(guild_ids: Iterable[int]) -> Iterator[list[int]]:
    remaining = iter(guild_ids)
    while some := list(islice(remaining, _BATCH)):
        yield some


def _is_welcomed(row: Any) -> bool:
    return row is not None and row.welcomed_at is not None


async def _create(connection: Connection, guild_ids: Collection[int]) -> None:
    """Creates rows with the default settings."""
    row = guild_settings.settings_columns(GuildSettings()) | {"access": Access.OPEN}
    for ids in _batches(guild_ids):
        rows = [row | {"id": id_} for id_ in ids]
        await connection.execute(insert_of(connection, guilds).on_conflict_do_nothing(), rows)


def _back(now: datetime) -> dict[str, Any]:
    """The columns of a server that the bot is in again."""
    long_gone = guilds.c.left_at <= now - WELCOMED_AGAIN_AFTER
    return {"left_at": None, "welcomed_at": case((long_gone, None), else_=guilds.c.welcomed_at)}
