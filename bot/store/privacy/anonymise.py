"""Anonymises and deletes rows in batches, for erasures, retention and servers that removed the bot.

A job is anonymised once it has ended and that was announced. A ledger entry keeps its member as long as a limit
needs it, so an erasure gives nobody a fresh quota; its sums stay permanently. Each batch is found without a lock
and written in a short transaction that checks again, so concurrent or interrupted runs do no harm.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, case, delete, exists, func, not_, select, true, tuple_, update

from bot.domain.guilds import OperatorDefaults
from bot.domain.jobs import ENDED
from bot.store.engine import Connection, Database
from bot.store.jobs import extensions, pictures
from bot.store.money_tables import credit_grants, ledger
from bot.store.schema import (
    IS_ACTIVE,
    NOBODY,
    guilds,
    interaction_tokens,
    jobs,
    limit_overrides,
    status_cards,
    variations,
)

BATCH = 500
"""How many rows one transaction changes at the most."""

IS_ANNOUNCED = and_(jobs.c.state.in_(sorted(ENDED)), jobs.c.due_at.is_(None))
"""Jobs that have ended and whose end was announced: no worker holds them."""

_ANONYMOUS_JOB: dict[str, Any] = {
    "user_id": NOBODY,
    "channel_id": NOBODY,
    "prompt": "",
    "negative_prompt": None,
    "seed": None,
    "upstream_id": None,
    "upstream_urls": None,  # they contain the id
    "can_be_stopped": False,
    "result_url": None,
    "upstream_response": None,
    "failure_detail": None,
    "status_message_id": None,
    "result_message_id": None,
    "result_channel_id": None,
    "picture_name": None,
    "picture_alt_text": None,
    "approval_message_id": None,
}
"""What stays, for statistics: server, state, times, options, cost and failure reason."""

_ANONYMOUS_ENTRY: dict[str, Any] = {
    "user_id": NOBODY,
    "actor_id": None,
    # An admin's reason for granting credits is free text and may name the member.
    "reason": case((and_(ledger.c.job_id.is_(None), ledger.c.actor_id.is_not(None)), ""), else_=ledger.c.reason),
}

_IS_SETTLED = not_(exists(select(jobs.c.id).where(jobs.c.id == ledger.c.job_id, IS_ACTIVE)))
"""Entries whose job has ended and adds no more."""


_ANONYMOUS: dict[Table, dict[str, Any]] = {
    jobs: _ANONYMOUS_JOB,
    ledger: _ANONYMOUS_ENTRY,
    credit_grants: {"user_id": NOBODY, "actor_id": None},
}
_READY: dict[Table, ColumnElement[bool]] = {jobs: IS_ANNOUNCED, ledger: _IS_SETTLED, credit_grants: true()}


async def anonymise_batch(database: Database, table: Table, *where: ColumnElement[bool], **also: Any) -> int:
    """Anonymises a batch of announced jobs, settled ledger entries or credit grants; returns how many.

    also: further columns to set.
    """
    which = and_(_READY[table], *where)
    async with database.read() as connection:
        found = list(await connection.scalars(select(table.c.id).where(which).limit(BATCH)))
    if not found:
        return 0
    async with database.write() as connection:
        still = select(table.c.id).where(table.c.id.in_(found), which).order_by(table.c.id)
        # Whoever has locked a row handles it; skipping it avoids deadlocks.
        held = list(await connection.scalars(still.with_for_update(skip_locked=True)))
        await connection.execute(update(table).where(table.c.id.in_(held)).values(_ANONYMOUS[table] | also))
        if table is jobs:
            await pictures.delete_with_copies(connection, held)
            await extensions.forget(connection, held)
            # Nor does anything say any more which were one member's.
            await connection.execute(delete(variations).where(variations.c.job_id.in_(held)))
            # Left where Discord refused to remove the card of variations, or the answer.
            for left in (status_cards, interaction_tokens):
                await connection.execute(delete(left).where(left.c.job_id.in_(held)))
    return len(held)


async def delete_batch(database: Database, table: Table, which: ColumnElement[bool]) -> int:
    """Deletes a batch of rows; returns how many."""
    async with database.write() as connection:
        return await delete_batch_in(connection, table, which)


async def delete_batch_in(connection: Connection, table: Table, which: ColumnElement[bool]) -> int:
    """Like `delete_batch`, inside the caller's transaction."""
    key = tuple_(*table.primary_key.columns)
    columns = select(*table.primary_key.columns).where(which).limit(BATCH).with_for_update(skip_locked=True)
    return (await connection.execute(delete(table).where(key.in_(columns)))).rowcount


async def lookback(connection: Connection, rules: OperatorDefaults, guild_id: int) -> timedelta:
    """How far a server's limits look back: its rolling window, or its longest cooldown if that is longer."""
    of_guild = select(guilds.c.window_hours, guilds.c.cooldown_s).where(guilds.c.id == guild_id)
    hours, cooldown_s = (await connection.execute(of_guild)).one_or_none() or (None, None)
    of_overrides = select(func.max(limit_overrides.c.cooldown_s)).where(limit_overrides.c.guild_id == guild_id)
    cooldowns = [cooldown_s, await connection.scalar(of_overrides), rules.limits.cooldown_s]
    return _longest([hours or rules.window_hours], cooldowns)


async def longest_lookback(connection: Connection, rules: OperatorDefaults) -> timedelta:
    """The longest lookback of any server."""
    of_guilds = select(func.max(guilds.c.window_hours), func.max(guilds.c.cooldown_s))
    hours, cooldown_s = (await connection.execute(of_guilds)).one()
    of_overrides = await connection.scalar(select(func.max(limit_overrides.c.cooldown_s)))
    return _longest([hours, rules.window_hours], [cooldown_s, of_overrides, rules.limits.cooldown_s])


def _longest(hours: list[int | None], cooldowns_s: list[int | None]) -> timedelta:
    return timedelta(seconds=max(*(3600 * (h or 0) for h in hours), *(s or 0 for s in cooldowns_s)))
