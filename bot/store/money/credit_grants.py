"""Gives members extra videos and takes them back, inside of the caller's transaction.

What is left of a grant is what its entries in the ledger come to: every change here is such an entry. A job that
is paid with a credit took it when it was let in, so nothing here takes what a running job holds. The caller holds
the house's row.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.ledger import Entry, EntryKind, Sums
from bot.store.guilds import guild_settings
from bot.store.money import ledger
from bot.store.schema import credit_grants

ERASED = 0
"""Whose grants they are that nobody's are any more."""

_BATCH = 200


@dataclass(frozen=True, slots=True)
class Holding:
    """What a server's members have in credits that can be used."""

    credits: int
    members: int


@dataclass(frozen=True, slots=True)
class Giver:
    """Who gives or takes, when, and why in words."""

    actor_id: int
    created_at: datetime
    reason: str


async def give(
    connection: AsyncConnection,
    guild_id: int,
    user_id: int,
    number: int,
    giver: Giver,
    *,
    expires_at: datetime | None = None,
) -> int:
    """Grants a member `number` extra videos; the grant's id."""
    made = await connection.execute(
        insert(credit_grants)
        .values(
            guild_id=guild_id,
            user_id=user_id,
            credits_left=0,  # the entry fills it
            expires_at=expires_at,
            created_at=giver.created_at,
            actor_id=giver.actor_id,
        )
        .returning(credit_grants.c.id)
    )
    grant_id: int = made.scalar_one()
    await ledger.write(connection, _entry(EntryKind.GRANT, guild_id, user_id, grant_id, number, giver))
    return grant_id


async def take(connection: AsyncConnection, guild_id: int, user_id: int, most: int | None, giver: Giver) -> int:
    """Takes up to `most` usable credits back (None: all), those that last longest first; how many were taken."""
    theirs = (credit_grants.c.guild_id == guild_id) & (credit_grants.c.user_id == user_id)
    found = await connection.execute(
        select(credit_grants)
        .where(theirs, _usable(giver.created_at))
        .order_by(
            credit_grants.c.expires_at.is_(None).desc(),
            credit_grants.c.expires_at.desc(),
            credit_grants.c.id.desc(),
        )
        .with_for_update()
    )
    rows = found.all()
    if most is None:
        # What a job holds and gives back later goes as well.
        open_ended = theirs & or_(
            credit_grants.c.expires_at.is_(None), credit_grants.c.expires_at > giver.created_at
        )
        await connection.execute(update(credit_grants).where(open_ended).values(expires_at=giver.created_at))
    taken = 0
    for row in rows:
        number = row.credits_left if most is None else min(row.credits_left, most - taken)
        if number > 0:
            entry = _entry(EntryKind.ADJUST, guild_id, user_id, row.id, -number, giver)
            await ledger.write(connection, entry)
            taken += number
    return taken


async def expire(connection: AsyncConnection, now: datetime) -> int:
    """Writes off what is left of grants that ran out, and of erased members' to whom a job gave one back.

    How many grants: a batch at the most, since orders wait meanwhile. Takes the house's row by itself.
    """
    await guild_settings.lock(connection)
    rows = await connection.execute(
        select(credit_grants)
        .where(
            credit_grants.c.credits_left > 0,
            or_(credit_grants.c.expires_at <= now, credit_grants.c.user_id == ERASED),
        )
        .order_by(credit_grants.c.id)
        .limit(_BATCH)
        .with_for_update()
    )
    found = rows.all()
    for row in found:
        sums = Sums(credits=-row.credits_left)
        await ledger.write(
            connection,
            Entry(EntryKind.ADJUST, row.guild_id, row.user_id, now, now, sums, "expired", credit_grant_id=row.id),
        )
    return len(found)


async def usable(connection: AsyncConnection, guild_id: int, user_id: int, now: datetime) -> int:
    """How many credits a member can use."""
    theirs = (credit_grants.c.guild_id == guild_id) & (credit_grants.c.user_id == user_id)
    query = select(func.coalesce(func.sum(credit_grants.c.credits_left), 0)).where(theirs, _usable(now))
    return int((await connection.execute(query)).scalar_one())


async def holding(connection: AsyncConnection, guild_id: int, now: datetime) -> Holding:
    """What all members of a server can use."""
    query = select(
        func.coalesce(func.sum(credit_grants.c.credits_left), 0).label("credits"),
        func.count(credit_grants.c.user_id.distinct()).label("members"),
    ).where(credit_grants.c.guild_id == guild_id, _usable(now))
    row = (await connection.execute(query)).one()
    return Holding(int(row.credits), row.members)


def _usable(now: datetime) -> ColumnElement[bool]:
    lasts = or_(credit_grants.c.expires_at.is_(None), credit_grants.c.expires_at > now)
    return (credit_grants.c.credits_left > 0) & (credit_grants.c.user_id != ERASED) & lasts


def _entry(kind: EntryKind, guild_id: int, user_id: int, grant_id: int, number: int, giver: Giver) -> Entry:
    return Entry(
        kind=kind,
        guild_id=guild_id,
        user_id=user_id,
        created_at=giver.created_at,
        effective_at=giver.created_at,
        sums=Sums(credits=number),
        reason=giver.reason,
        credit_grant_id=grant_id,
        actor_id=giver.actor_id,
    )
