"""Takes names off rows, in batches: what a member's deletion, retention and leaving a server have in common.

A job loses its name when it is over and told, never before. A line of the ledger keeps its member for as long
as a limit looks at it, so that nobody gets a fresh quota by having their data deleted; its sums stay for good.
Each batch is found without a lock and written in a short transaction that looks again: two processes at it, or
one that died over it, do no harm.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, case, delete, exists, func, not_, select, tuple_, update

from bot.domain.guilds import OperatorDefaults
from bot.domain.jobs import ENDED
from bot.store.engine import Connection, Database
from bot.store.schema import IS_ACTIVE, credit_grants, guilds, jobs, ledger, limit_overrides

NOBODY = 0
"""Stands where a member's id was."""

BATCH = 500
"""How many rows one transaction changes at the most."""

IS_TOLD = and_(jobs.c.state.in_(sorted(ENDED)), jobs.c.due_at.is_(None))
"""True for jobs that are over and of whose end the member was told: no worker holds them."""

_BLANK_JOB: dict[str, Any] = {
    "user_id": NOBODY,
    "channel_id": NOBODY,
    "prompt": "",
    "negative_prompt": None,
    "seed": None,
    "upstream_id": None,
    "result_url": None,
    "upstream_response": None,
    "failure_detail": None,
    "status_message_id": None,
    "result_message_id": None,
    "approval_message_id": None,
}
"""What stays: server, state, times, options, cost and why it failed, for the sums."""

_BLANK_ENTRY: dict[str, Any] = {
    "user_id": NOBODY,
    "actor_id": None,
    # Why an admin gave credits is the admin's own words, and may well name the member.
    "reason": case((and_(ledger.c.job_id.is_(None), ledger.c.actor_id.is_not(None)), ""), else_=ledger.c.reason),
}

_IS_SETTLED = not_(exists(select(jobs.c.id).where(jobs.c.id == ledger.c.job_id, IS_ACTIVE)))
"""True for lines of the ledger whose job writes no more."""


async def anonymise_jobs(database: Database, which: ColumnElement[bool], **also: Any) -> int:
    """Anonymises a batch of those jobs that are told; how many. also: further columns to set."""
    return await _blank(database, jobs, and_(IS_TOLD, which), _BLANK_JOB | also)


async def anonymise_entries(database: Database, which: ColumnElement[bool], **also: Any) -> int:
    """Takes the names off a batch of those lines of the ledger that are settled; how many."""
    return await _blank(database, ledger, and_(_IS_SETTLED, which), _BLANK_ENTRY | also)


async def anonymise_grants(database: Database, which: ColumnElement[bool], **also: Any) -> int:
    """Takes the names off a batch of grants; how many."""
    return await _blank(database, credit_grants, which, {"user_id": NOBODY, "actor_id": None} | also)


async def _blank(database: Database, table: Table, which: ColumnElement[bool], columns: dict[str, Any]) -> int:
    async with database.read() as connection:
        found = list((await connection.execute(select(table.c.id).where(which).limit(BATCH))).scalars())
    if not found:
        return 0
    async with database.write() as connection:
        still = select(table.c.id).where(table.c.id.in_(found), which).order_by(table.c.id)
        # Whoever else is at it now takes what is locked along; nobody waits in a ring.
        held = list((await connection.execute(still.with_for_update(skip_locked=True))).scalars())
        await connection.execute(update(table).where(table.c.id.in_(held)).values(columns))
    return len(held)


async def drop(database: Database, table: Table, which: ColumnElement[bool]) -> int:
    """Deletes a batch of rows; how many."""
    async with database.write() as connection:
        return await drop_in(connection, table, which)


async def drop_in(connection: Connection, table: Table, which: ColumnElement[bool]) -> int:
    """As `drop`, inside of the caller's transaction."""
    key = tuple_(*table.primary_key.columns)
    columns = select(*table.primary_key.columns).where(which).limit(BATCH).with_for_update(skip_locked=True)
    return (await connection.execute(delete(table).where(key.in_(columns)))).rowcount


async def held_for(connection: Connection, rules: OperatorDefaults, guild_id: int) -> timedelta:
    """How long a server's limits look back: its rolling window, or the longest pause where that is longer."""
    of_guild = select(guilds.c.window_hours, guilds.c.cooldown_s).where(guilds.c.id == guild_id)
    row = (await connection.execute(of_guild)).one_or_none()
    hours = None if row is None else row.window_hours
    pause_s = None if row is None else row.cooldown_s
    of_tiers = select(func.max(limit_overrides.c.cooldown_s)).where(limit_overrides.c.guild_id == guild_id)
    pauses = [pause_s, (await connection.execute(of_tiers)).scalar_one(), rules.limits.cooldown_s]
    return _longest([hours or rules.window_hours], pauses)


async def held_anywhere_for(connection: Connection, rules: OperatorDefaults) -> timedelta:
    """The longest that any server's limits look back."""
    of_guilds = select(func.max(guilds.c.window_hours), func.max(guilds.c.cooldown_s))
    hours, pause_s = (await connection.execute(of_guilds)).one()
    of_tiers = (await connection.execute(select(func.max(limit_overrides.c.cooldown_s)))).scalar_one()
    return _longest([hours, rules.window_hours], [pause_s, of_tiers, rules.limits.cooldown_s])


def _longest(hours: list[int | None], pauses_s: list[int | None]) -> timedelta:
    spans = [timedelta(hours=it or 0) for it in hours] + [timedelta(seconds=it or 0) for it in pauses_s]
    return max(spans)
