"""Every word the bot says in Discord, and the care that foreign text needs before it is shown.

Pure: jobs and numbers come in, Discord's markdown goes out. A prompt is a member's text and an upstream's
reason is a stranger's: both are escaped, so that they can't ping, break out of their line or pose as the bot.
"""

import re
import unicodedata
from collections.abc import Callable

from bot.jobs import FailureReason, Job, JobState
from bot.orders import PROMPT_MAX
from bot.service import Accepted, Quota

_SPECIAL = re.compile(r"([\\*_~`|>#\-+\[\]()<:@/])")
"""What can begin or end markup, a mention, an emoji, a time stamp or a link in Discord's markdown."""

LIST_PROMPT_MAX = 60
CHOICE_MAX = 100
"""Characters in a choice's name (Discord's documentation of application commands)."""
CONTENT_MAX = 2000
"""Characters in a message's content (Discord's documentation of Create Message)."""

_PROMPT_ROOM = 2 * PROMPT_MAX
"""What a prompt takes at the most, each of its characters escaped."""
_FAILURE_ROOM = CONTENT_MAX - _PROMPT_ROOM - 200
"""What is left for an upstream's reason beside the prompt and the bot's own words (under 200)."""


def escaped(text: str, most: int | None = None) -> str:
    """Foreign text as it may stand in a message: on one line, nothing in it works.

    most: how much room the result may take, in characters as `room` counts them; what is longer is cut.
    Bidirectional controls and characters without width are dropped (joiners inside emoji stay).
    """
    line = _line(text)
    return _escape(line) if most is None else _fitting(line, most, _escape)


def _line(text: str) -> str:
    return " ".join("".join(char for char in text if not _invisible(char)).split())


def _escape(line: str) -> str:
    return _SPECIAL.sub(r"\\\1", line)


def _fitting(line: str, most: int, show: Callable[[str], str]) -> str:
    """What `show` makes of the line, cut before it is shown: a cut escape would let the next character out."""
    if len(line) <= most and room(shown := show(line)) <= most:
        return shown
    cut = line[:most]
    while cut and room(show(cut)) >= most:
        cut = cut[:-1].rstrip()
    return f"{show(cut)}…"


def room(text: str) -> int:
    """How many characters Discord may count in a text: emoji as two, the stricter of the readings in use."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _invisible(char: str) -> bool:
    if char in "\u200c\u200d":  # joiners: emoji and some scripts are made with them
        return False
    return unicodedata.category(char) in {"Cc", "Cf", "Cs"} and not char.isspace()


def mention(user_id: int) -> str:
    """The member, clickable; whether it pings is up to the message's allowed mentions."""
    return f"<@{user_id}>"


def message_link(job: Job, message_id: int) -> str:
    """The address of a message in the job's channel."""
    return f"https://discord.com/channels/{job.guild_id}/{job.channel_id}/{message_id}"


def status(job: Job) -> str:
    """The public status message: what, for whom, how it stands, later how it ended."""
    who = mention(job.user_id)
    return f"{_stage(job, who)}\n> {_quoted_prompt(job)}"


def _stage(job: Job, who: str) -> str:
    match job.state:
        case JobState.QUEUED | JobState.SUBMITTING:
            return f"⏳ A video for {who} is queued and starts as soon as a place is free."
        case JobState.RUNNING | JobState.DELIVERING:
            since = f" since <t:{int(job.submitted_at.timestamp())}:R>" if job.submitted_at else ""
            return f"🎞️ A video for {who} is in the making{since}. It usually takes a minute or two."
        case JobState.DELIVERED:
            link = f": {message_link(job, job.result_message_id)}" if job.result_message_id else "."
            return f"✅ The video for {who} is finished{link}"
        case JobState.FAILED:
            return f"❌ The video for {who} did not work out. {_failure(job)}"
        case JobState.CANCELLED:
            counts = "It was already paid for and counts." if job.counted else "It does not count."
            return f"🚫 The video for {who} was cancelled. {counts}"


def failure(job: Job) -> str:
    """What tells the requester that it did not work out, with a ping."""
    return f"{mention(job.user_id)}, your video did not work out. {_failure(job)}\n> {_quoted_prompt(job)}"


def _failure(job: Job) -> str:
    detail = escaped(job.failure_detail or "I don't know why.", _FAILURE_ROOM)
    end = "" if detail.endswith((".", "!", "?", "…", "。")) else "."
    text = f"{detail}{end} It does not count against your quota."
    if job.failure is FailureReason.OUTCOME_UNKNOWN:
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


def accepted(result: Accepted) -> str:
    """The private answer to an accepted order."""
    text = "Your video is ordered. It appears in this channel when it is finished, and I'll ping you."
    return f"{text}\nYour picture was changed to suit the model: {result.note}." if result.note else text


def quota(result: Quota) -> str:
    """What a member has used."""
    used, limits = len(result.usage.counted_at), result.limits
    lines = [
        f"You have used **{used} of {limits.per_day}** videos in the last 24 hours.",
        f"**{result.usage.running} of {limits.running}** are in the making.",
    ]
    if result.next_free_at is not None:
        lines.append(f"The next one frees <t:{int(result.next_free_at.timestamp())}:R>.")
    return "\n".join(lines)


_LIST_STAGE = {
    JobState.QUEUED: "⏳ queued",
    JobState.SUBMITTING: "⏳ being handed in",
    JobState.RUNNING: "🎞️ in the making",
    JobState.DELIVERING: "📬 being posted",
    JobState.DELIVERED: "✅ finished",
    JobState.FAILED: "❌ did not work out",
    JobState.CANCELLED: "🚫 cancelled",
}


def job_list(jobs: list[Job]) -> str:
    """A member's latest jobs, newest first, as many as fit a message."""
    if not jobs:
        return "You have made no videos here yet. `/animate` makes the first one."
    text = ""
    for job in jobs:
        message_id = job.result_message_id or job.status_message_id
        link = f" · {message_link(job, message_id)}" if message_id else ""
        when = f"<t:{int(job.created_at.timestamp())}:R>"
        prompt = escaped(job.order.prompt, LIST_PROMPT_MAX)
        line = f"{_LIST_STAGE[job.state]} {when}{_progress(job)}{link}\n> {prompt}\n"
        if room(text) + room(line) > CONTENT_MAX:
            break
        text += line
    return text


def _progress(job: Job) -> str:
    if job.state is not JobState.RUNNING or job.progress is None:
        return ""
    return f" · {job.progress:.0%}"


def choice(job: Job) -> str:
    """A job as an autocomplete choice: plain text, cut to what Discord takes."""
    return _fitting(f"{_LIST_STAGE[job.state]} · {_line(job.order.prompt)}", CHOICE_MAX, str)


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
