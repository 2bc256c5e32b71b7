"""What the bot says in Discord about orders and jobs.

Pure: jobs and numbers come in, Discord's markdown goes out. Foreign text is escaped: see
`bot.chat.messages.markdown`.
"""

from collections.abc import Sequence
from datetime import timedelta

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
from bot.domain.durations import show_span, window_text
from bot.domain.jobs import CancelReason, FailureReason, Job, JobState
from bot.domain.limits import Allowance, Credit, Limit, Origin
from bot.domain.orders import PROMPT_MAX
from bot.services.videos import Accepted

LIST_PROMPT_MAX = 60
_GRANTS_MAX = 20

_PROMPT_ROOM = 2 * PROMPT_MAX
"""What a prompt takes at the most, each of its characters escaped."""
_FAILURE_ROOM = CONTENT_MAX - _PROMPT_ROOM - 200
"""What is left for an upstream's reason beside the prompt and the bot's own words (under 200)."""


def message_link(job: Job, message_id: int) -> str:
    """The address of a message in the job's channel."""
    return f"https://discord.com/channels/{job.guild_id}/{job.channel_id}/{message_id}"


def status(job: Job) -> str:
    """The public status message: what, for whom, how it stands, later how it ended."""
    return _with_prompt(_stage(job, mention(job.user_id)), job)


def _stage(job: Job, who: str) -> str:
    match job.state:
        case JobState.AWAITING:
            return f"⏳ A video for {who} waits for a moderator to let it through."
        case JobState.QUEUED | JobState.SUBMITTING:
            return f"⏳ A video for {who} is queued and starts as soon as a place is free."
        case JobState.RUNNING | JobState.DELIVERING:
            since = f" since <t:{int(job.submitted_at.timestamp())}:R>" if job.submitted_at else ""
            return f"🎞️ A video for {who} is in the making{since}. It usually takes a minute or two."
        case JobState.DELIVERED:
            link = f": {message_link(job, job.result_message_id)}" if job.result_message_id else "."
            return f"✅ The video for {who} is finished{link}"
        case JobState.FAILED:
            sign, ended = _FAILED.get(job.failure_reason, _DID_NOT_WORK)
            return f"{sign} The video for {who} {ended} {_failure(job)}"
        case JobState.CANCELLED:
            return f"🚫 The video for {who} was cancelled. {_cancelled(job)}"


def failure(job: Job) -> str:
    """What tells the requester that it did not work out, or that somebody else cancelled it, with a ping."""
    if job.state is JobState.CANCELLED:
        return _with_prompt(f"{mention(job.user_id)}, your video was cancelled. {_cancelled(job)}", job)
    _, ended = _FAILED.get(job.failure_reason, _DID_NOT_WORK)
    return _with_prompt(f"{mention(job.user_id)}, your video {ended} {_failure(job)}", job)


def _cancelled(job: Job) -> str:
    counts = "It was already paid for and counts." if job.charged else "It does not count."
    if job.failure_detail is None:
        return counts
    why = CANCELLED_WHY.get(job.failure_detail) or escaped(job.failure_detail, _FAILURE_ROOM)
    return f"{why} {counts}"


CANCELLED_WHY: dict[str, str] = {
    CancelReason.BY_ADMIN: "An admin of this server cancelled it.",
    CancelReason.SERVER_BLOCKED: "The bot's operator has stopped taking videos from this server.",
}


def _with_prompt(text: str, job: Job) -> str:
    return text if _is_withheld(job) else f"{text}\n> {_quoted_prompt(job)}"


def _is_withheld(job: Job) -> bool:
    """Whether the prompt is not for everybody's eyes: no moderator has let it through, if one was to be asked."""
    if job.submitted_at is not None:
        return False
    if job.state is JobState.AWAITING or job.failure_reason in _UNSEEN:
        return True
    return job.state is JobState.CANCELLED  # it may have waited for a moderator, card or not


_UNSEEN = {FailureReason.DECLINED, FailureReason.EXPIRED, FailureReason.UNDELIVERABLE, FailureReason.ABANDONED}
"""Ends that a job may come to before a moderator let it through."""

_DID_NOT_WORK = ("❌", "did not work out.")
_FAILED: dict[FailureReason | None, tuple[str, str]] = {
    FailureReason.DECLINED: ("🚫", "was not let through."),
    FailureReason.EXPIRED: ("⌛", "was not let through in time."),
}
"""How the end of a job is called, where nothing broke."""


def _failure(job: Job) -> str:
    otherwise = "A moderator declined it." if job.failure_reason is FailureReason.DECLINED else "I don't know why."
    detail = escaped(job.failure_detail or otherwise, _FAILURE_ROOM)
    end = "" if detail.endswith((".", "!", "?", "…", "。")) else "."
    text = f"{detail}{end} It does not count against your quota."
    if job.credit_grant_id is not None:
        text += " Its credit goes back."
    if job.failure_reason is FailureReason.OUTCOME_UNKNOWN:
        text += f" The operator can look it up as job {escaped(job.id)}."
    return text


def video(job: Job) -> str:
    """The text above a finished video: whose it is, the prompt, and the numbers that repeat it."""
    numbers = [job.order.resolution.value]
    if job.order.seed is not None:
        numbers.append(f"seed {job.order.seed}")
    if not job.order.prompt_extend:
        numbers.append("prompt not extended")
    if job.order.watermark:
        numbers.append("watermark")
    lines = [
        f"{mention(job.user_id)}, here is your video.",
        f"> {_quoted_prompt(job)}",
        f"-# {' · '.join(numbers)}",
    ]
    return "\n".join(lines)


def _quoted_prompt(job: Job) -> str:
    """The prompt whole: 800 characters, each escaped, still leave room in a message of 2,000."""
    return escaped(job.order.prompt)


_ORDERED = "Your video is ordered. It appears in this channel when it is finished, and I'll ping you."
_AWAITS = (
    "Your video is ordered, and a moderator has to let it through. Until then it costs nothing; after a day "
    "without an answer it expires. When it is finished, it appears in this channel, and I'll ping you."
)


def accepted(result: Accepted) -> str:
    """The private answer to an accepted order."""
    lines = [_AWAITS if result.job.state is JobState.AWAITING else _ORDERED]
    if result.job.credit_grant_id is not None:
        lines.append("Your window is full, so it takes one of your credits.")
    if result.note:
        lines.append(f"Your picture was changed to suit the model: {result.note}.")
    return "\n".join(lines)


def quota(result: Allowance) -> str:
    """What a member may have and has, where it comes from, and when there is more."""
    return _quota(result) if result.stopped is None else f"🛑 {result.stopped}\n{_quota(result)}"


def _quota(result: Allowance) -> str:
    limits, usage = result.limits, result.usage
    if limits.exempt:
        return (
            "You manage me here, and this server sets its admins no limits of their own. "
            "What the whole server and the operator allow holds for you, too.\n"
            f"You have made **{several(len(usage.counted_at), 'video')}** "
            f"in the last {window_text(limits.window)}; "
            f"**{usage.running}** are under way."
        )
    limit = limits.videos_per_window.value
    used = f"**{len(usage.counted_at)} of {limit}** videos in the last {window_text(limits.window)}"
    lines = [
        f"You have used {used} ({_origin(limits.videos_per_window)}).",
        f"**{usage.running} of {limits.max_active.value}** are under way ({_origin(limits.max_active)}).",
    ]
    if limits.cooldown_s.value:
        pause = show_span(timedelta(seconds=limits.cooldown_s.value))
        ends = result.pause_ends_at
        when = "" if ends is None else f"; you can ask again {relative(ends)}"
        lines.append(f"Between two requests there is a pause of {pause} ({_origin(limits.cooldown_s)}){when}.")
    if result.next_free_at is not None:
        lines.append(f"The next one frees {relative(result.next_free_at)}.")
    elif not limits.videos_per_window.value:
        lines.append("None are given at present; the admins of this server can change that.")
    if usage.credits:
        lines.append(_credits(usage.credits))
    return "\n".join(lines)


def _origin(limit: Limit) -> str:
    match limit.origin:
        case Origin.MEMBER:
            return "set for you"
        case Origin.ROLE:
            return f"from role <@&{limit.role_id}>"
        case Origin.SERVER:
            return "this server's"
        case Origin.OPERATOR:
            return "as by default"


def _credits(grants: Sequence[Credit]) -> str:
    """What is left of the member's grants, the first to expire first; no more of them than fit a message."""
    total = sum(grant.left for grant in grants)
    lasting = "for good"
    parts = [
        f"{grant.left} {lasting if grant.expires_at is None else f'expiring {relative(grant.expires_at)}'}"
        for grant in grants[:_GRANTS_MAX]
    ]
    more = ", …" if len(grants) > _GRANTS_MAX else ""
    return (
        f"Beside that you have **{several(total, 'credit')}** for when they are used up: {', '.join(parts)}{more}."
    )


_LIST_STAGE = {
    JobState.AWAITING: "⏳ waits for a moderator",
    JobState.QUEUED: "⏳ queued",
    JobState.SUBMITTING: "⏳ being handed in",
    JobState.RUNNING: "🎞️ in the making",
    JobState.DELIVERING: "📬 being posted",
    JobState.DELIVERED: "✅ finished",
    JobState.FAILED: "❌ did not work out",
    JobState.CANCELLED: "🚫 cancelled",
}


def _list_stage(job: Job) -> str:
    if job.state is JobState.FAILED and job.failure_reason in _FAILED:
        sign, ended = _FAILED[job.failure_reason]
        return f"{sign} {ended.removeprefix('was ').rstrip('.')}"
    return _LIST_STAGE[job.state]


def job_list(jobs: list[Job]) -> str:
    """A member's latest jobs, newest first, as many as fit a message."""
    if not jobs:
        return "You have made no videos here yet. `/animate` makes the first one."
    lines = []
    for job in jobs:
        message_id = job.result_message_id or job.status_message_id
        link = f" · {message_link(job, message_id)}" if message_id else ""
        when = f"<t:{int(job.created_at.timestamp())}:R>"
        prompt = escaped(job.order.prompt, LIST_PROMPT_MAX)
        lines.append(f"{_list_stage(job)} {when}{_progress(job)}{link}\n> {prompt}")
    return joined_within(lines, CONTENT_MAX)


def _progress(job: Job) -> str:
    if job.state is not JobState.RUNNING or job.progress is None:
        return ""
    return f" · {job.progress:.0%}"


def choice(job: Job) -> str:
    """A job as an autocomplete choice: plain text, cut to what Discord takes."""
    return fitting(f"{_list_stage(job)} · {one_line(job.order.prompt)}", CHOICE_MAX, str)


CANCELLED_FREE = "Cancelled. It had not started, so it costs nothing and does not count."
CANCELLED_PAID = "Cancelled. It will not be posted; it was already under way, so it counts."
CANCEL_ASKS = (
    "This one is already being made and can't be stopped: it is paid for. "
    "Cancelling it means that it counts but is never posted."
)
REMOVED = "Removed."
UNSURE = (
    "Discord had a hiccup while I answered. `/videos list` shows what is ordered; look there before you try again."
)
BROKEN = (
    "Something broke on my side; the operator can look it up as **{reference}**. "
    "`/videos list` shows what is ordered; look there before you try again."
)
