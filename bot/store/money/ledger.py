"""Writes the ledger and its sums, inside the caller's transaction.

Entries are never changed or deleted: another entry corrects a mistake. Known costs update the expected price.
"""

from dataclasses import asdict
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import exists, func, insert, not_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.jobs import FailureReason, Job, JobState, Resolution
from bot.domain.ledger import (
    ZERO,
    Amounts,
    Entry,
    EntryKind,
    entries_for,
    entry_reason,
    expected_balances,
    rounded_up,
    utc_day,
)
from bot.domain.limits import Credit, usable
from bot.domain.quotas import Spent
from bot.store.engine import insert_of
from bot.store.schema import EVERYWHERE, credit_grants, daily_totals, jobs, ledger, prices

PRICE_OVER = 20
"""How many tasks the moving average of the price covers."""

PRICE_FROM = 3
"""How many tasks must have a cost before their average is used."""

PRICE_SPAN = 5
"""The largest factor between the configured and the learned price."""


async def write(connection: AsyncConnection, entry: Entry) -> None:
    """Adds an entry and updates the sums."""
    columns = asdict(entry)
    amounts = columns.pop("amounts")
    await connection.execute(insert(ledger).values(columns | amounts))
    if entry.amounts.videos or entry.amounts.usd:
        for guild_id in sorted({EVERYWHERE, entry.guild_id}):
            await _add_to_total(connection, guild_id, utc_day(entry.effective_at), entry.amounts)
    if entry.credit_grant_id is not None and entry.amounts.credits:
        left = credit_grants.c.credits_left + entry.amounts.credits
        await connection.execute(
            update(credit_grants).where(credit_grants.c.id == entry.credit_grant_id).values(credits_left=left)
        )


async def _add_to_total(connection: AsyncConnection, guild_id: int, day: date, amounts: Amounts) -> None:
    row = {"guild_id": guild_id, "day": day, "videos": amounts.videos, "usd": amounts.usd}
    await connection.execute(
        insert_of(connection, daily_totals)
        .values(row)
        .on_conflict_do_update(
            index_elements=["guild_id", "day"],
            set_={"videos": daily_totals.c.videos + amounts.videos, "usd": daily_totals.c.usd + amounts.usd},
        )
    )


async def balance(connection: AsyncConnection, job_id: str) -> Amounts:
    """The sum of a job's entries."""
    row = (
        await connection.execute(
            select(
                func.sum(ledger.c.videos).label("videos"),
                func.sum(ledger.c.credits).label("credits"),
                func.sum(ledger.c.usd).label("usd"),
            ).where(ledger.c.job_id == job_id)
        )
    ).one()
    return ZERO if row.videos is None else Amounts(int(row.videos), int(row.credits), row.usd)


async def settle(connection: AsyncConnection, job: Job, now: datetime, *, by: int | None = None) -> None:
    """Adds the entries that bring a job's balance to what is due now; none if it already is."""
    estimate = job.estimated_cost_usd or Decimal(0)
    due = expected_balances(job, estimate, with_credit=job.credit_grant_id is not None)
    for kind, amounts in entries_for(job, due - await balance(connection, job.id)):
        await write(
            connection,
            Entry(
                kind=kind,
                guild_id=job.guild_id,
                user_id=job.user_id,
                created_at=now,
                effective_at=job.created_at,
                amounts=amounts,
                reason=entry_reason(job, kind),
                job_id=job.id,
                credit_grant_id=job.credit_grant_id,
                actor_id=by,
            ),
        )


async def learn_price(connection: AsyncConnection, resolution: Resolution, cost: Decimal) -> None:
    """Adds a task's cost to the moving average."""
    row = (
        await connection.execute(select(prices).where(prices.c.resolution == resolution).with_for_update())
    ).one_or_none()
    tasks = 0 if row is None else min(row.task_count, PRICE_OVER - 1)
    before = Decimal(0) if row is None else row.average_usd
    values = {"average_usd": rounded_up((before * tasks + cost) / (tasks + 1)), "task_count": tasks + 1}
    await connection.execute(
        insert_of(connection, prices)
        .values({"resolution": resolution, **values})
        .on_conflict_do_update(index_elements=["resolution"], set_=values)
    )


async def expected_price(connection: AsyncConnection, resolution: Resolution, otherwise: Decimal) -> Decimal:
    """The expected cost of a video: the average of the last ones, or `otherwise` while too few are known.

    Within a factor of `PRICE_SPAN` of `otherwise`: one odd cost must not close the bot, nor a series of free ones
    open its budgets, because nothing would ever correct that.
    """
    row = (await connection.execute(select(prices).where(prices.c.resolution == resolution))).one_or_none()
    expected = rounded_up(otherwise)
    if row is None or row.task_count < PRICE_FROM:
        return expected
    learned: Decimal = row.average_usd
    return min(max(learned, rounded_up(expected / PRICE_SPAN)), expected * PRICE_SPAN) if expected else learned


async def spent(connection: AsyncConnection, guild_id: int, now: datetime) -> Spent:
    """What a server (0: all) has spent today and this month, reservations included."""
    today = utc_day(now)
    first, after = today.replace(day=1), (today.replace(day=28) + timedelta(days=4)).replace(day=1)
    rows = await connection.execute(
        select(daily_totals).where(
            daily_totals.c.guild_id == guild_id, daily_totals.c.day >= first, daily_totals.c.day < after
        )
    )
    found = {row.day: row for row in rows}
    of_today = found.get(today)
    return Spent(
        videos_today=0 if of_today is None else of_today.videos,
        usd_today=Decimal(0) if of_today is None else of_today.usd,
        usd_month=sum((row.usd for row in found.values()), Decimal(0)),
    )


async def charged_at(
    connection: AsyncConnection, guild_id: int, user_id: int, now: datetime, window: timedelta
) -> tuple[datetime, ...]:
    """When each video that counts in the member's window was requested, oldest first."""
    rows = await connection.execute(
        select(ledger.c.effective_at)
        .where(
            ledger.c.guild_id == guild_id,
            ledger.c.user_id == user_id,
            ledger.c.effective_at > now - window,
            ledger.c.credit_grant_id.is_(None),
        )
        .group_by(ledger.c.job_id, ledger.c.effective_at)
        .having(func.sum(ledger.c.videos) > 0)
        .order_by(ledger.c.effective_at)
    )
    return tuple(rows.scalars())


async def undelivered_at(
    connection: AsyncConnection, guild_id: int, user_id: int, now: datetime, window: timedelta
) -> tuple[datetime, ...]:
    """When each of the member's videos in the window that was made but never posted was requested, oldest first.

    By the ledger, which keeps the member's id after an erasure for as long as a limit needs it.
    """
    rows = await connection.execute(
        select(ledger.c.effective_at)
        .join(jobs, jobs.c.id == ledger.c.job_id)
        .where(
            ledger.c.guild_id == guild_id,
            ledger.c.user_id == user_id,
            ledger.c.effective_at > now - window,
            # The entry of its acceptance; a resumed job's later one has no video.
            ledger.c.kind == EntryKind.RESERVE,
            ledger.c.videos > 0,
            jobs.c.failure_reason == FailureReason.UNDELIVERABLE,
            jobs.c.submitted_at.is_not(None),
        )
        .order_by(ledger.c.effective_at)
    )
    return tuple(rows.scalars())


async def last_accepted_at(connection: AsyncConnection, guild_id: int, user_id: int) -> datetime | None:
    """When the member's last accepted request that did not fail came in; failures cause no cooldown."""
    returned = ledger.alias()
    failed = exists().where(
        returned.c.job_id == ledger.c.job_id,
        returned.c.kind == EntryKind.RETURN,
        returned.c.reason.startswith(f"{JobState.FAILED}:"),
    )
    # From the end of the index, instead of a maximum over all of the member's entries.
    query = (
        select(ledger.c.effective_at)
        .where(
            ledger.c.guild_id == guild_id,
            ledger.c.user_id == user_id,
            ledger.c.kind == EntryKind.RESERVE,
            not_(failed),
        )
        .order_by(ledger.c.effective_at.desc())
        .limit(1)
    )
    last: datetime | None = (await connection.execute(query)).scalar_one_or_none()
    return last


async def credits_of(
    connection: AsyncConnection, guild_id: int, user_id: int, now: datetime
) -> tuple[Credit, ...]:
    """The member's usable credit grants, the first to expire first."""
    rows = await connection.execute(
        select(credit_grants).where(
            credit_grants.c.guild_id == guild_id,
            credit_grants.c.user_id == user_id,
            credit_grants.c.credits_left > 0,
        )
    )
    return usable((Credit(row.id, row.credits_left, row.expires_at) for row in rows), now)
