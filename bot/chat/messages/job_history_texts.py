"""One job's past in words, for the operator's page: plain text, without markdown. Pure."""

from collections.abc import Mapping

from bot.chat.messages.audit_texts import phrase
from bot.chat.messages.failure_texts import failure_detail
from bot.chat.messages.job_overview_texts import REASONS
from bot.chat.messages.markdown import plain, several
from bot.chat.messages.member_texts import STAGES
from bot.chat.messages.provider_texts import provider_name
from bot.domain.audit_log import AuditEntry
from bot.domain.job_history import Event, Happened, PendingNotification
from bot.domain.jobs import ENDED, Job, JobState
from bot.domain.ledger import ZERO, Entry, EntryKind
from bot.domain.money import show_usd

_ENTRIES: Mapping[EntryKind, str] = {
    EntryKind.RESERVE: "reserved",
    EntryKind.SETTLE: "settled",
    EntryKind.RETURN: "returned",
    EntryKind.GRANT: "granted",
    EntryKind.ADJUST: "adjusted",
}
_NOTIFICATIONS = {
    "task_timed_out": "its task took too long, and may still cost something",
    "task_unresolved": "nobody knows whether its task exists",
    "answer_lost": "the answer to its submission was lost",
}


def state_name(state: JobState) -> str:
    """What a job is doing, without the sign before it."""
    return STAGES[state].split(" ", 1)[1]


def held_name(state: JobState) -> str:
    """What is being done to a job that a worker holds; one that has ended is still to be announced."""
    return "over, being announced" if state in ENDED else state_name(state)


def why_failed(job: Job) -> str:
    """Why it failed, in a few words; empty if it didn't."""
    if job.state is not JobState.FAILED:
        return ""
    return "failed" if job.failure_reason is None else REASONS[job.failure_reason]


def what_failed(job: Job) -> str:
    """What happened to a job that failed or that somebody cancelled, in sentences; empty if nothing is known."""
    if job.failure_detail is None:
        return ""
    return plain(failure_detail(job.failure_detail, reason=job.failure_reason))


def event_text(event: Event, job: Job) -> str:
    """What happened, in a line."""
    match event.what, event.about:
        case Happened.ORDERED, _:
            return "Ordered"
        case Happened.GIVEN, _:
            where = "a provider" if job.provider is None else provider_name(job.provider)
            return f"Given to {where}, to be submitted"
        case Happened.SUBMITTED, _:
            return "Submitted: its task exists"
        case Happened.SEEN_RUNNING, _:
            return "Last seen running by a poll"
        case Happened.COST_UNKNOWN, _:
            return "Its cost is unknown from here on, and held in the budgets"
        case _, Entry() as entry:
            return _entry(entry)
        case _, AuditEntry() as action:
            who = "The bot's operator" if action.actor_id is None else f"Member {action.actor_id}"
            return f"{who} {plain(phrase(action))}"
        case _, PendingNotification(kind=kind, due_at=due_at):
            what = _NOTIFICATIONS.get(kind, kind)
            return f"Notification written: {what}; to be posted from {due_at:%H:%M:%S} UTC on"
        case _, JobState() as state:
            reason = why_failed(job)
            return f"Now {state_name(state)}{f': {reason}' if reason and reason != state else ''}"
        case _:
            return event.what.value


def _entry(entry: Entry) -> str:
    amounts = ZERO - entry.amounts if entry.kind is EntryKind.RETURN else entry.amounts
    parts = [show_usd(amounts.usd)] if amounts.usd else []
    parts += [several(amounts.videos, "video")] if amounts.videos else []
    parts += [several(amounts.credits, "credit")] if amounts.credits else []
    who = "" if entry.actor_id is None else f", by member {entry.actor_id}"
    return f"Ledger: {_ENTRIES[entry.kind]} {', '.join(parts) or 'nothing'} ({entry.reason}){who}"
