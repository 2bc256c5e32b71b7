"""Grants members extra videos and revokes them, inside the caller's transaction.

Every change is an entry in the ledger; their sum is what a grant has left. A job paid with a credit took it at
acceptance, so nothing here affects a job in progress. The caller has locked the operator state.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, insert, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.ledger import Amounts, Entry, EntryKind
from bot.store.guilds import guild_settings
from bot.store.money import ledger
from bot.store.schema import NOBODY, credit_grants

_BATCH = 200


@dataclass(frozen=True, slots=True)
class CreditTotals:
    """The usable credits of a server's members."""

    credits: int
    members: int


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who changes credits, when, and why in words."""

    actor_id: int
    created_at: datetime
    reason: str


async def grant(
    connection: AsyncConnection,
    guild_id: int,
    user_id: int,
    number: int,
    attribution: Attribution,
    *,
    expires_at: datetime | None = None,
) -> int:
    """Grants a member `number` extra videos; returns the grant's id."""
    made = await connection.execute(
        insert(credit_grants)
        .values(
            guild_id=guild_id,
            user_id=user_id,
            credits_left=0,  # the entry fills it
            expires_at=expires_at,
            created_at=attribution.created_at,
            actor_id=attribution.actor_id,
        )
        .returning(credit_grants.c.id)
    )
    grant_id: int = made.scalar_one()
    await ledger.write(connection, _entry(EntryKind.GRANT, guild_id, user_id, grant_id, number, attribution))
    return grant_id


async def revoke(
    connection: AsyncConnection, guild_id: int, user_id: int, limit: int | None, attribution: Attribution
) -> int:
    """Revokes up to `limit` usable credits (None: all), the last to expire first; returns how many."""
    theirs = (credit_grants.c.guild_id == guild_id) & (credit_grants.c.user_id == user_id)
    found = await connection.execute(
        select(credit_grants)
        .where(theirs, _usable(attribution.created_at))
        .order_by(
            credit_grants.c.expires_at.is_(None).desc(),
            credit_grants.c.expires_at.desc(),
            credit_grants.c.id.desc(),
        )
        .with_for_update()
    )
    rows = found.all()
    if limit is None:
        # So that credits which jobs return later are gone as well.
        open_ended = theirs & or_(
            credit_grants.c.expires_at.is_(None), credit_grants.c.expires_at > attribution.created_at
        )
        await connection.execute(update(credit_grants).where(open_ended).values(expires_at=attribution.created_at))
    taken = 0
    for row in rows:
        number = row.credits_left if limit is None else min(row.credits_left, limit - taken)
        if number > 0:
            entry = _entry(EntryKind.ADJUST, guild_id, user_id, row.id, -number, attribution)
            await ledger.write(connection, entry)
            taken += number
    return taken


async def expire(connection: AsyncConnection, now: datetime) -> int:
    """Writes off what is left of expired grants, and of erased members' grants to which a job returned a credit.

    Returns how many grants, at most one batch, since orders wait meanwhile. Locks the operator state itself.
    """
    await guild_settings.lock_operator_state(connection)
    rows = await connection.execute(
        select(credit_grants)
        .where(
            credit_grants.c.credits_left > 0,
            or_(credit_grants.c.expires_at <= now, credit_grants.c.user_id == NOBODY),
        )
        .order_by(credit_grants.c.id)
        .limit(_BATCH)
        .with_for_update()
    )
    found = rows.all()
    for row in found:
        left = Amounts(credits=-row.credits_left)
        await ledger.write(
            connection,
            Entry(EntryKind.ADJUST, row.guild_id, row.user_id, now, now, left, "expired", credit_grant_id=row.id),
        )
    return len(found)


async def usable(connection: AsyncConnection, guild_id: int, user_id: int, now: datetime) -> int:
    """How many credits a member can use."""
    theirs = (credit_grants.c.guild_id == guild_id) & (credit_grants.c.user_id == user_id)
    query = select(func.coalesce(func.sum(credit_grants.c.credits_left), 0)).where(theirs, _usable(now))
    return int((await connection.execute(query)).scalar_one())


async def credit_totals(connection: AsyncConnection, guild_id: int, now: datetime) -> CreditTotals:
    """The usable credits of all members of a server."""
    query = select(
        func.coalesce(func.sum(credit_grants.c.credits_left), 0).label("credits"),
        func.count(credit_grants.c.user_id.distinct()).label("members"),
    ).where(credit_grants.c.guild_id == guild_id, _usable(now))
    row = (await connection.execute(query)).one()
    return CreditTotals(int(row.credits), row.members)


def _usable(now: datetime) -> ColumnElement[bool]:
    lasts = or_(credit_grants.c.expires_at.is_(None), credit_grants.c.expires_at > now)
    return (credit_grants.c.credits_left > 0) & (credit_grants.c.user_id != NOBODY) & lasts


def _entry(
    kind: EntryKind, guild_id: int, user_id: int, grant_id: int, number: int, attribution: Attribution
) -> Entry:
    return Entry(
        kind=kind,
        guild_id=guild_id,
        user_id=user_id,
        created_at=attribution.created_at,
        effective_at=attribution.created_at,
        amounts=Amounts(credits=number),
        reason=attribution.reason,
        credit_grant_id=grant_id,
        actor_id=attribution.actor_id,
    )
