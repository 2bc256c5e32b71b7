"""Writes the ledger, and the sums beside it, in the transaction of what it explains.

Functions work inside the caller's transaction. Nothing here is ever changed or taken back: a mistake is made
good by an entry. Costs that become known teach the price of the next.
"""

from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import exists, func, insert, not_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.jobs import FailureReason, Job, JobState, Resolution
from bot.domain.ledger import NOTHING, Entry, EntryKind, Sums, day_of, expected_balances, split, whole, why
from bot.domain.limits import Credit, usable
from bot.domain.quotas import Spent
from bot.store.engine import insert_of
from bot.store.schema import EVERYWHERE, credit_grants, daily_totals, jobs, ledger, prices

PRICE_OVER = 20
"""How many tasks the learned price is the average of."""

PRICE_FROM = 3
"""How many tasks must have cost something before what they cost is believed."""

PRICE_SPAN = 5
"""How many times more or less than was set the learned price may be."""


async def write(connection: AsyncConnection, entry: Entry) -> None:
    """Adds an entry, and what it changes to the sums."""
    await connection.execute(
        insert(ledger).values(
            kind=entry.kind,
            guild_id=entry.guild_id,
            user_id=entry.user_id,
            job_id=entry.job_id,
            credit_grant_id=entry.credit_grant_id,
            created_at=entry.created_at,
            effective_at=entry.effective_at,
            videos=entry.sums.videos,
            credits=entry.sums.credits,
            usd=entry.sums.usd,
            actor_id=entry.actor_id,
            reason=entry.reason,
        )
    )
    if entry.sums.videos or entry.sums.usd:
        for guild_id in sorted({EVERYWHERE, entry.guild_id}):
            await _add_to_total(connection, guild_id, day_of(entry.effective_at), entry.sums)
    if entry.credit_grant_id is not None and entry.sums.credits:
        left = credit_grants.c.credits_left + entry.sums.credits
        await connection.execute(
            update(credit_grants).where(credit_grants.c.id == entry.credit_grant_id).values(credits_left=left)
        )


async def _add_to_total(connection: AsyncConnection, guild_id: int, day: date, sums: Sums) -> None:
    row = {"guild_id": guild_id, "day": day, "videos": sums.videos, "usd": sums.usd}
    await connection.execute(
        insert_of(connection, daily_totals)
        .values(row)
        .on_conflict_do_update(
            index_elements=["guild_id", "day"],
            set_={"videos": daily_totals.c.videos + sums.videos, "usd": daily_totals.c.usd + sums.usd},
        )
    )


async def balance(connection: AsyncConnection, job_id: str) -> Sums:
    """What a job's entries come to."""
    row = (
        await connection.execute(
            select(
                func.sum(ledger.c.videos).label("videos"),
                func.sum(ledger.c.credits).label("credits"),
                func.sum(ledger.c.usd).label("usd"),
            ).where(ledger.c.job_id == job_id)
        )
    ).one()
    return NOTHING if row.videos is None else Sums(int(row.videos), int(row.credits), row.usd)


async def settle(connection: AsyncConnection, job: Job, now: datetime, *, by: int | None = None) -> None:
    """Brings what the ledger says of a job to what is true of it now. Writes nothing where it is already."""
    estimate = job.estimated_cost_usd or Decimal(0)
    due = expected_balances(job, estimate, with_credit=job.credit_grant_id is not None)
    for kind, sums in split(job, due - await balance(connection, job.id)):
        await write(
            connection,
            Entry(
                kind=kind,
                guild_id=job.guild_id,
                user_id=job.user_id,
                created_at=now,
                effective_at=job.created_at,
                sums=sums,
                reason=why(job, kind),
                job_id=job.id,
                credit_grant_id=job.credit_grant_id,
                actor_id=by,
            ),
        )


async def learn(connection: AsyncConnection, resolution: Resolution, cost: Decimal) -> None:
    """Takes what a task cost into the price of the next."""
    row = (
        await connection.execute(select(prices).where(prices.c.resolution == resolution).with_for_update())
    ).one_or_none()
    tasks = 0 if row is None else min(row.task_count, PRICE_OVER - 1)
    before = Decimal(0) if row is None else row.average_usd
    values = {"average_usd": whole((before * tasks + cost) / (tasks + 1)), "task_count": tasks + 1}
    await connection.execute(
        insert_of(connection, prices)
        .values({"resolution": resolution, **values})
        .on_conflict_do_update(index_elements=["resolution"], set_=values)
    )


async def price(connection: AsyncConnection, resolution: Resolution, otherwise: Decimal) -> Decimal:
    """What a video is expected to cost: as the last ones did, or `otherwise` while too few are known.

    Never further from `otherwise` than `PRICE_SPAN` times: one odd cost must not close the bot, nor a row of
    free ones open its budgets, since nothing would ever correct it.
    """
    row = (await connection.execute(select(prices).where(prices.c.resolution == resolution))).one_or_none()
    expected = whole(otherwise)
    if row is None or row.task_count < PRICE_FROM:
        return expected
    learned: Decimal = row.average_usd
    return min(max(learned, whole(expected / PRICE_SPAN)), expected * PRICE_SPAN) if expected else learned


async def spent(connection: AsyncConnection, guild_id: int, now: datetime) -> Spent:
    """What a server (0: all) has accepted today and this month."""
    today = day_of(now)
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


async def counted(
    connection: AsyncConnection, guild_id: int, user_id: int, now: datetime, window: timedelta
) -> tuple[datetime, ...]:
    """When each video that stands in the member's window was asked for, oldest first."""
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


async def wasted(
    connection: AsyncConnection, guild_id: int, user_id: int, now: datetime, window: timedelta
) -> tuple[datetime, ...]:
    """When each of the member's videos of the window was asked for that was made and never posted, oldest first.

    By the ledger, which keeps its member through a deletion of data for as long as a limit looks at it.
    """
    rows = await connection.execute(
        select(ledger.c.effective_at)
        .join(jobs, jobs.c.id == ledger.c.job_id)
        .where(
            ledger.c.guild_id == guild_id,
            ledger.c.user_id == user_id,
            ledger.c.effective_at > now - window,
            # The line of its acceptance; a later one, of a revival, brings no video.
            ledger.c.kind == EntryKind.RESERVE,
            ledger.c.videos > 0,
            jobs.c.failure_reason == FailureReason.UNDELIVERABLE,
            jobs.c.submitted_at.is_not(None),
        )
        .order_by(ledger.c.effective_at)
    )
    return tuple(rows.scalars())


async def last_accepted_at(connection: AsyncConnection, guild_id: int, user_id: int) -> datetime | None:
    """When the member's last accepted request came in that did not fail: for those nobody has to wait."""
    returned = ledger.alias()
    failed = exists().where(
        returned.c.job_id == ledger.c.job_id,
        returned.c.kind == EntryKind.RETURN,
        returned.c.reason.startswith(f"{JobState.FAILED}:"),
    )
    # From the end of the index, not as a maximum over all that the member ever had.
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
    """The member's usable grants, the first to expire first."""
    rows = await connection.execute(
        select(credit_grants).where(
            credit_grants.c.guild_id == guild_id,
            credit_grants.c.user_id == user_id,
            credit_grants.c.credits_left > 0,
        )
    )
    return usable((Credit(row.id, row.credits_left, row.expires_at) for row in rows), now)
