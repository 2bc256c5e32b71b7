"""Texts for the operator. Pure: takes reports, returns Discord markdown and a CSV file.

Server names are foreign text and escaped. Lists are cut to what fits in a message and say so.
"""

import csv
import io
import shlex
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from bot.chat.messages.audit_texts import answer, phrase
from bot.chat.messages.cancellation_texts import stop_for_operator
from bot.chat.messages.markdown import (
    CONTENT_MAX,
    choice_name,
    escaped,
    exact,
    joined_within,
    mention,
    one_line,
    relative,
    several,
)
from bot.chat.messages.provider_texts import provider_name
from bot.chat.messages.reason_texts import text_of
from bot.chat.messages.server_names import known_name, name_of
from bot.domain.approvals import APPROVAL_TIMEOUT
from bot.domain.audit_log import AuditEntry
from bot.domain.durations import show_duration
from bot.domain.guilds import Access, Budget, OperatorDefaults
from bot.domain.jobs import Job, JobState, ProviderName, RecoveryProblem
from bot.domain.money import show_limit, show_share, show_usd
from bot.services.admin.usage import safe_cell
from bot.services.operator.operator_input import SETTING, BudgetIsSet, OperatorProblem, OperatorRefused
from bot.services.operator.reports import AnnouncementReach, GateReport, OperatorOverview, ProviderGate
from bot.services.operator.service import CannotReconcile
from bot.store.maintenance.file_watch import LostFile
from bot.store.operator_reports import GuildUsage
from bot.store.schema import NOBODY

ANNOUNCEMENT_MAX = 1500
"""The longest announcement, in characters."""

_ACCESS = {Access.OPEN: "", Access.ALLOWED: " · ✅ allowed", Access.BLOCKED: " · ⛔ blocked"}


def job_choice(job: Job, names: Mapping[int, str]) -> str:
    """A job as an autocomplete choice, without its prompt."""
    when, where = f"{job.created_at:%Y-%m-%d %H:%M} UTC", known_name(job.guild_id, names) or job.guild_id
    return choice_name(f"{when} · {job.order.resolution} · {job.id} · {where}")


def _joined(lines: Iterable[str]) -> str:
    """As many of the lines as fit in a message, and how many more there are."""
    return joined_within(lines, CONTENT_MAX, rest="… and {left} more")


def servers(uses: Sequence[GuildUsage], names: Mapping[int, str], report: OperatorOverview) -> tuple[str, bool]:
    """All servers with what they use, and whether that is all of them."""
    if not uses:
        return "The bot isn't in any server yet.", True
    spent = report.spent
    head = (
        f"**{several(len(uses), 'server')}** · today {_of(spent.usd_today, report.budget.usd_per_day)}, "
        f"this month {_of(spent.usd_month, report.budget.usd_per_month)} · {report.left} in progress"
    )
    lines = [head, *(_server_line(use, names, spent.usd_month) for use in uses)]
    text = joined_within(lines, CONTENT_MAX, rest="… and {left} more in the file.")
    return text, text == "\n".join(lines)


def _server_line(use: GuildUsage, names: Mapping[int, str], of_all: Decimal) -> str:
    state = _ACCESS[use.guild.access]
    state += " · ⏸️ paused" if use.guild.settings.paused else ""
    state += " · bot removed" if use.guild.left_at is not None else ""
    share = f" ({show_share(use.usd_month, of_all)} of the total)" if of_all > 0 else ""
    failed = f" · {use.failed} of {use.asked} failed" if use.failed else ""
    where = "".join(
        f" · {show_usd(usd)} at {provider_name(provider)}" for provider, usd in sorted(use.usd_by_provider.items())
    )
    return (
        f"{name_of(use.guild.id, names)}{state}\n-# today {use.videos_today} for {show_usd(use.usd_today)} "
        f"· this month {use.videos_month} for {show_usd(use.usd_month)}{share}{failed}{where}"
    )


def servers_csv(uses: Sequence[GuildUsage], names: Mapping[int, str]) -> bytes:
    """All servers, one row each, for a spreadsheet; by provider too, where there was ever more than one."""
    providers = sorted({provider for use in uses for provider in use.usd_by_provider})
    file = io.StringIO()
    rows = csv.writer(file)
    rows.writerow([
        "id", "name", "access", "paused", "left", "videos_today", "usd_today", "videos_month", "usd_month",
        "asked_month", "failed_month", "under_way", *(f"usd_month_{provider}" for provider in providers),
    ])  # fmt: skip
    for use in uses:
        left = "" if use.guild.left_at is None else use.guild.left_at.isoformat()
        rows.writerow([
            use.guild.id, safe_cell(one_line(known_name(use.guild.id, names) or "")), use.guild.access,
            use.guild.settings.paused, left, use.videos_today, f"{use.usd_today:f}", use.videos_month,
            f"{use.usd_month:f}", use.asked, use.failed, use.active,
            *(f"{use.usd_by_provider.get(provider, Decimal(0)):f}" for provider in providers),
        ])  # fmt: skip
    return file.getvalue().encode("utf-8-sig")


def budgets(report: OperatorOverview, rules: OperatorDefaults) -> str:
    """The budgets across all servers, how much is used, and where they come from."""
    return "\n".join([
        *_budget(report.state.budget, report.budget, report.spent.usd_today, report.spent.usd_month),
        f"Queue: **{report.waiting} of {report.queue_max}** waiting{_origin(report.state.max_queued)}",
        f"Each server by default: {_limits(rules.guild_budget)}",
        f"-# This command's options change them; `{SETTING}` goes back to the default from the bot's settings.",
    ])  # fmt: skip


def server(use: GuildUsage, rules: OperatorDefaults, names: Mapping[int, str]) -> str:
    """The operator's budget for one server, and how much of it is used."""
    own = use.guild.budget
    return "\n".join([
        f"{name_of(use.guild.id, names)}{_ACCESS[use.guild.access]}",
        *_budget(own, own.over(rules.within(use.guild.id).guild_budget), use.usd_today, use.usd_month),
        f"Set by its admins: {_limits(use.guild.settings.budget)}",
    ])  # fmt: skip


def _budget(own: Budget, applies: Budget, usd_today: Decimal, usd_month: Decimal) -> tuple[str, str]:
    return (
        f"Today (UTC): **{_of(usd_today, applies.usd_per_day)}**{_origin(own.usd_per_day)}",
        f"This month: **{_of(usd_month, applies.usd_per_month)}**{_origin(own.usd_per_month)}",
    )


def _limits(budget: Budget) -> str:
    return f"{show_limit(budget.usd_per_day)} per day, {show_limit(budget.usd_per_month)} per month"


def _origin(own: object) -> str:
    return " (default)" if own is None else " (set by command)"


def changed(entries: Sequence[AuditEntry]) -> str:
    """What was changed."""
    real = [entry for entry in entries if entry.change.is_change]
    return _joined(map(answer, real or entries[:1]))


def access(entry: AuditEntry, access: Access, cancelled: int, *, open_to_all: bool) -> str:
    """What a change of a server's access means."""
    text = answer(entry)
    match access:
        case Access.BLOCKED:
            waiting = f"I cancelled {several(cancelled, 'queued video')} at no cost. " if cancelled else ""
            return f"{text}\n{waiting}Videos already being made are paid for and will be finished."
        case Access.ALLOWED:
            return f"{text}\nIt can make videos, whatever OPEN_TO_ALL_SERVERS says."
        case _ if open_to_all:
            return f"{text}\nIt can make videos, like every server that isn't blocked."
        case _:
            return (
                f"{text}\nIt can't make videos, because OPEN_TO_ALL_SERVERS is false. `/operator allow` allows it."
            )


def drain(report: OperatorOverview) -> str:
    """Whether new jobs are accepted, and how many are left."""
    if not report.state.draining:
        return f"Draining is **off**: I'm taking new videos. {_left(report)}"
    if report.left == 0:
        return "Draining is **on** and nothing is left to finish. You can stop the bot now."
    text = f"Draining is **on**: I'm not taking new videos. {_left(report)}"
    waiting = report.active.get(JobState.AWAITING, 0)
    if waiting:
        so = "you can stop the bot now" if waiting == report.left else "you don't have to wait for those"
        text += f"\nVideos waiting for a moderator are kept for {show_duration(APPROVAL_TIMEOUT)}, so {so}."
    return text


def _left(report: OperatorOverview) -> str:
    if report.left == 0:
        return "Nothing is in progress."
    shown = {
        "waiting for a moderator": report.active.get(JobState.AWAITING, 0),
        "queued": report.active.get(JobState.QUEUED, 0),
        "being made": sum(
            report.active.get(state, 0) for state in (JobState.SUBMITTING, JobState.RUNNING, JobState.DELIVERING)
        ),
    }
    return f"{report.left} left: {', '.join(f'{count} {what}' for what, count in shown.items() if count)}."


def gate(report: GateReport) -> str:
    """Whether jobs are submitted, and if not, why and until when; of each provider."""
    lines = [_gate_line(provider, gate) for provider, gate in report.gates.items()]
    lines += [
        f"`PROVIDERS` doesn't name {provider_name(provider)}, where {several(tasks, 'video')} "
        f"{'is' if tasks == 1 else 'are'} still being made."
        for provider, tasks in report.former.items()
    ]
    lines.append(f"{several(report.queued, 'video')} queued.")
    if any(gate.closed_until is not None for gate in report.gates.values()):
        lines.append("-# `/operator gate state:open` tries again now.")
    return "\n".join(lines)


def _gate_line(provider: ProviderName, gate: ProviderGate) -> str:
    said = f"\n> {escaped(gate.reason, 500)}" if gate.reason else ""
    if gate.is_out_of_budget:
        return (
            f"I'm **not submitting** videos to {provider_name(provider)}: its budget in the bot's settings is "
            "used up for this day or month (UTC). `/operator costs` shows how much it is."
        )
    if gate.closed_until is None:
        last = f" The last {several(gate.failures, 'submission')} failed:{said}" if gate.failures else ""
        return f"I'm submitting videos to {provider_name(provider)}.{last}"
    until = f"until {exact(gate.closed_until)} ({relative(gate.closed_until)})"
    return f"I'm **not submitting** videos to {provider_name(provider)} {until}. The reason:{said}"


def unreconciled(jobs: Sequence[Job], names: Mapping[int, str]) -> str:
    """Jobs for which it isn't known whether a task was paid for."""
    if not jobs:
        return "Nothing needs reconciling: the outcome of every submission is known."
    head = (
        f"I don't know whether **{several(len(jobs), 'video')}** will be on your bill. Look for each task "
        f"{_where(jobs)}. If it has a video, use `/operator reconcile found` to "
        "continue the job; if there's no task, or one that cost nothing, `/operator reconcile lost` closes it and "
        "frees its budget."
    )
    shows_provider = len({job.provider for job in jobs}) > 1
    return _joined([head, *(_open_line(job, names, shows_provider=shows_provider) for job in jobs)])


def _where(jobs: Iterable[Job]) -> str:
    """Where to look for the tasks of these jobs. A restore ends jobs that any provider may have got since."""
    known = sorted({job.provider for job in jobs if job.provider is not None})
    return f"at {' or '.join(map(provider_name, known))}" if known else "in your provider's list"


def _open_line(job: Job, names: Mapping[int, str], *, shows_provider: bool) -> str:
    cost = "" if job.estimated_cost_usd is None else f" · about {show_usd(job.estimated_cost_usd)}"
    task = "no answer" if job.upstream_id is None else f"task {escaped(job.upstream_id)}"
    if job.user_id == NOBODY:
        task = "its member's data was deleted, so only `lost` can close it"
    elif job.state is JobState.CANCELLED:
        stopped = stop_for_operator(job)
        task += f", cancelled{f' ({stopped})' if stopped else ''}"
    if shows_provider:
        task += f" · {'at any provider' if job.provider is None else f'at {provider_name(job.provider)}'}"
    return (
        f"`{job.id}` · submitted before {exact(job.submitted_at or job.state_changed_at)} · {job.order.resolution}"
        f"{cost} · {task}\n"
        f"-# {name_of(job.guild_id, names)} · member `{job.user_id}`"
    )


def found(job: Job) -> str:
    """What happens with a job whose task was found."""
    if job.cancel_requested:
        what = "It was cancelled, so nobody gets its video, but its cost goes into the ledger."
    else:
        what = "The member gets the video for free, and its cost goes into the ledger."
    return (
        f"✅ Job `{job.id}` continues with task {escaped(job.upstream_id or '')}.\nI'm checking on it now. {what}"
    )


def lost(job: Job) -> str:
    """What it means that the job has no task, or one that costs nothing."""
    return f"✅ Closed job `{job.id}`.\nNo cost is held for it any more, and it's no longer listed."


def _actor(entry: AuditEntry) -> str:
    return "the bot" if entry.actor_id is None else mention(entry.actor_id)


def audit_log_lines(entries: Sequence[AuditEntry]) -> str:
    """What operators changed, newest first."""
    if not entries:
        return "No operator has changed anything yet."
    return _joined(f"{relative(entry.created_at)} {_actor(entry)} {phrase(entry)}" for entry in entries)


def ask_announce(reached: int, unreached: int) -> str:
    """The question before an announcement goes out."""
    silent = f" I can't post in {several(unreached, 'more server')}." if unreached else ""
    where = "in the log channel or, without one, the system channel"
    return f"This will be posted in **{several(reached, 'server')}**, {where}.{silent} Send it?"


def announced(result: AnnouncementReach, names: Mapping[int, str]) -> str:
    """Where an announcement goes."""
    text = f"📣 On its way to {several(result.reached, 'server')}."
    if not result.unreached:
        return text
    return _joined([f"{text} I can't post in:", *(name_of(guild_id, names) for guild_id in result.unreached)])


def database_lost(lost: LostFile) -> str:
    """Tells the operator that the database file is gone, and what to do."""
    what_to_do = (
        "If the same file comes back (`mv`), the bot continues by itself. Otherwise stop the bot, restore a "
        "backup with `zoetrope db restore FILE`, and start it."
        if lost.copy is None
        else f"Everything up to this moment is saved in `{lost.copy}`. Stop the bot, run `zoetrope db restore "
        f"{shlex.quote(str(lost.copy))} --resume`, and start it. If the same file comes back (`mv`), the bot "
        "continues by itself."
    )
    return (
        f"🚨 **The database file is gone.** Somebody deleted, moved or replaced `{lost.file}` while the bot runs. "
        f"No orders are accepted and nothing is written until this is fixed. {what_to_do}"
    )


def _of(used: Decimal, limit: Decimal | None) -> str:
    share = "" if limit is None else f", {show_share(used, limit)}"
    return f"{show_usd(used)} of {show_limit(limit)}{share}"


@text_of.register
def _(reason: BudgetIsSet) -> str:
    return (
        f"A command can't remove the budget of {show_limit(reason.limit)} that the bot's settings set. Choose "
        f"another amount, or `{SETTING}` to go back to it. To remove it, change the settings themselves."
    )


_CANNOT_RECONCILE = {
    RecoveryProblem.UNKNOWN: "There's no job with that id. `/operator reconcile list` shows the open ones.",
    RecoveryProblem.NOT_FAILED: (
        "That job hasn't failed, or has already been resumed, so there's nothing to reconcile."
    ),
    RecoveryProblem.NO_TASK: "That job already has another task, so there's nothing to find.",
    RecoveryProblem.TOO_OLD: (
        "That job's task is too old to ask about. Close the job with `/operator reconcile lost`."
    ),
    RecoveryProblem.NO_PROVIDER: (
        "A restore ended that job before I knew which provider would get it. Use the command again and choose in "
        "`provider` where you found its task."
    ),
    RecoveryProblem.TASK_TAKEN: "Another job already has that task id. Nothing was changed; please check the id.",
    RecoveryProblem.REJECTED: (
        "The video service's moderation rejected that job and bills nothing for it, so there's nothing to "
        "reconcile."
    ),
    RecoveryProblem.ERASED: (
        "That job's member deleted their data, so there's nobody to make the video for. Close it with "
        "`/operator reconcile lost`."
    ),
    RecoveryProblem.NOT_UNKNOWN: "It's already known what happened to that job, so there's nothing to reconcile.",
}


@text_of.register
def _(reason: CannotReconcile) -> str:
    return _CANNOT_RECONCILE[reason.why]


_REFUSALS = {
    OperatorProblem.NO_SERVER: (
        "That isn't a server. Choose one from the list or paste its id, a number that Discord copies in "
        "developer mode."
    ),
    OperatorProblem.NO_TASK_ID: (
        "That isn't a task id: those have 4 to 200 letters, digits and `.` `_` `:` `-`. Copy it from the "
        "service's list of tasks."
    ),
    OperatorProblem.QUEUE_IS_SHARED: "All servers share one queue, so leave `server` out to set `queue_max`.",
    OperatorProblem.QUEUE_OUT_OF_BOUNDS: f"Choose a number from 1 to {{0.limit:,}}, or `{SETTING}`.",
    OperatorProblem.UNKNOWN_JOB: (
        "There's no job with that id. You'll find ids in the log and in `/operator reconcile list`."
    ),
}


@text_of.register
def _(reason: OperatorRefused) -> str:
    return _REFUSALS[reason.problem].format(reason)
