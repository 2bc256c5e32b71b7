"""Grants members extra videos and revokes them, inside the caller's transaction.

Every change is an entry in the ledger; their sum is what a grant has left. A job paid with a credit took it at
acceptance, so nothing here affects a job in progress. The caller has locked the operator state.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, insert, or_, select, update

from bot.domain.ledger import Amounts, Entry, EntryKind
from bot.store.engine import Connection
from bot.store.guilds import guild_settings
from bot.store.money import ledger
from bot.store.money_tables import credit_grants
from bot.store.schema import NOBODY

_BATCH = 200


@dataclass(frozen=True, slots=True)
class CreditTotals:
    """The usable credits of a server's members."""

    credits: int
    members: int


@dataclass(frozen=True, slots=True)
class Attribution:
    """Who changes credits (None: the bot), when, and why in words."""

    actor_id: int | None
    created_at: datetime
    reason: str


async def grant(
    connection: Connection,
    guild_id: int,
    user_id: int,
    number: int,
    attribution: Attribution,
    *,
    expires_at: datetime | None = None,
) -> int:
    """Grants a member `number` extra videos; returns the grant's id."""
    row = insert(credit_grants).values(
        guild_id=guild_id,
        user_id=user_id,
        credits_left=0,  # the entry adds them
        expires_at=expires_at,
        created_at=attribution.created_at,
        actor_id=attribution.actor_id,
    )
    grant_id: int = (await connection.execute(row.returning(credit_grants.c.id))).scalar_one()
    await ledger.write(connection, _entry(EntryKind.GRANT, guild_id, user_id, grant_id, number, attribution))
    return grant_id


async def revoke(
    connection: Connection, guild_id: int, user_id: int, limit: int | None, attribution: Attribution
) -> int:
    """Revokes up to `limit` usable credits (None: all), the last to expire first; returns how many."""
    theirs = (credit_grants.c.guild_id == guild_id) & (credit_grants.c.user_id == user_id)
    columns = credit_grants.c
    last_first = (columns.expires_at.is_(None).desc(), columns.expires_at.desc(), columns.id.desc())
    query = select(credit_grants).where(theirs, _usable(attribution.created_at)).order_by(*last_first)
    rows = (await connection.execute(query.with_for_update())).all()
    if limit is None:
        # So that credits which jobs return later are gone as well.
        end = update(credit_grants).where(theirs, _unexpired(attribution.created_at))
        await connection.execute(end.values(expires_at=attribution.created_at))
    taken = 0
    for row in rows:
        number = row.credits_left if limit is None else min(row.credits_left, limit - taken)
        if number > 0:
            entry = _entry(EntryKind.ADJUST, guild_id, user_id, row.id, -number, attribution)
            await ledger.write(connection, entry)
            taken += number
    return taken


async def expire(connection: Connection, now: datetime) -> int:
    """Writes off what is left of expired grants, and of erased members' grants to which a job returned a credit.

    Returns how many grants, at most one batch, since orders wait meanwhile. Locks the operator state itself.
    """
    await guild_settings.lock_operator_state(connection)
    is_over = or_(credit_grants.c.expires_at <= now, credit_grants.c.user_id == NOBODY)
    query = select(credit_grants).where(credit_grants.c.credits_left > 0, is_over).order_by(credit_grants.c.id)
    found = (await connection.execute(query.limit(_BATCH).with_for_update())).all()
    for row in found:
        attribution = Attribution(None, now, "expired")
        entry = _entry(EntryKind.ADJUST, row.guild_id, row.user_id, row.id, -row.credits_left, attribution)
        await ledger.write(connection, entry)
    return len(found)


async def write_off(
    connection: Connection, which: ColumnElement[bool], now: datetime, *, guild_id: int | None = None
) -> int:
    """Writes off and anonymises credit grants; returns how many credits were left.

    The caller has locked the operator state. guild_id: replaces the grants' own in the ledger.
    """
    query = select(credit_grants).where(which).order_by(credit_grants.c.id).with_for_update()
    found = (await connection.execute(query)).all()
    for row in found:
        if row.credits_left:
            guild = row.guild_id if guild_id is None else guild_id
            attribution = Attribution(None, now, "data deleted")
            entry = _entry(EntryKind.ADJUST, guild, NOBODY, row.id, -row.credits_left, attribution)
            await ledger.write(connection, entry)
    ids = [row.id for row in found]
    await connection.execute(update(credit_grants).where(credit_grants.c.id.in_(ids)).values(user_id=NOBODY))
    return sum(row.credits_left for row in found)


async def usable(connection: Connection, guild_id: int, user_id: int, now: datetime) -> int:
    """How many credits a member can use."""
    theirs = (credit_grants.c.guild_id == guild_id) & (credit_grants.c.user_id == user_id)
    query = select(func.sum(credit_grants.c.credits_left)).where(theirs, _usable(now))
    return await connection.scalar(query) or 0


async def credit_totals(connection: Connection, guild_id: int, now: datetime) -> CreditTotals:
    """The usable credits of all members of a server."""
    totals = select(func.sum(credit_grants.c.credits_left), func.count(credit_grants.c.user_id.distinct()))
    query = totals.where(credit_grants.c.guild_id == guild_id, _usable(now))
    credits_, members = (await connection.execute(query)).one()
    return CreditTotals(credits_ or 0, members)


def _usable(now: datetime) -> ColumnElement[bool]:
    return (credit_grants.c.credits_left > 0) & (credit_grants.c.user_id != NOBODY) & _unexpired(now)


def _unexpired(now: datetime) -> ColumnElement[bool]:
    return or_(credit_grants.c.expires_at.is_(None), credit_grants.c.expires_at > now)


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
