"""Decides which queued job is submitted to which provider, and claims it, inside the caller's transaction.

Providers are asked in their order. One takes a job if it makes its model, has not refused it, is open, and has a
free slot and room in its budget. Where its rate allows the next submission only in a moment, the jobs that it will
take by then wait for it, and the providers after it get the jobs behind them.

`next_at` and `claim_queued` go by the same rules: a worker that sleeps until the former says so finds a job.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, func, not_, or_, select, update

from bot.domain.guilds import Access, OperatorDefaults
from bot.domain.jobs import Job, JobState, Order, ProviderName
from bot.domain.models import Catalog
from bot.domain.provider_limits import NO_BUDGET, RATE_WAIT_MAX, ProviderLimits
from bot.domain.quotas import day_ends
from bot.store.engine import Connection
from bot.store.jobs import lease_holders, submission_gate
from bot.store.jobs.rows import count_jobs, read_job, select_jobs, state_columns
from bot.store.jobs.submission_gate import Gate
from bot.store.money import ledger
from bot.store.schema import IS_ACTIVE, guilds, jobs

NO_JOBS: frozenset[str] = frozenset()
"""The ids of no jobs."""

HOLDS_A_SLOT = and_(IS_ACTIVE, jobs.c.state.in_((JobState.SUBMITTING, JobState.RUNNING)))
"""Jobs that occupy one of their provider's slots."""

BOT_REMOVED = jobs.c.guild_id.in_(select(guilds.c.id).where(guilds.c.left_at.is_not(None)))
"""Jobs of servers that removed the bot."""

BLOCKED = jobs.c.guild_id.in_(select(guilds.c.id).where(guilds.c.access == Access.BLOCKED))
"""Jobs of servers that the operator blocked."""

_WAITING_FOR_A_SLOT = and_(
    IS_ACTIVE,
    jobs.c.state == JobState.QUEUED,
    # A queued row that is due must have its status card posted first.
    jobs.c.due_at.is_(None),
    not_(jobs.c.cancel_requested),
    # They get cancelled, unless the process died before that.
    not_(BOT_REMOVED),
    not_(BLOCKED),
)


def next_in_line(*where: ColumnElement[bool], count: int = 1) -> Select[Any]:
    """The next of the jobs that match to submit: of the member with the fewest slots, the oldest."""
    holding = (
        select(jobs.c.user_id, func.count().label("slots")).where(HOLDS_A_SLOT).group_by(jobs.c.user_id).subquery()
    )
    return (
        select_jobs()
        .outerjoin(holding, holding.c.user_id == jobs.c.user_id)
        .where(_WAITING_FOR_A_SLOT, *where)
        .order_by(func.coalesce(holding.c.slots, 0), jobs.c.created_at, jobs.c.id)
        .limit(count)
    )


async def is_any_waiting(connection: Connection, *where: ColumnElement[bool]) -> bool:
    """Whether any job that matches is queued and may be submitted."""
    query = select(jobs.c.id).where(_WAITING_FOR_A_SLOT, *where).limit(1)
    return await connection.scalar(query) is not None


async def claim_queued(
    connection: Connection,
    now: datetime,
    lease_now: datetime,
    limits: ProviderLimits,
    lease: timedelta,
    waiting_elsewhere: frozenset[str] = NO_JOBS,
) -> Job | None:
    """Moves the next job that this provider takes to `submitting` under a lease, if its limits allow that.

    waiting_elsewhere: the ids of jobs that wait for another provider.
    """
    provider = limits.provider
    # The lock on the gate allows one such claim at a time, so that what is counted about the provider stays true.
    gate = await submission_gate.get_gate(connection, provider, lock=True)
    if gate.next_submission_at(now) > now or not await _free_slots(connection, gate, limits):
        return None
    # A row that somebody has locked is being cancelled, or claimed for another provider.
    line = next_in_line(*await _taken_by(connection, limits, waiting_elsewhere, now))
    row = (await connection.execute(line.with_for_update(of=jobs, skip_locked=True))).one_or_none()
    if row is None:
        return None
    claimed: dict[str, Any] = {
        "lease_token": lease_holders.new_token(),
        "lease_until": lease_now + lease,
        "claim_count": 1,
        "provider": provider,
        "provider_since": now,
    }
    columns = state_columns(JobState.SUBMITTING, now) | claimed
    await connection.execute(update(jobs).where(jobs.c.id == row.id).values(columns))
    job = await read_job(connection, row.id)
    await ledger.give_to_provider(connection, job)
    await submission_gate.record_submission(connection, provider, now + limits.submit_interval)
    return job


async def waiting_for(
    connection: Connection, limits: ProviderLimits, now: datetime, waiting_elsewhere: frozenset[str] = NO_JOBS
) -> frozenset[str]:
    """The ids of the jobs that wait for this provider's next submissions, which are due in a moment.

    No more than it will take within `RATE_WAIT_MAX`: those behind them would wait for longer.
    waiting_elsewhere: see `claim_queued`.
    """
    gate = await submission_gate.get_gate(connection, limits.provider)
    first, last = gate.next_submission_at(now), now + RATE_WAIT_MAX
    if gate.is_closed(now) or not now < first <= last:
        return NO_JOBS
    count = await _free_slots(connection, gate, limits)
    if limits.submit_interval:
        count = min(count, 1 + (last - first) // limits.submit_interval)
    if not count:
        return NO_JOBS
    suits = await _taken_by(connection, limits, waiting_elsewhere, now)
    return frozenset(await connection.scalars(next_in_line(*suits, count=count).with_only_columns(jobs.c.id)))


async def next_at(connection: Connection, providers: Sequence[ProviderLimits], now: datetime) -> datetime | None:
    """When the next job may be submitted; None if none waits, or only for a slot."""
    if not await is_any_waiting(connection):
        return None
    moments: list[datetime] = []
    waiting = NO_JOBS
    for limits in providers:
        gate = await submission_gate.get_gate(connection, limits.provider)
        if await _free_slots(connection, gate, limits):
            if await is_any_waiting(connection, *await _taken_by(connection, limits, waiting, now)):
                moments.append(gate.next_submission_at(now))
            elif limits.budget != NO_BUDGET:
                moments.append(day_ends(now))  # when there may be room in its budget again
        waiting |= await waiting_for(connection, limits, now, waiting)
    return min(moments, default=None)


async def gates(connection: Connection, rules: OperatorDefaults, now: datetime) -> dict[ProviderName, Gate]:
    """The gates of all providers that are asked, in their order, and whether their budgets have room."""
    found = await submission_gate.get_gates(connection, rules.catalog.providers)
    for provider, budget in rules.provider_budgets.items():
        if provider in found and budget != NO_BUDGET:
            room = ProviderLimits(provider, budget=budget).room(
                await ledger.spent_at_provider(connection, provider, now)
            )
            fits = room >= await _lowest_estimate(connection, rules.catalog, provider)
            found[provider] = replace(found[provider], is_out_of_budget=not fits)
    return found


def gate_of_model(gates: Mapping[ProviderName, Gate], catalog: Catalog, model: str | None, now: datetime) -> Gate:
    """The gate that decides whether videos of a model wait: of the providers that make it, the first to open.

    model: None for videos of any.
    """
    offered = None if model is None else catalog.model(model)
    made_there = [gate for name, gate in gates.items() if offered is not None and offered.offering(name)]
    return submission_gate.first_to_open(made_there or gates.values(), now)


async def _lowest_estimate(connection: Connection, catalog: Catalog, provider: ProviderName) -> Decimal:
    """What the cheapest job reserves that this provider can make."""
    orders = [
        Order("", model=kind.model, resolution=kind.resolution, duration_s=kind.duration_s)
        for kind in catalog.kinds()
        if kind.provider is provider
    ]
    return min([await ledger.estimate(connection, catalog, order) for order in orders], default=Decimal(0))


async def _taken_by(
    connection: Connection, limits: ProviderLimits, waiting_elsewhere: frozenset[str], now: datetime
) -> list[ColumnElement[bool]]:
    """What is true of the queued jobs that this provider takes, within its budget.

    waiting_elsewhere: see `claim_queued`.
    """
    taken = [
        jobs.c.model.in_(sorted(limits.models)),
        or_(jobs.c.refused_by.is_(None), jobs.c.refused_by.not_like(f"%{limits.provider}%")),
    ]
    if waiting_elsewhere:
        taken.append(jobs.c.id.not_in(sorted(waiting_elsewhere)))
    if limits.budget != NO_BUDGET:
        room = limits.room(await ledger.spent_at_provider(connection, limits.provider, now))
        estimate = jobs.c.estimated_cost_usd
        taken.append(or_(estimate.is_(None), estimate <= room))
    return taken


async def _free_slots(connection: Connection, gate: Gate, limits: ProviderLimits) -> int:
    """How many more jobs may be submitted to the provider; after failures, one at a time."""
    of_provider = jobs.c.provider == limits.provider
    free = max(0, limits.max_running - await count_jobs(connection, HOLDS_A_SLOT, of_provider))
    if not free or gate.failures == 0:
        return free
    submitting = (IS_ACTIVE, jobs.c.state == JobState.SUBMITTING, of_provider)
    return 0 if await count_jobs(connection, *submitting) else 1
