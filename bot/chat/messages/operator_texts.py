"""What the operator reads. Pure: reports come in, Discord's markdown and a CSV file go out.

Names of servers are foreign text and escaped. Lists are cut to what a message takes and say so.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from bot.chat.messages.markdown import (
    CHOICE_MAX,
    CONTENT_MAX,
    escaped,
    fitting,
    joined_within,
    mention,
    one_line,
    relative,
    several,
)
from bot.domain.approvals import PATIENCE
from bot.domain.durations import show_span
from bot.domain.guilds import Access, Change, OperatorDefaults
from bot.domain.jobs import Job, JobState, Resolution
from bot.domain.ledger import Entry, EntryKind, total
from bot.domain.money import show_limit, show_share, show_usd
from bot.services.operator.operator_input import SETTING
from bot.services.operator.service import Announced, Costs, HouseReport
from bot.store.money.ledger import PRICE_FROM
from bot.store.operator_reports import GuildUsage

ANNOUNCEMENT_MAX = 1500
"""Characters of an announcement: with what is added, it fits a message."""

_NAME_MAX = 60
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How a cell begins that a spreadsheet takes for a formula."""

_ACCESS = {Access.OPEN: "", Access.ALLOWED: " · ✅ allowed", Access.BLOCKED: " · ⛔ blocked"}


def name_of(guild_id: int, names: Mapping[int, str]) -> str:
    """A server as it is named in lists: its name where the bot knows it, and its id."""
    known = names.get(guild_id)
    return f"`{guild_id}`" if known is None else f"**{escaped(known, _NAME_MAX)}** `{guild_id}`"


def server_choice(guild_id: int, names: Mapping[int, str]) -> str:
    """A server as an autocomplete choice: plain text."""
    end = f" · {guild_id}"
    return fitting(one_line(names.get(guild_id, "not joined")), CHOICE_MAX - len(end), str) + end


def job_choice(job: Job, names: Mapping[int, str]) -> str:
    """A job as an autocomplete choice: plain text, without its prompt."""
    when = f"{job.created_at:%Y-%m-%d %H:%M} UTC"
    where = one_line(names.get(job.guild_id, str(job.guild_id)))
    return fitting(f"{when} · {job.order.resolution.value} · {job.id} · {where}", CHOICE_MAX, str)


def _joined(lines: Iterable[str]) -> str:
    """As many of the lines as a message takes, and how many more there are."""
    return joined_within(lines, CONTENT_MAX, rest="… and {left} more.")


def servers(uses: Sequence[GuildUsage], names: Mapping[int, str], report: HouseReport) -> tuple[str, bool]:
    """All servers with what they use, and whether that is all of them."""
    if not uses:
        return "No server has invited the bot yet.", True
    spent = report.spent
    head = (
        f"**{several(len(uses), 'server')}** · today {_of(spent.usd_today, report.budget.usd_per_day)}, "
        f"this month {_of(spent.usd_month, report.budget.usd_per_month)} · {report.left} under way"
    )
    lines = [head, *(_server_line(use, names, spent.usd_month) for use in uses)]
    text = joined_within(lines, CONTENT_MAX, rest="… and {left} more in the file.")
    return text, text == "\n".join(lines)


def _server_line(use: GuildUsage, names: Mapping[int, str], of_all: Decimal) -> str:
    state = _ACCESS[use.guild.access]
    state += " · ⏸️ paused" if use.guild.settings.paused else ""
    state += " · not there" if use.guild.left_at is not None else ""
    share = f" ({show_share(use.usd_month, of_all)} of all)" if of_all > 0 else ""
    failed = f" · {use.failed} of {use.asked} failed" if use.failed else ""
    return (
        f"{name_of(use.guild.id, names)}{state}\n-# today {use.videos_today} for {show_usd(use.usd_today)} "
        f"· month {use.videos_month} for {show_usd(use.usd_month)}{share}{failed}"
    )


def servers_csv(uses: Sequence[GuildUsage], names: Mapping[int, str]) -> bytes:
    """All servers, one row each, for a spreadsheet."""
    file = io.StringIO()
    rows = csv.writer(file)
    rows.writerow([
        "id", "name", "access", "paused", "left", "videos_today", "usd_today", "videos_month", "usd_month",
        "asked_month", "failed_month", "under_way",
    ])  # fmt: skip
    for use in uses:
        left = "" if use.guild.left_at is None else use.guild.left_at.isoformat()
        name = one_line(names.get(use.guild.id, ""))
        rows.writerow([
            use.guild.id, f"'{name}" if name.startswith(_FORMULA) else name, use.guild.access,
            use.guild.settings.paused, left, use.videos_today, f"{use.usd_today:f}", use.videos_month,
            f"{use.usd_month:f}", use.asked, use.failed, use.active,
        ])  # fmt: skip
    return file.getvalue().encode("utf-8-sig")


def budgets(report: HouseReport, rules: OperatorDefaults) -> str:
    """The budgets over everything, what is used of them, and where they come from."""
    own, each = report.house.budget, rules.guild_budget
    day, month = report.budget.usd_per_day, report.budget.usd_per_month
    return "\n".join([
        f"Today (UTC): **{_of(report.spent.usd_today, day)}**{_origin(own.usd_per_day)}",
        f"This month: **{_of(report.spent.usd_month, month)}**{_origin(own.usd_per_month)}",
        f"Queue: **{report.waiting} of {report.queue_max}** wait{_origin(report.house.max_queued)}",
        f"Other servers each: {show_limit(each.usd_per_day)} a day, {show_limit(each.usd_per_month)} a month",
        f"-# Change them with the options of this command; `{SETTING}` goes back to the setting.",
    ])  # fmt: skip


def server(use: GuildUsage, rules: OperatorDefaults, names: Mapping[int, str]) -> str:
    """One server's budget by the operator, and what is used of it."""
    own, admins = use.guild.budget, use.guild.settings.budget
    holds = own.over(rules.guild_budget)
    return "\n".join([
        f"{name_of(use.guild.id, names)}{_ACCESS[use.guild.access]}",
        f"Today (UTC): **{_of(use.usd_today, holds.usd_per_day)}**{_origin(own.usd_per_day)}",
        f"This month: **{_of(use.usd_month, holds.usd_per_month)}**{_origin(own.usd_per_month)}",
        f"Its admins' own: {show_limit(admins.usd_per_day)} a day, {show_limit(admins.usd_per_month)} a month",
    ])  # fmt: skip


def _origin(own: object) -> str:
    return " (the setting)" if own is None else " (set by command)"


def changed(changes: Sequence[Change]) -> str:
    """What was changed, each line "before → after"."""
    real = [change for change in changes if change.before != change.after]
    if not real:
        return "Nothing changed: it was so already."
    return _joined(_change(change) for change in real)


def _change(change: Change) -> str:
    before, after = (escaped(value or "nothing", 300) for value in (change.before, change.after))
    return f"**{escaped(change.what)}**: {before} → {after}"


def access(change: Change, cancelled: int, *, open_to_all: bool) -> str:
    """What a change of a server's access means."""
    text = changed([change])
    match change.after:
        case Access.BLOCKED:
            waiting = f"Cancelled while waiting, free: {several(cancelled, 'video')}. " if cancelled else ""
            return f"{text}\n{waiting}What is in the making is paid for and will be finished."
        case Access.ALLOWED:
            return f"{text}\nIt may use the bot, whatever OPEN_TO_ALL_SERVERS says."
        case _ if open_to_all:
            return f"{text}\nIt may use the bot, as all servers that are not blocked."
        case _:
            return f"{text}\nIt may not use the bot: OPEN_TO_ALL_SERVERS is false. `/operator allow` lets it in."


def drain(report: HouseReport) -> str:
    """Whether jobs are taken, and how many are left."""
    if not report.house.draining:
        return f"Draining is **off**: videos are taken. {_left(report)}"
    if report.left == 0:
        return "Draining is **on**, and nothing is left: the bot can be stopped."
    text = f"Draining is **on**: nothing new is taken. {_left(report)}"
    waiting = report.under_way.get(JobState.AWAITING, 0)
    if waiting:
        so = "the bot can be stopped" if waiting == report.left else "no need to wait for it"
        text += f"\nA moderator has {show_span(PATIENCE)} to answer, and what waits for one is kept: {so}."
    return text


def _left(report: HouseReport) -> str:
    if report.left == 0:
        return "Nothing is under way."
    shown = {
        "waiting for a moderator": report.under_way.get(JobState.AWAITING, 0),
        "queued": report.under_way.get(JobState.QUEUED, 0),
        "in the making": sum(
            report.under_way.get(state, 0)
            for state in (JobState.SUBMITTING, JobState.RUNNING, JobState.DELIVERING)
        ),
    }
    return f"{report.left} left: {', '.join(f'{count} {what}' for what, count in shown.items() if count)}."


def unreconciled(jobs: Sequence[Job], names: Mapping[int, str]) -> str:
    """Jobs of which nobody knows whether a task was paid."""
    if not jobs:
        return "Nothing needs reconciling: each submission was answered."
    head = (
        f"Never answered: **{several(len(jobs), 'submission')}**. Look for the task at the gateway: "
        "`/operator reconcile found` takes a job up again, `/operator reconcile lost` closes it."
    )
    return _joined([head, *(_open_line(job, names) for job in jobs)])


def _open_line(job: Job, names: Mapping[int, str]) -> str:
    cost = "" if job.estimated_cost_usd is None else f" · about {show_usd(job.estimated_cost_usd)}"
    handed_in = int((job.submitted_at or job.state_changed_at).timestamp())
    return (
        f"`{job.id}` · handed in before <t:{handed_in}:f> · {job.order.resolution.value}{cost}\n"
        f"-# {name_of(job.guild_id, names)} · member `{job.user_id}`"
    )


def found(job: Job) -> str:
    """What happens with a job whose task was found."""
    return (
        f"**job {escaped(job.id)}**: outcome unknown → found as task {escaped(job.upstream_id or '')}\n"
        "It is looked at now: the member gets the video for free, and its cost is settled."
    )


def lost(job: Job) -> str:
    """What it means that there is no task."""
    return f"**job {escaped(job.id)}**: outcome unknown → lost\nIt cost nothing and is not listed any more."


def costs(report: Costs) -> str:
    """Prices as they are reckoned with, and this month's ledger."""
    lines = ["**A video is expected to cost**"]
    for resolution in Resolution:
        known = report.learned.get(resolution)
        tasks = 0 if known is None else known.tasks
        why = f"learned from the last {tasks}" if tasks >= PRICE_FROM else f"the setting; {tasks} paid so far"
        setting = show_usd(report.settings[resolution])
        lines.append(f"{resolution.value}: **{show_usd(report.used[resolution])}** ({why}; set: {setting})")
    lines.append("**This month's ledger (UTC)**")
    shown = [(kind, report.kinds[kind]) for kind in EntryKind if kind in report.kinds]
    lines += [f"{kind.value}: {show_usd(it.usd)} in {several(it.lines, 'line')}" for kind, it in shown]
    lines.append(f"sum: **{show_usd(sum((it.usd for _, it in shown), Decimal(0)))}**")
    lines.append(f"Reserved for what is under way: {show_usd(report.reserved)}")
    if report.unknown:
        lines.append(
            f"⚠️ {several(report.unknown, 'submission')} without an answer may have cost "
            f"{show_usd(report.unknown_usd)} more: `/operator reconcile list`."
        )
    return _joined(lines)


def ledger(job: Job, entries: Sequence[Entry], names: Mapping[int, str]) -> str:
    """The lines about one job: each with time, amounts, who and why."""
    sums = total(entries)
    head = f"`{job.id}` · {job.state} · {name_of(job.guild_id, names)} · member `{job.user_id}`"
    if not entries:
        return f"{head}\nThe ledger has no lines about it."
    end = f"sum: {several(sums.videos, 'video')}, **{show_usd(sums.usd)}**"
    return _joined([head, end, *(_entry(entry) for entry in entries)])


def _entry(entry: Entry) -> str:
    who = "the bot" if entry.actor_id is None else mention(entry.actor_id)
    credit = f", credits {entry.sums.credits:+} (grant {entry.credit_grant_id})" if entry.sums.credits else ""
    return (
        f"<t:{int(entry.created_at.timestamp())}:f> **{entry.kind}** videos {entry.sums.videos:+}, "
        f"{show_usd(entry.sums.usd)}{credit} · {who} · {escaped(entry.reason, 200)}"
    )


def trail(changes: Sequence[Change]) -> str:
    """What operators changed, newest first."""
    if not changes:
        return "No operator has changed anything yet."
    return _joined(f"{relative(it.at)} {mention(it.by) if it.by else 'the bot'} {_change(it)}" for it in changes)


def ask_announce(reached: int, unreached: int) -> str:
    """The question before an announcement goes out."""
    nowhere = f" Not reached: {several(unreached, 'server')}, without a log channel or a system channel for me."
    silent = nowhere if unreached else ""
    where = "into the log channel or else the system channel"
    return f"This goes to **{several(reached, 'server')}**, {where}.{silent} Send it?"


def announced(result: Announced, names: Mapping[int, str]) -> str:
    """To whom an announcement went."""
    text = f"It is on its way to {several(result.told, 'server')}."
    if not result.unreached:
        return text
    return _joined([f"{text} Not to:", *(name_of(guild_id, names) for guild_id in result.unreached)])


def _of(used: Decimal, limit: Decimal | None) -> str:
    share = "" if limit is None else f", {show_share(used, limit)}"
    return f"{show_usd(used)} of {show_limit(limit)}{share}"
