"""What the bot says to a server's admins about its jobs. Pure; foreign text is escaped, all fits a message."""

from collections.abc import Iterable, Iterator

from bot.chat.messages.failure_texts import failure_detail
from bot.chat.messages.markdown import escaped, fitting, mention, one_line, relative, room, several
from bot.chat.messages.member_texts import CHOICE_MAX, CONTENT_MAX, message_link
from bot.domain.jobs import CancelResult, FailureReason, Job, JobState
from bot.services.admin.jobs import Cancelled, JobOverview, Retried
from bot.store.jobs.overview import Standing

STAGES = {
    JobState.AWAITING: "🛂 waits for a moderator",
    JobState.QUEUED: "⏳ queued",
    JobState.SUBMITTING: "📤 being handed in",
    JobState.RUNNING: "🎞️ in the making",
    JobState.DELIVERING: "📬 being posted",
    JobState.DELIVERED: "✅ finished",
    JobState.FAILED: "❌ failed",
    JobState.CANCELLED: "🚫 cancelled",
}

REASONS = {
    FailureReason.REFUSED: "refused by the video service",
    FailureReason.OUTCOME_UNKNOWN: "unknown whether the video service took it",
    FailureReason.UPSTREAM_FAILED: "given up by the video service",
    FailureReason.TIMED_OUT: "took too long",
    FailureReason.RESULT_UNUSABLE: "no usable video came back",
    FailureReason.UNDELIVERABLE: "could not be posted",
    FailureReason.ABANDONED: "broke off again and again",
    FailureReason.DECLINED: "declined by a moderator",
    FailureReason.EXPIRED: "no moderator looked in time",
    FailureReason.LOST: "never taken by the video service",
}
"""Failures in words, short enough for a list."""

_SAY_ALL = {FailureReason.DECLINED, FailureReason.EXPIRED}
"""Failures whose detail says no more than the reason does."""

_PROMPT_MAX = 60
_DETAIL_MAX = 120
_MORE_ROOM = 60
"""What the line takes that says how many are not shown."""
_FAILURES_ROOM = 750
"""What is kept for failures where there are some."""


def board(board: JobOverview) -> str:
    """How the server's jobs stand, the oldest first, and what failed of late."""
    lines = []
    if board.closed_until is not None:
        lines.append(
            f"⚠️ The video service takes no orders at present; the next try is {relative(board.closed_until)}. "
            "What is queued waits for that."
        )
    if not board.count:
        lines.append("No video is queued or in the making in this server.")
    else:
        lines.append(f"**{several(board.count, 'video')} not over yet**")
    kept = min(_FAILURES_ROOM, sum(room(line) + 1 for line in _failures(board.failures)))
    text = _filled("\n".join(lines), map(_standing, board.active), CONTENT_MAX - kept, board.count)
    return _filled(text, _failures(board.failures), CONTENT_MAX)


def _filled(text: str, more: Iterable[str], most: int, count: int | None = None) -> str:
    """The text with as many of the entries as fit; count: how many there are, to say how many are left out."""
    shown = 0
    for entry in more:
        if room(text) + room(entry) + 1 > most - (0 if count is None else _MORE_ROOM):
            break
        text += f"\n{entry}"
        shown += 1
    return f"{text}\n…and {count - shown} more." if count is not None and count > shown else text


def _standing(standing: Standing) -> str:
    job = standing.job
    said = [STAGES[job.state], mention(job.user_id), f"asked {relative(job.created_at)}"]
    if standing.place is not None:
        said.append("next in line" if standing.place == 1 else f"number {standing.place} in line")
    if job.state is JobState.RUNNING and job.progress is not None:
        said.append(f"{job.progress:.0%}")
    if job.cancel_requested:
        said.append("given up, will not be posted")
    if job.attempts:
        times = "once" if job.attempts == 1 else f"{job.attempts} times in a row"
        again = f", next try {relative(job.due_at)}" if job.due_at is not None else ""
        said.append(f"⚠️ failed {times}{again}")
    if job.status_message_id is not None:
        said.append(message_link(job, job.status_message_id))
    return f"{' · '.join(said)}\n> {escaped(job.order.prompt, _PROMPT_MAX)}"


def _failures(jobs: Iterable[Job]) -> Iterator[str]:
    for number, job in enumerate(jobs):
        reason = "failed" if job.failure is None else REASONS[job.failure]
        says_all = job.failure in _SAY_ALL or job.failure_detail is None
        detail = "" if says_all else f"\n> {failure_detail(job.failure_detail, _DETAIL_MAX)}"
        heading = "" if number else "**Failed of late**\n"
        yield f"{heading}❌ {reason} · {mention(job.user_id)} · {relative(job.state_since)}{detail}"


def choice(job: Job, name: str | None) -> str:
    """A job as an autocomplete choice: plain text, cut to what Discord takes. name: its member's, where known."""
    who = one_line(name or str(job.user_id or mention(0)))
    when = f"{job.created_at:%d %b %H:%M} UTC"
    return fitting(f"{STAGES[job.state]} · {who} · {when} · {one_line(job.order.prompt)}", CHOICE_MAX, str)


def cancelled(done: Cancelled) -> str:
    """What became of an admin's wish to cancel, or the question before it."""
    job, who = done.job, mention(done.job.user_id)
    change = f"{STAGES[job.state]} → {STAGES[JobState.CANCELLED]}"
    if done.result is CancelResult.PAID:
        return (
            f"This video of {who} is already being made and can't be stopped: it is paid for. Cancelling it means "
            f"that it is never posted. It then no longer counts for {who}; what it costs stays in this server's "
            f"budget.\n> {escaped(job.order.prompt, _PROMPT_MAX)}"
        )
    if done.result is CancelResult.CANCELLED:
        return f"{change}. The video of {who} had not started: it costs nothing and does not count for them."
    return (
        f"{change}. The video of {who} will not be posted and no longer counts for them. It was already under "
        "way: what it costs stays in this server's budget."
    )


def retried(done: Retried) -> str:
    """What became of an admin's wish to try again."""
    who = mention(done.job.user_id)
    if done.revived:
        return (
            f"{STAGES[JobState.FAILED]} → {STAGES[JobState.RUNNING]}. The video of {who} is looked for again, and "
            "posted if it can be. It does not count for them; what it costs counts in this server's budget."
        )
    return f"{STAGES[done.job.state]}, waiting after a failure → tried again now. The video of {who} goes on."
