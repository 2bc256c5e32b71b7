"""Compares the ledger with the gateways' books, job by job and in sum, and all sums with the ledger.

Where a gateway billed what it never told, nobody can know it: those jobs are counted apart, and must stand in the
ledger as docs/operating.md says.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, select

from bot.domain.jobs import ENDED, FailureReason, Job, JobState, ProviderName, RecoveryProblem
from bot.domain.ledger import Amounts, EntryKind, utc_day
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.money_tables import credit_grants, daily_totals, ledger, provider_totals
from bot.store.schema import EVERYWHERE, NOBODY
from tests.money.campaign import Campaign
from tests.money.tasks import ENDED_WELL, CostGiven, End, SimulatedTask

ZERO = Decimal(0)


@dataclass
class Audit:
    """What was found. problems: one sentence each.

    billed, charged: by provider, of the jobs whose cost can be known. unknown: by the reason, what was billed for
    each job and what the ledger has.
    """

    jobs: int = 0
    tasks: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    billed: defaultdict[ProviderName, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    charged: defaultdict[ProviderName, Decimal] = field(default_factory=lambda: defaultdict(Decimal))
    unknown: defaultdict[str, list[tuple[Decimal, Decimal]]] = field(default_factory=lambda: defaultdict(list))
    problems: list[str] = field(default_factory=list)


async def audit(campaign: Campaign) -> Audit:
    """Compares everything. All jobs have ended, and the operator has reconciled what can be."""
    async with campaign.database.read() as connection:
        found = [job_of(row) for row in await connection.execute(select_jobs())]
        entries = list(await connection.execute(select(ledger).order_by(ledger.c.id)))
        grants = list(await connection.execute(select(credit_grants)))
        days = list(await connection.execute(select(daily_totals)))
        at_providers = list(await connection.execute(select(provider_totals)))
    result = Audit(jobs=len(found))
    if {job.id for job in found} != set(campaign.ordered):
        result.problems.append("jobs are missing, or there are too many")
    balances: defaultdict[str, Amounts] = defaultdict(Amounts)
    for entry in entries:
        if entry.job_id is not None:
            balances[entry.job_id] += Amounts(entry.videos, entry.credits, entry.usd)
    for job in found:
        _compare(campaign, job, balances[job.id], result)
    by_id = {job.id: job for job in found}
    result.problems += _sum_differences(by_id, entries, days, at_providers)
    result.problems += _credit_differences(campaign, entries, grants)
    result.problems += _budget_differences(campaign, by_id, entries, balances)
    known = sum(result.charged.values(), ZERO)
    apart = sum((charged for pairs in result.unknown.values() for _, charged in pairs), ZERO)
    if known + apart != sum((entry.usd for entry in entries), ZERO):
        result.problems.append("the ledger has USD of no job")
    return result


def _compare(campaign: Campaign, job: Job, balance: Amounts, result: Audit) -> None:
    """Compares a job with the gateways' books."""
    tasks = [task for gateway in campaign.gateways.values() for task in gateway.by_job[job.id]]
    result.tasks += len(tasks)
    end = f"{job.state}" if job.failure_reason is None else f"{job.state}: {job.failure_reason}"
    result.ends[end] += 1

    def differs(what: str) -> None:
        result.problems.append(f"job {job.id} ({end}): {what}")

    if job.state not in ENDED:
        differs("has not ended")
    if len(tasks) > 1:
        differs(f"{len(tasks)} tasks were made")
        return
    task = tasks[0] if tasks else None
    for what in _charge_differences(campaign, job, task, balance):
        differs(what)
    billed = ZERO if task is None else task.invoiced
    if task is not None and task.kind.provider is not job.provider:
        differs(f"has its task at {task.kind.provider}, not at {job.provider}")
    why = None if task is None else _why_unknown(campaign, job, task)
    if why is None:
        if balance.usd != billed:
            differs(f"{billed} USD were billed, and the ledger has {balance.usd}")
        if job.provider is not None:
            result.billed[job.provider] += billed
            result.charged[job.provider] += balance.usd
        return
    is_made = task is not None and task.end is End.COMPLETED and _has_video(job, task)
    is_counted = is_made or job.charged or job.cost_unknown_since is not None
    expected = (job.estimated_cost_usd or ZERO) if is_counted else ZERO
    if balance.usd != expected:
        differs(f"its cost is unknown ({why}), and the ledger has {balance.usd} instead of {expected}")
    result.unknown[f"{why}: {'its estimate stays' if is_counted else 'released'}"].append((billed, balance.usd))


def _has_video(job: Job, task: SimulatedTask) -> bool:
    """Whether the task made one that the bot was told of; its link goes with its member's data."""
    return (
        job.state is JobState.DELIVERED
        or job.result_url is not None
        or (job.user_id == NOBODY and task.told_done > 0)
        or job.failure_reason
        in {
            FailureReason.UNDELIVERABLE,
            FailureReason.RESULT_UNUSABLE,
        }
    )


def _why_unknown(campaign: Campaign, job: Job, task: SimulatedTask) -> str | None:
    """Why the bot can't know what the task cost; None if it can."""
    if job.cost_usd is not None or not task.billed:
        return None
    if not task.is_cost_told:
        return "the gateway never told the cost"
    if task.cost_given is CostGiven.LATE and task.end is End.COMPLETED and _has_video(job, task):
        return "the gateway told the cost after the video"
    match campaign.unknowable.get(job.id):
        case RecoveryProblem.ERASED:
            return "its member's data was deleted"
        case RecoveryProblem.NO_TASK if job.id in campaign.mistyped:
            return "its task was mistyped, then it was cancelled"
        case _:
            return None


def _charge_differences(
    campaign: Campaign, job: Job, task: SimulatedTask | None, balance: Amounts
) -> Iterator[str]:
    """What is wrong with the member's video or credit."""
    expected = Amounts(int(job.charged), -int(job.charged and job.credit_grant_id is not None), balance.usd)
    if balance != expected:
        yield f"the ledger has {balance}, and the job says charged={job.charged}"
    was_resumed = (
        job.id in campaign.retried or job.id in campaign.found or (task is not None and task.answered_late)
    )
    if job.state is JobState.FAILED and job.charged:
        yield "its member pays for a failure"
    if job.state is JobState.DELIVERED and not job.charged and not was_resumed:
        yield "its video is free"
    if job.state is JobState.CANCELLED and job.charged and (task is None or task.end not in ENDED_WELL):
        yield "its member pays for what was not made"


def _sum_differences(
    jobs: dict[str, Job], entries: list[Row[Any]], days: list[Row[Any]], at_providers: list[Row[Any]]
) -> Iterator[str]:
    """The totals by day, by server and by provider, against the ledger's entries."""
    by_day: defaultdict[tuple[int, date], Amounts] = defaultdict(Amounts)
    by_provider: defaultdict[tuple[ProviderName, date], Decimal] = defaultdict(Decimal)
    for entry in entries:
        day = utc_day(entry.effective_at)
        for guild_id in (EVERYWHERE, entry.guild_id):
            by_day[guild_id, day] += Amounts(entry.videos, 0, entry.usd)
        job = None if entry.job_id is None else jobs[entry.job_id]
        if job is not None and job.provider is not None:
            by_provider[job.provider, _provider_day(job)] += entry.usd
    stored = {(row.guild_id, row.day): Amounts(row.videos, 0, row.usd) for row in days}
    for key in stored.keys() | by_day.keys():
        if stored.get(key, Amounts()) != by_day.get(key, Amounts()):
            yield f"the total of {key} is {stored.get(key)}, and its entries come to {by_day.get(key)}"
    of_providers = {(ProviderName(row.provider), row.day): row.usd for row in at_providers}
    for provider_day in of_providers.keys() | by_provider.keys():
        has, should = of_providers.get(provider_day, ZERO), by_provider.get(provider_day, ZERO)
        if has != should:
            yield f"the total of {provider_day} is {has}, and its entries come to {should}"


def _provider_day(job: Job) -> date:
    """On which day a job counts at its provider."""
    return utc_day(job.provider_since or job.created_at)


def _credit_differences(campaign: Campaign, entries: list[Row[Any]], grants: list[Row[Any]]) -> Iterator[str]:
    """Credits against the ledger, and against what was given."""
    by_grant: Counter[int] = Counter()
    given = taken = 0
    for entry in entries:
        if entry.credits and entry.credit_grant_id is None:
            yield "an entry has credits of no grant"
        by_grant[entry.credit_grant_id or 0] += entry.credits
        given += entry.credits if entry.kind == EntryKind.GRANT else 0
        is_revoked = entry.kind == EntryKind.ADJUST and entry.reason not in {"expired", "data deleted"}
        taken -= entry.credits if is_revoked and entry.job_id is None else 0
    for grant in grants:
        if by_grant[grant.id] != grant.credits_left:
            yield f"grant {grant.id} has {grant.credits_left} left, and its entries come to {by_grant[grant.id]}"
    if given != campaign.happened["credits granted"]:
        yield f"{campaign.happened['credits granted']} credits were given, and the ledger has {given}"
    if taken != campaign.happened["credits revoked"]:
        yield f"{campaign.happened['credits revoked']} credits were revoked, and the ledger has {taken}"


def _budget_differences(
    campaign: Campaign, jobs: dict[str, Job], entries: list[Row[Any]], balances: dict[str, Amounts]
) -> Iterator[str]:
    """Where an order was accepted that didn't fit a budget.

    The ledger, entry by entry, says what was spent at that time. Costs above their estimates may exceed a budget,
    and what is resumed is not asked about; an acceptance may not.
    """
    budgets = {True: campaign.rules.budget, False: campaign.rules.guild_budget}
    by_day: defaultdict[tuple[int, date], Decimal] = defaultdict(Decimal)
    by_month: defaultdict[tuple[int, int], Decimal] = defaultdict(Decimal)
    for entry in entries:
        day = utc_day(entry.effective_at)
        for guild_id in (EVERYWHERE, entry.guild_id):
            by_day[guild_id, day] += entry.usd
            by_month[guild_id, day.month] += entry.usd
            if entry.kind != EntryKind.RESERVE or entry.reason != "accepted":
                continue
            budget = budgets[guild_id == EVERYWHERE]
            for limit, spent in (
                (budget.usd_per_day, by_day[guild_id, day]),
                (budget.usd_per_month, by_month[guild_id, day.month]),
            ):
                if limit is not None and spent > limit:
                    yield f"job {entry.job_id} was accepted with {spent} USD of {limit} spent by {guild_id}"
    over: defaultdict[tuple[ProviderName, date], Decimal] = defaultdict(Decimal)
    for job in jobs.values():
        if job.provider is not None:
            more = balances[job.id].usd - (job.estimated_cost_usd or ZERO)
            over[job.provider, _provider_day(job)] += max(more, ZERO)
    per_day = {limits.provider: limits.budget.usd_per_day or ZERO for limits in campaign.limits}
    for key, peak in campaign.peaks.items():
        if peak > per_day[key[0]] + over[key]:
            yield f"{key} came to {peak} USD when a job was claimed, over {per_day[key[0]]} and {over[key]}"
