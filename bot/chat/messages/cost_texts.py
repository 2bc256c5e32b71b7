"""Texts for the operator about money: prices, what was spent where, one job's ledger. Pure."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

from bot.chat.messages.markdown import CONTENT_MAX, escaped, exact, joined_within, mention, several
from bot.chat.messages.provider_texts import provider_name, provider_title
from bot.chat.messages.server_names import name_of
from bot.domain.durations import show_duration
from bot.domain.jobs import Job
from bot.domain.ledger import Entry, EntryKind, total
from bot.domain.models import TaskKind
from bot.domain.money import show_usd
from bot.services.operator.reports import Costs, KindPrice
from bot.store.money.ledger import PRICE_FROM

REST = "… and {left} more"


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
    if len(report.spent) > 1:
        lines += [
            f"{provider_title(provider)}: {show_usd(spent.usd_today)} today, {show_usd(spent.usd_month)} this month"
            for provider, spent in report.spent.items()
        ]
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


def _price_line(price: KindPrice, name: str) -> str:
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


def ledger(job: Job, entries: Sequence[Entry], names: Mapping[int, str]) -> str:
    """The ledger entries of one job: when, how much, who and why."""
    balance = total(entries)
    head = f"`{job.id}` · {job.state} · {name_of(job.guild_id, names)} · member `{job.user_id}`"
    if not entries:
        return f"{head}\nThe ledger has no entries for it."
    end = f"total: {several(balance.videos, 'video')}, **{show_usd(balance.usd)}**"
    return joined_within([head, end, *(_entry(entry) for entry in entries)], CONTENT_MAX, rest=REST)


def _entry(entry: Entry) -> str:
    amounts = entry.amounts
    credit = f", credits {amounts.credits:+} (grant {entry.credit_grant_id})" if amounts.credits else ""
    return (
        f"{exact(entry.created_at)} **{entry.kind}** videos {amounts.videos:+}, {show_usd(amounts.usd)}{credit} "
        f"· {_actor(entry)} · {escaped(entry.reason, 200)}"
    )


def _actor(entry: Entry) -> str:
    return "the bot" if entry.actor_id is None else mention(entry.actor_id)
