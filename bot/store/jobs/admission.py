"""Decides in one transaction whether a job is let in: gathers what the rules and limits depend on, and asks them.

Functions work inside the caller's transaction. All acceptances line up for the house's row, so that requests
that arrive together never pass a limit together, neither a member's nor a server's nor the operator's.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain import policy, quotas
from bot.domain.errors import QuotaRefused, RuleRefused
from bot.domain.guilds import Guild, OperatorDefaults
from bot.domain.jobs import JobState, Order
from bot.domain.limits import Allowance, Limits, Usage, limits_for, roles_of
from bot.domain.policy import AccessPolicy, Requester
from bot.domain.quotas import LimitReached, Situation
from bot.store.guilds import guild_settings
from bot.store.money import ledger
from bot.store.schema import EVERYWHERE, IS_ACTIVE, jobs


@dataclass(frozen=True, slots=True)
class Admitted:
    """The job is let in. state: queued, or awaiting a moderator. grant_id: the credits that pay, if any do."""

    state: JobState
    estimate: Decimal
    grant_id: int | None


async def admit(
    connection: AsyncConnection,
    operator_defaults: OperatorDefaults,
    requester: Requester,
    order: Order,
    now: datetime,
    *,
    lock: bool,
    arriving: int = 0,
) -> Admitted:
    """Lets an order in.

    lock: hold the house's row; without, it is only a preview. arriving: other orders of the member that are on
    their way in. Raises: RuleRefused, QuotaRefused.
    """
    book = await _rulebook(connection, operator_defaults, requester, now, lock=lock)
    guild, house = book.guild, book.house
    if (forbidden := policy.evaluate_policy(book, requester, order, now)) is not None:
        raise RuleRefused(forbidden, rule=forbidden.rule)
    limits = await limits_of(connection, operator_defaults, guild, requester)
    usage = await usage_of(connection, requester, limits, now)
    estimate = await ledger.price(connection, order.resolution, operator_defaults.prices[order.resolution])
    verdict = quotas.evaluate_quota(
        Situation(
            limits=limits,
            usage=replace(usage, running=usage.running + arriving),
            guild=guild.settings,
            guild_spent=await ledger.spent(connection, requester.guild_id, now),
            granted=guild.budget.over(operator_defaults.guild_budget),
            house=house.budget.over(operator_defaults.budget),
            house_spent=await ledger.spent(connection, EVERYWHERE, now),
            queued=await queued(connection),
            queued_here=await queued_here(connection, requester.guild_id),
            queued_max=house.places(operator_defaults),
            estimate=estimate,
        ),
        now,
    )
    if isinstance(verdict, LimitReached):
        raise QuotaRefused(verdict, limit=verdict.limit)
    state = JobState.AWAITING if guild.settings.approval else JobState.QUEUED
    return Admitted(state, estimate, verdict.credit)


async def allowance(
    connection: AsyncConnection, operator_defaults: OperatorDefaults, requester: Requester, now: datetime
) -> Allowance:
    """What the member may have and has used in the server, and what stands against their ordering anything."""
    book = await _rulebook(connection, operator_defaults, requester, now, lock=False)
    limits = await limits_of(connection, operator_defaults, book.guild, requester)
    usage = await usage_of(connection, requester, limits, now)
    return Allowance(limits, usage, now, policy.stopped(book, now) or quotas.over_failure_limit(limits, usage))


async def _rulebook(
    connection: AsyncConnection,
    operator_defaults: OperatorDefaults,
    requester: Requester,
    now: datetime,
    *,
    lock: bool,
) -> AccessPolicy:
    return AccessPolicy(
        house=await guild_settings.look_at_house(connection, lock=lock),
        guild=await guild_settings.get(connection, requester.guild_id),
        operator_defaults=operator_defaults,
        places=await guild_settings.all_places(connection, requester.guild_id),
        words=await guild_settings.all_words(connection, requester.guild_id),
        ban=await guild_settings.ban_of(connection, requester.guild_id, requester.user_id, now),
    )


async def limits_of(
    connection: AsyncConnection, operator_defaults: OperatorDefaults, guild: Guild, requester: Requester
) -> Limits:
    """The member's limits, and where each comes from."""
    role_tiers = await guild_settings.role_tiers(connection, guild.id)
    own = await guild_settings.member_tier(connection, guild.id, requester.user_id)
    theirs = roles_of(role_tiers, requester.roles)
    return limits_for(operator_defaults, guild.settings, theirs, own, admin=requester.admin)


async def usage_of(connection: AsyncConnection, requester: Requester, limits: Limits, now: datetime) -> Usage:
    """What the member has used."""
    guild_id, user_id = requester.guild_id, requester.user_id
    running = await connection.execute(
        select(func.count())
        .select_from(jobs)
        .where(jobs.c.guild_id == guild_id, jobs.c.user_id == user_id, IS_ACTIVE)
    )
    return Usage(
        counted_at=await ledger.counted(connection, guild_id, user_id, now, limits.window),
        running=running.scalar_one(),
        last_at=await ledger.last_accepted_at(connection, guild_id, user_id),
        credits=await ledger.credits_of(connection, guild_id, user_id, now),
        wasted_at=await ledger.wasted(connection, guild_id, user_id, now, limits.window),
    )


async def queued(connection: AsyncConnection) -> int:
    """How many jobs wait for their turn, over all servers; not those that wait for a moderator."""
    query = select(func.count()).select_from(jobs).where(IS_ACTIVE, jobs.c.state == JobState.QUEUED)
    return (await connection.execute(query)).scalar_one()


async def queued_here(connection: AsyncConnection, guild_id: int) -> int:
    """How many jobs of one server wait, for their turn or for a moderator."""
    waits = jobs.c.state.in_((JobState.AWAITING, JobState.QUEUED))
    query = select(func.count()).select_from(jobs).where(IS_ACTIVE, waits, jobs.c.guild_id == guild_id)
    return (await connection.execute(query)).scalar_one()
