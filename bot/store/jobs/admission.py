"""Decides whether an order is accepted: gathers what policy and limits depend on, inside the caller's transaction.

What is cheap to find out is asked first: only a prompt that would be accepted is searched for blocked terms.

Every acceptance locks the operator state, so simultaneous requests can't pass a limit together,
whether a member's, a server's or the operator's.
"""

import asyncio
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from bot.domain import policy, quotas
from bot.domain.errors import QuotaRefused, RuleRefused
from bot.domain.guilds import Guild, OperatorDefaults
from bot.domain.jobs import JobState, Order
from bot.domain.limits import Allowance, Limits, Usage, limits_for, overrides_of
from bot.domain.policy import AccessPolicy, Requester
from bot.domain.provider_limits import is_too_dear
from bot.domain.quotas import LimitReached, QuotaContext
from bot.domain.quotes import Quote, quote_of
from bot.store.engine import Connection, Database
from bot.store.guilds import bans, guild_settings, limit_overrides, policy_entries
from bot.store.guilds.limit_overrides import LimitTarget
from bot.store.jobs.rows import count_jobs
from bot.store.money import ledger
from bot.store.schema import EVERYWHERE, IS_ACTIVE, jobs


@dataclass(frozen=True, slots=True)
class Admitted:
    """The order is accepted. state: queued, or awaiting approval. estimate: of each video.

    grant_ids: for each video, the credit grant that pays for it, if any. quote: what the member may be told that
    it takes; None where the server's admins turned that off.
    """

    state: JobState
    estimate: Decimal
    grant_ids: tuple[int | None, ...]
    quote: Quote | None = None


async def admit(
    connection: Connection,
    operator_defaults: OperatorDefaults,
    requester: Requester,
    order: Order,
    now: datetime,
    *,
    lock: bool,
    count: int = 1,
    arriving: int = 0,
) -> Admitted:
    """Accepts an order of `count` videos, all or none.

    lock: lock the operator state; without it, this is only a preview. arriving: the member's other videos that are
    being accepted. Blocked terms are not searched for, see `refuse_blocked_prompt`.
    Raises: RuleRefused, QuotaRefused.
    """
    operator_defaults = operator_defaults.within(requester.guild_id)
    access_policy = await _access_policy(connection, operator_defaults, requester, now, lock=lock)
    guild, operator_state = access_policy.guild, access_policy.operator_state
    forbidden = await _forbidden_by_visited(connection, access_policy, requester, now)
    forbidden = forbidden or policy.evaluate_policy(access_policy, requester, order, now)
    if forbidden is not None:
        raise RuleRefused(forbidden, rule=forbidden.rule)
    limits = await limits_of(connection, operator_defaults, guild, requester)
    usage = await usage_of(connection, requester, limits, now)
    estimate = await ledger.estimate(connection, operator_defaults.catalog, order)
    verdict = quotas.evaluate_together(
        QuotaContext(
            limits=limits,
            usage=replace(usage, running=usage.running + arriving),
            guild=guild.settings,
            guild_spent=await ledger.spent(connection, requester.guild_id, now),
            granted_budget=guild.budget.over(operator_defaults.guild_budget),
            total_budget=operator_state.budget.over(operator_defaults.budget),
            total_spent=await ledger.spent(connection, EVERYWHERE, now),
            queued=await queued(connection),
            queued_here=await queued_in_guild(connection, requester.guild_id),
            max_queued=operator_state.queue_limit(operator_defaults),
            estimate=estimate,
            is_too_dear=is_too_dear(
                operator_defaults.catalog, operator_defaults.provider_budgets, order, estimate
            ),
        ),
        count,
        now,
    )
    if isinstance(verdict, LimitReached):
        raise QuotaRefused(verdict, limit=verdict.limit)
    state = JobState.AWAITING if guild.settings.approval_required else JobState.QUEUED
    grant_ids = tuple(each.credit_grant_id for each in verdict)
    quote = quote_of(limits, usage, verdict, order.resolution, estimate) if guild.settings.quotes_shown else None
    return Admitted(state, estimate, grant_ids, quote)


async def quote(
    connection: Connection, operator_defaults: OperatorDefaults, requester: Requester, order: Order, now: datetime
) -> Quote | None:
    """What one such video would take from the member now; None where the server's admins turned quotes off.

    Raises: like `admit`.
    """
    if not (await guild_settings.get(connection, requester.guild_id)).settings.quotes_shown:
        return None
    return (await admit(connection, operator_defaults, requester, order, now, lock=False)).quote


async def refuse_blocked_prompt(database: Database, requester: Requester, prompt: str) -> None:
    """Searches the prompt for the server's blocked terms, in a thread and outside any transaction.

    A hostile pattern takes tens of milliseconds, which neither the event loop nor a lock may wait for.
    Raises: RuleRefused.
    """
    async with database.read() as connection:
        terms = await policy_entries.terms(connection, requester.guild_id)
    if not terms:
        return
    violation = await asyncio.to_thread(policy.find_violation, prompt, terms)
    if violation is not None:
        raise RuleRefused(violation, rule=violation.rule)


async def allowance(
    connection: Connection, operator_defaults: OperatorDefaults, requester: Requester, now: datetime
) -> Allowance:
    """The member's limits and usage in the server, and why they can't order at all, if so."""
    operator_defaults = operator_defaults.within(requester.guild_id)
    access_policy = await _access_policy(connection, operator_defaults, requester, now, lock=False)
    limits = await limits_of(connection, operator_defaults, access_policy.guild, requester)
    usage = await usage_of(connection, requester, limits, now)
    return Allowance(
        limits,
        usage,
        now,
        policy.blocks_all_orders(access_policy, now) or quotas.over_failure_limit(limits, usage),
    )


async def _access_policy(
    connection: Connection,
    operator_defaults: OperatorDefaults,
    requester: Requester,
    now: datetime,
    *,
    lock: bool,
) -> AccessPolicy:
    return AccessPolicy(
        operator_state=await guild_settings.operator_state_of(connection, lock=lock),
        guild=await guild_settings.get(connection, requester.guild_id),
        operator_defaults=operator_defaults,
        entries=await policy_entries.entries(connection, requester.guild_id),
        ban=await bans.active_ban(connection, requester.guild_id, requester.user_id, now),
    )


async def _forbidden_by_visited(
    connection: Connection, outside: AccessPolicy, requester: Requester, now: datetime
) -> policy.PolicyViolation | None:
    """What a server that the bot was in still forbids: nobody gets around it by bringing the bot along."""
    if requester.visited_guild_id is None:
        return None
    visited = replace(
        outside,
        guild=await guild_settings.get(connection, requester.visited_guild_id),
        operator_defaults=replace(outside.operator_defaults, open_to_all=True),
        ban=await bans.active_ban(connection, requester.visited_guild_id, requester.user_id, now),
    )
    return policy.blocks_all_orders(visited, now)


async def limits_of(
    connection: Connection, operator_defaults: OperatorDefaults, guild: Guild, requester: Requester
) -> Limits:
    """The member's limits, each with its origin."""
    by_role = await limit_overrides.by_target(connection, guild.id, LimitTarget.ROLE)
    own = await limit_overrides.get(connection, guild.id, LimitTarget.MEMBER, requester.user_id)
    theirs = overrides_of(by_role, requester.roles)
    return limits_for(operator_defaults, guild.settings, theirs, own, admin=requester.admin)


async def usage_of(connection: Connection, requester: Requester, limits: Limits, now: datetime) -> Usage:
    """The member's usage."""
    guild_id, user_id = requester.guild_id, requester.user_id
    theirs = (jobs.c.guild_id == guild_id) & (jobs.c.user_id == user_id)
    return Usage(
        charged_at=await ledger.charged_at(connection, guild_id, user_id, now, limits.window),
        running=await count_jobs(connection, theirs, IS_ACTIVE),
        last_accepted_at=await ledger.last_accepted_at(connection, guild_id, user_id),
        credits=await ledger.credits_of(connection, guild_id, user_id, now),
        undelivered_at=await ledger.undelivered_at(connection, guild_id, user_id, now, limits.window),
    )


async def queued(connection: Connection) -> int:
    """How many jobs are queued, over all servers; without those that await approval."""
    return await count_jobs(connection, IS_ACTIVE, jobs.c.state == JobState.QUEUED)


async def queued_in_guild(connection: Connection, guild_id: int) -> int:
    """How many of a server's jobs are queued or await approval."""
    waits = jobs.c.state.in_((JobState.AWAITING, JobState.QUEUED))
    return await count_jobs(connection, IS_ACTIVE, waits, jobs.c.guild_id == guild_id)
