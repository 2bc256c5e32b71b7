"""Writes the ledger and its amounts, inside the caller's transaction.

Entries are never changed or deleted: another entry corrects a mistake. Known costs update the expected price.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict
from datetime import date, datetime, timedelta
from decimal import Decimal

from sqlalchemy import ColumnElement, and_, exists, func, insert, not_, select, update

from bot.domain.jobs import FailureReason, Job, JobState, Order, ProviderName
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
from bot.domain.models import NAMES_NO_COSTS, Catalog, TaskKind
from bot.domain.quotas import Spent
from bot.store.engine import Connection
from bot.store.money_tables import credit_grants, daily_totals, ledger, provider_totals, task_prices
from bot.store.schema import EVERYWHERE, jobs
from bot.store.upserts import upsert

PRICE_OVER = 20
"""How many tasks the moving average of the price covers."""

PRICE_FROM = 3
"""How many tasks must have a cost before their average is used."""

PRICE_SPAN = 5
"""The largest factor between the configured and the learned price."""


async def write(connection: Connection, entry: Entry) -> None:
    """Adds an entry and updates the sums: `daily_totals` and `credit_grants.credits_left`."""
    columns = asdict(entry)
    amounts = columns.pop("amounts")
    await connection.execute(insert(ledger).values(columns | amounts))
    if entry.amounts.videos or entry.amounts.usd:
        for guild_id in sorted({EVERYWHERE, entry.guild_id}):
            await _add_to_total(connection, guild_id, utc_day(entry.effective_at), entry.amounts)
    if entry.credit_grant_id is not None and entry.amounts.credits:
        grant = update(credit_grants).where(credit_grants.c.id == entry.credit_grant_id)
        left = credit_grants.c.credits_left + entry.amounts.credits
        await connection.execute(grant.values(credits_left=left))


async def write_of_job(connection: Connection, job: Job, entry: Entry) -> None:
    """Adds an entry about a job, also to the sum of the provider that makes it."""
    await write(connection, entry)
    if job.provider is not None and entry.amounts.usd:
        await _add_to_provider(connection, job.provider, _provider_day(job), entry.amounts.usd)


async def give_to_provider(connection: Connection, job: Job) -> None:
    """Adds what a job has reserved to the sum of the provider that it was just given to."""
    usd = (await balance(connection, job.id)).usd
    if usd and job.provider is not None:
        await _add_to_provider(connection, job.provider, _provider_day(job), usd)


async def take_from_provider(connection: Connection, job: Job, usd: Decimal) -> None:
    """Takes off the sum of the provider that a job had what was reserved there for it.

    Last in a transaction that also writes entries: `daily_totals` are locked before `provider_totals`.
    """
    if usd and job.provider is not None:
        await _add_to_provider(connection, job.provider, _provider_day(job), -usd)


def _provider_day(job: Job) -> date:
    """The day on whose budget of the provider a job counts: when the provider got it, not when it was ordered.

    Otherwise the jobs that waited for a new day, because the budget was used up, would count on the day before.
    """
    return utc_day(job.provider_since or job.created_at)


async def _add_to_provider(connection: Connection, provider: ProviderName, day: date, usd: Decimal) -> None:
    row = {"provider": provider, "day": day, "usd": usd}
    await upsert(connection, provider_totals, row, {"usd": provider_totals.c.usd + usd})


async def _add_to_total(connection: Connection, guild_id: int, day: date, amounts: Amounts) -> None:
    row = {"guild_id": guild_id, "day": day, "videos": amounts.videos, "usd": amounts.usd}
    summed = {"videos": daily_totals.c.videos + amounts.videos, "usd": daily_totals.c.usd + amounts.usd}
    await upsert(connection, daily_totals, row, summed)


async def balance(connection: Connection, job_id: str) -> Amounts:
    """The sum of a job's entries."""
    amounts = select(func.sum(ledger.c.videos), func.sum(ledger.c.credits), func.sum(ledger.c.usd))
    videos, credits_, usd = (await connection.execute(amounts.where(ledger.c.job_id == job_id))).one()
    return ZERO if videos is None else Amounts(int(videos), int(credits_), usd)


async def settle(
    connection: Connection, job: Job, now: datetime, *, actor_id: int | None = None, reason: str | None = None
) -> None:
    """Adds the entries that bring a job to its expected balance; none if it is there already.

    reason: the text in the entries; None for the job's state.
    """
    await settle_all(connection, [job], now, actor_id=actor_id, reason=reason)


async def settle_all(
    connection: Connection,
    settled: Iterable[Job],
    now: datetime,
    *,
    actor_id: int | None = None,
    reason: str | None = None,
) -> None:
    """Like `settle`, for jobs in the order of the days on which they were accepted."""
    of_providers: defaultdict[tuple[ProviderName, date], Decimal] = defaultdict(Decimal)
    for job in settled:
        for kind, amounts in entries_for(job, await outstanding(connection, job)):
            await write(
                connection, job_entry(job, kind, amounts, reason or entry_reason(job, kind), now, actor_id)
            )
            if job.provider is not None:
                of_providers[job.provider, _provider_day(job)] += amounts.usd
    # After all daily totals and in one order, so that two transactions can't deadlock.
    for (provider, day), usd in sorted(of_providers.items()):
        if usd:
            await _add_to_provider(connection, provider, day, usd)


async def outstanding(connection: Connection, job: Job) -> Amounts:
    """What must be added to a job's entries to reach its expected balance."""
    estimate = job.estimated_cost_usd or Decimal(0)
    due = expected_balances(job, estimate, with_credit=job.credit_grant_id is not None)
    return due - await balance(connection, job.id)


def job_entry(
    job: Job, kind: EntryKind, amounts: Amounts, reason: str, now: datetime, actor_id: int | None
) -> Entry:
    """An entry about a job. It takes effect at the time when the job was accepted."""
    return Entry(
        kind=kind,
        guild_id=job.guild_id,
        user_id=job.user_id,
        created_at=now,
        effective_at=job.created_at,
        amounts=amounts,
        reason=reason,
        job_id=job.id,
        credit_grant_id=job.credit_grant_id,
        actor_id=actor_id,
    )


async def learn_price(connection: Connection, kind: TaskKind, cost: Decimal) -> None:
    """Adds a task's cost to the moving average of its kind, unless the bot has computed that cost itself."""
    if kind.provider in NAMES_NO_COSTS:
        return
    row = (await connection.execute(select(task_prices).where(_is_of(kind)).with_for_update())).one_or_none()
    tasks = 0 if row is None else min(row.task_count, PRICE_OVER - 1)
    before = Decimal(0) if row is None else row.average_usd
    values = {"average_usd": rounded_up((before * tasks + cost) / (tasks + 1)), "task_count": tasks + 1}
    await upsert(connection, task_prices, {**kind._asdict(), **values})


async def expected_price(connection: Connection, kind: TaskKind, otherwise: Decimal) -> Decimal:
    """The expected cost of a video: the average of the last ones, or `otherwise` while too few are known.

    Within a factor of `PRICE_SPAN` of `otherwise`: one odd cost must not close the bot, nor a series of free ones
    open its budgets, because nothing would ever correct that.
    """
    row = (await connection.execute(select(task_prices).where(_is_of(kind)))).one_or_none()
    expected = rounded_up(otherwise)
    if row is None or row.task_count < PRICE_FROM:
        return expected
    learned: Decimal = row.average_usd
    return min(max(learned, rounded_up(expected / PRICE_SPAN)), expected * PRICE_SPAN) if expected else learned


async def estimate(connection: Connection, catalog: Catalog, order: Order) -> Decimal:
    """The expected cost of an order: the highest among the providers that may make it, since any of them may."""
    kinds = catalog.kinds_of(order)
    prices = [await expected_price(connection, kind, catalog.estimate(kind)) for kind in kinds]
    return max(prices, default=Decimal(0))


def _is_of(kind: TaskKind) -> ColumnElement[bool]:
    return and_(*(task_prices.c[name] == value for name, value in kind._asdict().items()))


async def spent_at_provider(connection: Connection, provider: ProviderName, now: datetime) -> Spent:
    """What this provider's tasks cost today and this month, reservations included."""
    today = utc_day(now)
    first, after = _month_of(today)
    this_month = (provider_totals.c.day >= first) & (provider_totals.c.day < after)
    columns = select(provider_totals.c.day, provider_totals.c.usd)
    rows = await connection.execute(columns.where(provider_totals.c.provider == provider, this_month))
    by_day = {row.day: row.usd for row in rows}
    return Spent(usd_today=by_day.get(today, Decimal(0)), usd_month=sum(by_day.values(), Decimal(0)))


async def providers_used(connection: Connection) -> frozenset[ProviderName]:
    """The providers that ever had a job."""
    used = await connection.scalars(select(provider_totals.c.provider).distinct())
    return frozenset(map(ProviderName, used))


async def are_several_providers_used(connection: Connection) -> bool:
    """Whether more than one provider ever had a job, so that reports tell them apart."""
    return len(await providers_used(connection)) > 1


def _month_of(day: date) -> tuple[date, date]:
    """The first day of its month, and that of the next."""
    return day.replace(day=1), (day.replace(day=28) + timedelta(days=4)).replace(day=1)


async def spent(connection: Connection, guild_id: int, now: datetime) -> Spent:
    """What a server (0: all) has spent today and this month, reservations included."""
    today = utc_day(now)
    first, after = _month_of(today)
    this_month = (daily_totals.c.day >= first) & (daily_totals.c.day < after)
    query = select(daily_totals).where(daily_totals.c.guild_id == guild_id, this_month)
    found = {row.day: row for row in await connection.execute(query)}
    of_today = found.get(today)
    return Spent(
        videos_today=0 if of_today is None else of_today.videos,
        usd_today=Decimal(0) if of_today is None else of_today.usd,
        usd_month=sum((row.usd for row in found.values()), Decimal(0)),
    )


async def charged_at(
    connection: Connection, guild_id: int, user_id: int, now: datetime, window: timedelta
) -> tuple[datetime, ...]:
    """When the member ordered each video that counts in the window, oldest first."""
    query = (
        select(ledger.c.effective_at)
        .where(_of_member(guild_id, user_id), ledger.c.effective_at > now - window)
        .where(ledger.c.credit_grant_id.is_(None))
        .group_by(ledger.c.job_id, ledger.c.effective_at)
        .having(func.sum(ledger.c.videos) > 0)
        .order_by(ledger.c.effective_at)
    )
    return tuple(await connection.scalars(query))


async def undelivered_at(
    connection: Connection, guild_id: int, user_id: int, now: datetime, window: timedelta
) -> tuple[datetime, ...]:
    """When the member ordered each video in the window that was made but never posted, oldest first.

    By the ledger, which keeps the member's id after an erasure for as long as a limit needs it.
    """
    query = (
        select(ledger.c.effective_at)
        .join(jobs, jobs.c.id == ledger.c.job_id)
        .where(_of_member(guild_id, user_id), ledger.c.effective_at > now - window)
        # The entry of its acceptance; a resumed job's later one has no video.
        .where(ledger.c.kind == EntryKind.RESERVE, ledger.c.videos > 0)
        .where(jobs.c.failure_reason == FailureReason.UNDELIVERABLE, jobs.c.submitted_at.is_not(None))
        .order_by(ledger.c.effective_at)
    )
    return tuple(await connection.scalars(query))


def _of_member(guild_id: int, user_id: int) -> ColumnElement[bool]:
    return and_(ledger.c.guild_id == guild_id, ledger.c.user_id == user_id)


async def last_accepted_at(connection: Connection, guild_id: int, user_id: int) -> datetime | None:
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
        .where(_of_member(guild_id, user_id), ledger.c.kind == EntryKind.RESERVE, not_(failed))
        .order_by(ledger.c.effective_at.desc())
        .limit(1)
    )
    return await connection.scalar(query)


async def credits_of(connection: Connection, guild_id: int, user_id: int, now: datetime) -> tuple[Credit, ...]:
    """The member's usable credit grants, the first to expire first."""
    query = select(credit_grants).filter_by(guild_id=guild_id, user_id=user_id)
    rows = await connection.execute(query.where(credit_grants.c.credits_left > 0))
    return usable((Credit(row.id, row.credits_left, row.expires_at) for row in rows), now)
