"""Texts for the operator about money: prices, what was spent where, one job's ledger. Pure."""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from bot.chat.messages.cancellation_texts import stop_for_operator
from bot.chat.messages.markdown import (
    CONTENT_MAX,
    before_web_page,
    escaped,
    exact,
    joined_within,
    mention,
    several,
)
from bot.chat.messages.provider_texts import provider_name, provider_title
from bot.chat.messages.server_names import name_of
from bot.domain.cost_history import total_usd
from bot.domain.durations import show_duration
from bot.domain.jobs import Job
from bot.domain.ledger import Entry, EntryKind, total
from bot.domain.models import NAMES_NO_COSTS, TaskKind
from bot.domain.money import show_usd
from bot.domain.provider_limits import NO_BUDGET
from bot.services.operator.cost_history import CostHistory
from bot.services.operator.reports import Costs, KindPrice
from bot.store.money.ledger import PRICE_FROM
from bot.store.operator_reports import JobLedger

REST = "… and {left} more"

RESPONSE_MAX = 700
"""The most that is shown of a provider's response, in characters."""

_TASK_MAX = 200


def costs(report: Costs) -> str:
    """The prices in use, and this month's ledger."""
    lines = [
        "**Expected cost of a video**",
        *(_price_line(price, _kind(price.kind, report)) for price in report.prices),
    ]
    lines.append("**This month's ledger (UTC)**")
    shown = [(kind, report.kinds[kind]) for kind in EntryKind if kind in report.kinds]
    lines += [f"{kind.value}: {show_usd(sums.usd)} in {several(sums.lines, 'line')}" for kind, sums in shown]
    lines.append(f"total: **{show_usd(sum((sums.usd for _, sums in shown), Decimal(0)))}**")
    lines += _by_provider(report)
    lines.append(f"Reserved for videos in progress: {show_usd(report.reserved)}")
    if report.held.jobs:
        lines.append(
            f"⚠️ Held in the budgets for {several(report.held.jobs, 'video')} that you may be billed for: "
            f"**{show_usd(report.held.usd)}**, until {show_duration(report.released_after)} after submission. "
            "`/operator reconcile list` shows them."
        )
    if report.unanswered.jobs:
        lines.append(
            f"{several(report.unanswered.jobs, 'older submission')} without an answer may have cost another "
            f"{show_usd(report.unanswered.usd)}, which the budgets no longer include."
        )
    return joined_within(lines, CONTENT_MAX, rest=REST)


def described(history: CostHistory) -> str:
    """The chart of costs in words, for those who can't see it."""
    days, usd = history.days, show_usd(total_usd(history.days))
    budget = "" if history.usd_per_day is None else f" A day's budget is {show_usd(history.usd_per_day)}."
    return f"Bar chart: {usd} for what was ordered from {days[0].day} to {days[-1].day} (UTC), by day.{budget}"


def _by_provider(report: Costs) -> Iterator[str]:
    """What each provider costs; nothing where there is only one, without a budget of its own."""
    if len(report.spent) == 1 and all(budget == NO_BUDGET for budget in report.budgets.values()):
        return
    for provider, spent in report.spent.items():
        budget = report.budgets.get(provider, NO_BUDGET)
        today, month = _of(spent.usd_today, budget.usd_per_day), _of(spent.usd_month, budget.usd_per_month)
        yield f"{provider_title(provider)}: {today} today, {month} this month"


def _of(used: Decimal, limit: Decimal | None) -> str:
    return show_usd(used) if limit is None else f"{show_usd(used)} of {show_usd(limit)}"


def _price_line(price: KindPrice, name: str) -> str:
    if price.kind.provider in NAMES_NO_COSTS:
        return f"{name}: **{show_usd(price.used)}** (from the settings)"
    tasks = 0 if price.learned is None else price.learned.tasks
    why = f"average of the last {tasks}" if tasks >= PRICE_FROM else f"from the settings; {tasks} paid so far"
    return f"{name}: **{show_usd(price.used)}** ({why}; setting: {show_usd(price.setting)})"


def _kind(kind: TaskKind, report: Costs) -> str:
    """What a kind of task is called, with as little as tells it from the others."""
    kinds = [price.kind for price in report.prices]
    parts: list[tuple[str, set[object]]] = [
        (kind.model, {other.model for other in kinds}),
        (kind.resolution.value, set()),
        (f"{kind.duration_s} s", {other.duration_s for other in kinds}),
        (f"at {provider_name(kind.provider)}", {other.provider for other in kinds}),
    ]
    return " ".join(part for part, others in parts if not others or len(others) > 1)


def job_ledger(found: JobLedger, names: Mapping[int, str]) -> str:
    """The ledger entries of one job: when, how much, who and why; above them its task."""
    job = found.job
    head = [f"`{job.id}` · {job.state} · {name_of(job.guild_id, names)} · member `{job.user_id}`", *_task(job)]
    if found.response is not None:
        head.append(f"Last response: {_response(found.response)}")
    if not found.entries:
        return "\n".join([*head, "The ledger has no entries for it."])
    balance = total(found.entries)
    head.append(f"total: {several(balance.videos, 'video')}, **{show_usd(balance.usd)}**")
    return joined_within([*head, *(_entry(entry) for entry in found.entries)], CONTENT_MAX, rest=REST)


def _task(job: Job) -> Iterator[str]:
    said = [] if job.provider is None else [f"at {provider_name(job.provider)}"]
    if job.upstream_id is not None:
        said.append(f"task {escaped(job.upstream_id, _TASK_MAX)}")
    if stopped := stop_for_operator(job):
        said.append(stopped)
    if said:
        yield " · ".join(said)


def _response(response: Mapping[str, Any]) -> str:
    """As JSON on one line, up to where a web page begins."""
    return escaped(before_web_page(json.dumps(response, ensure_ascii=False, default=str)), RESPONSE_MAX)


def _entry(entry: Entry) -> str:
    amounts = entry.amounts
    credit = f", credits {amounts.credits:+} (grant {entry.credit_grant_id})" if amounts.credits else ""
    return (
        f"{exact(entry.created_at)} **{entry.kind}** videos {amounts.videos:+}, {show_usd(amounts.usd)}{credit} "
        f"· {_actor(entry)} · {escaped(entry.reason, 200)}"
    )


def _actor(entry: Entry) -> str:
    return "the bot" if entry.actor_id is None else mention(entry.actor_id)
