"""What members read about their own videos: the list in pages, and everything about one. Markdown, pure."""

from collections.abc import Mapping
from datetime import datetime

from bot.chat.messages import model_texts
from bot.chat.messages.cancellation_texts import counts_in_short, what_became
from bot.chat.messages.failure_texts import QUOTE_MAX, failure_detail
from bot.chat.messages.markdown import choice_name, discord_length, escaped, exact, link, relative
from bot.chat.messages.member_texts import STAGES, message_link, video_link
from bot.chat.messages.status_texts import SERVICE_CLOSED
from bot.domain.jobs import ENDED, FailureReason, Job, JobState
from bot.domain.video_list import VideoFilter, VideoPage
from bot.services.video_reader import VideoDetails

TEXT_MAX = 4000
"""Characters in all texts of a message of components (Discord's documentation of components)."""

FILTERS: Mapping[VideoFilter, str] = {
    VideoFilter.ALL: "All videos",
    VideoFilter.IN_PROGRESS: "In progress",
    VideoFilter.READY: "Ready",
    VideoFilter.WITHOUT_VIDEO: "Failed or cancelled",
}
_NONE: Mapping[VideoFilter, str] = {
    VideoFilter.ALL: "You haven't made any videos here yet. Start with `/animate`.",
    VideoFilter.IN_PROGRESS: "None of your videos here is in progress.",
    VideoFilter.READY: "None of your videos here is ready.",
    VideoFilter.WITHOUT_VIDEO: "None of your videos here failed or was cancelled.",
}
NOT_YOURS = "That list is somebody else's. Use `/videos list` to see your own."
NOTHING_TO_CANCEL = "Nothing to cancel: none of your videos here is in progress."
NOTHING_TO_REPEAT = "Nothing to make again: I have no picture of yours here. Start with `/animate`."
NOTHING_TO_EXTEND = "Nothing to extend: none of your videos is posted here. Start with `/animate`."
NO_VIDEOS = "You haven't made any videos here yet."
NO_MATCH = "None of your videos matches that"

PROMPT_MAX = 120
_LINKS_MAX = 2000
_NOT_DONE = 0.99
"""The most that is shown of a video that is still being made."""
_HAS_DOWNLOAD = "`/videos show` links to it"
_OUTCOMES = {
    FailureReason.DECLINED: "🚫 declined",
    FailureReason.EXPIRED: "⌛ expired",
    FailureReason.REJECTED: "🛡️ rejected",
}


def stage(job: Job) -> str:
    """How far the job is, or how it ended."""
    if job.is_removed:
        return "🗑️ removed"
    if job.cancel_requested and job.state not in ENDED:  # paid for, and ends by itself
        return STAGES[JobState.CANCELLED]
    known = STAGES[job.state]
    return known if job.failure_reason is None else _OUTCOMES.get(job.failure_reason, known)


def choice(job: Job) -> str:
    """A job as an autocomplete choice."""
    return choice_name(f"{stage(job)} · {job.order.prompt}")


def heading(page: VideoPage) -> str:
    """What stands above the videos, or instead of them."""
    pages = f" · page {page.number + 1} of {page.count}" if page.count > 1 else ""
    lines = [f"### Your videos here\n-# {FILTERS[page.shows]}{pages}"]
    if page.service_closed:
        lines.append(f"⚠️ {SERVICE_CLOSED} Your orders are kept and start when the service is back.")
    if not page.jobs:
        lines.append(_NONE[page.shows])
    return "\n".join(lines)


def entries(page: VideoPage) -> list[str]:
    """A text for each video of the page. Links that are too long for the message are left to `/videos show`."""
    left, texts = _LINKS_MAX, []
    for job in page.jobs:
        said = [_progress(job), f"ordered {relative(job.created_at)}"]
        if job.state is JobState.CANCELLED or (job.cancel_requested and job.state not in ENDED):
            said.append(counts_in_short(job))
        kept_until = page.downloads.get(job.id)
        download = None if kept_until is None else _download(job, kept_until)
        if download is not None and discord_length(download) <= left:
            left -= discord_length(download)
            said.append(download)
        elif download is not None:
            said.append(_HAS_DOWNLOAD)
        elif (address := address_of(job)) is not None:
            said.append(f"[go to it]({address})")
        texts.append(f"**{said[0]}** · {' · '.join(said[1:])}\n> {escaped(job.order.prompt, PROMPT_MAX)}")
    return texts


def _progress(job: Job) -> str:
    if job.state is not JobState.RUNNING or job.progress is None or job.cancel_requested:
        return stage(job)
    return f"{stage(job)} · {min(job.progress, _NOT_DONE):.0%}"


def _download(job: Job, kept_until: datetime) -> str | None:
    shown = link("get the video", job.result_url or "")
    return None if shown is None else f"{shown} until {relative(kept_until)}"


def address_of(job: Job) -> str | None:
    """Where to find it: the message with the video, or the status card of one in progress."""
    if job.is_removed:
        return None
    if job.state not in ENDED:
        return None if job.status_message_id is None else message_link(job, job.status_message_id)
    return video_link(job)


def details(video: VideoDetails) -> str:
    """Everything that a member may know about one of their videos."""
    job = video.job
    head = [f"### {_progress(job)}", *_times(job), *_outcome(video), f"-# {_options(job)} · id `{job.id}`"]
    left = TEXT_MAX - sum(discord_length(line) + 1 for line in head) - len(_UNWANTED) - 8
    prompt = escaped(job.order.prompt, left if job.order.negative_prompt is None else left * 2 // 3)
    lines = [head[0], f"> {prompt}"]
    if job.order.negative_prompt is not None:
        lines.append(f"{_UNWANTED}{escaped(job.order.negative_prompt, left - discord_length(prompt))}")
    return "\n".join([*lines, *head[1:]])


_UNWANTED = "**Not in it:** "


def _times(job: Job) -> list[str]:
    lines = [f"**Ordered** {exact(job.created_at)} ({relative(job.created_at)})"]
    if job.submitted_at is not None:
        lines.append(f"**Started** {exact(job.submitted_at)}")
    if job.state in ENDED:
        lines.append(f"**{_ENDS[job.state]}** {exact(job.state_changed_at)}")
    return lines


_ENDS = {JobState.DELIVERED: "Ready", JobState.FAILED: "Failed", JobState.CANCELLED: "Cancelled"}


def _outcome(video: VideoDetails) -> list[str]:
    job, lines = video.job, []
    if job.state is JobState.FAILED or (job.state is JobState.CANCELLED and job.failure_detail is not None):
        lines.append(failure_detail(job.failure_detail, QUOTE_MAX))
    if job.cancel_requested and (became := what_became(job)):
        lines.append(became)
    if video.download_until is not None and (download := _download(job, video.download_until)) is not None:
        lines.append(f"It couldn't be posted: {download}.")
    counts = "It counts" if job.charged else "It doesn't count"
    lines.append(f"{counts} against your quota.")
    if job.charged and job.credit_grant_id is not None:
        lines[-1] = "It was paid for with a credit."
    return lines


def _options(job: Job) -> str:
    order = job.order
    return " · ".join(
        (
            *model_texts.options(order),
            "random seed" if order.seed is None else f"seed {order.seed}",
            "prompt extended" if order.prompt_extend else "prompt not extended",
            "watermark" if order.watermark else "no watermark",
        )
    )
