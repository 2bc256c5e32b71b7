"""What the bot says to a server's admins about its jobs. Pure; foreign text is escaped, all fits a message."""

from collections.abc import Iterable, Iterator

from bot.chat.messages.failure_texts import failure_detail
from bot.chat.messages.markdown import (
    CONTENT_MAX,
    choice_name,
    discord_length,
    escaped,
    joined_within,
    mention,
    relative,
    several,
)
from bot.chat.messages.member_texts import STAGES, message_link
from bot.chat.messages.reason_texts import text_of
from bot.domain.jobs import FailureReason, Job, JobState, RecoveryProblem
from bot.services.admin.audited import AdminProblem, AdminRefused
from bot.services.admin.jobs import CannotRetry, JobOverview, NothingToRetry
from bot.store.jobs.overview import ActiveJob

REASONS = {
    FailureReason.REFUSED: "refused by the video service",
    FailureReason.REJECTED: "rejected by the video service's moderation",
    FailureReason.OUTCOME_UNKNOWN: "unknown whether the video service accepted it",
    FailureReason.UPSTREAM_FAILED: "the video service couldn't make it",
    FailureReason.TIMED_OUT: "took too long",
    FailureReason.RESULT_UNUSABLE: "the video service sent no usable video",
    FailureReason.UNDELIVERABLE: "couldn't be posted",
    FailureReason.ABANDONED: "kept failing",
    FailureReason.DECLINED: "a moderator declined it",
    FailureReason.EXPIRED: "no moderator answered in time",
    FailureReason.LOST: "the video service never got it",
}
"""Failures in words, short enough for a list."""

_SAY_ALL = {FailureReason.DECLINED, FailureReason.EXPIRED}
"""Failures whose detail says no more than the reason does."""

_PROMPT_MAX = 60
_DETAIL_MAX = 120
_FAILURES_MAX = 750
"""How much of the message is kept for the failures, in characters."""


def job_overview(overview: JobOverview) -> str:
    """How the server's jobs stand, the oldest first, and the latest failures."""
    lines = []
    if overview.closed_until is not None:
        lines.append(
            "⚠️ The video service isn't accepting videos right now. I'll try again "
            f"{relative(overview.closed_until)}; queued videos wait until then."
        )
    if not overview.count:
        lines.append("No videos are queued or being made in this server.")
    else:
        lines.append(f"**{several(overview.count, 'video')} in progress**")
    kept = min(_FAILURES_MAX, sum(discord_length(line) + 1 for line in _failures(overview.failures)))
    total = len(lines) + overview.count
    lines += map(_active_line, overview.active)
    text = joined_within(lines, CONTENT_MAX - kept, total=total, rest="…and {left} more")
    return joined_within([text, *_failures(overview.failures)], CONTENT_MAX)


def _active_line(active_job: ActiveJob) -> str:
    job = active_job.job
    said = [STAGES[job.state], mention(job.user_id), f"ordered {relative(job.created_at)}"]
    if active_job.place is not None:
        said.append("next in line" if active_job.place == 1 else f"number {active_job.place} in line")
    if job.state is JobState.RUNNING and job.progress is not None:
        said.append(f"{job.progress:.0%}")
    if job.cancel_requested:
        said.append("being stopped" if job.may_be_stopped else "cancelled, won't be posted")
    if job.attempts:
        times = "once" if job.attempts == 1 else f"{job.attempts} times in a row"
        again = f", next try {relative(job.due_at)}" if job.due_at is not None else ""
        said.append(f"⚠️ failed {times}{again}")
    if job.status_message_id is not None:
        said.append(message_link(job, job.status_message_id))
    return f"{' · '.join(said)}\n> {escaped(job.order.prompt, _PROMPT_MAX)}"


def _failures(jobs: Iterable[Job]) -> Iterator[str]:
    for number, job in enumerate(jobs):
        reason = "failed" if job.failure_reason is None else REASONS[job.failure_reason]
        says_all = job.failure_reason in _SAY_ALL or job.failure_detail is None
        detail = "" if says_all else f"\n> {failure_detail(job.failure_detail, _DETAIL_MAX)}"
        heading = "" if number else "**Recent failures**\n"
        sign = "🛡️" if job.failure_reason is FailureReason.REJECTED else "❌"
        yield f"{heading}{sign} {reason} · {mention(job.user_id)} · {relative(job.state_changed_at)}{detail}"


def choice(job: Job, name: str | None) -> str:
    """A job as an autocomplete choice. name: its member's, where known."""
    who = name or str(job.user_id or mention(0))
    return choice_name(f"{STAGES[job.state]} · {who} · {job.created_at:%d %b %H:%M} UTC · {job.order.prompt}")


def retried(job: Job) -> str:
    """The reply to a retry. job: as it was before."""
    who = mention(job.user_id)
    if job.state is JobState.FAILED:
        return (
            f"🔁 I'm checking on {who}'s video again and will post it if I can. It doesn't count against their "
            "limits, but its cost counts against this server's budget."
        )
    return f"🔁 I'm trying {who}'s video again now instead of waiting."


_NOTHING_TO_RETRY = {
    JobState.AWAITING: "That video is waiting for a moderator's approval, so there's nothing to retry.",
    JobState.DELIVERED: "That video is finished and posted, so there's nothing to retry.",
    JobState.CANCELLED: "That video was cancelled. The member has to order it again.",
}
_IN_PROGRESS = "That video is in progress and nothing has failed, so there's nothing to retry."
_ORDER_AGAIN = "The member has to order it again. It didn't count against their limits."
_CANNOT_RETRY = {
    RecoveryProblem.NO_TASK: f"That video failed before the video service accepted it. {_ORDER_AGAIN}",
    RecoveryProblem.TOO_OLD: (
        f"That video is too old: the video service only keeps videos for a while. {_ORDER_AGAIN}"
    ),
    RecoveryProblem.TASK_TAKEN: "Another job already has the same video, so there's nothing to retry.",
    RecoveryProblem.REJECTED: (
        "The video service's moderation rejected that video, and would again. The member can change the prompt or "
        "use another picture. It didn't count against their limits."
    ),
}


@text_of.register
def _(reason: NothingToRetry) -> str:
    return _NOTHING_TO_RETRY.get(reason.state, _IN_PROGRESS)


@text_of.register
def _(reason: CannotRetry) -> str:
    if reason.outcome_unknown:
        return (
            "I don't know whether the video service accepted that one, and sending it again could mean paying "
            "twice. Only the bot's operator can look it up. It doesn't count against the member's limits."
        )
    return _CANNOT_RETRY.get(reason.why) or text_of(AdminRefused(AdminProblem.UNKNOWN_JOB))
