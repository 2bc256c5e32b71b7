"""What happened to a job that failed, or that somebody other than its member cancelled.

Messages of the video service and Discord are escaped and shown in quotation marks.
"""

from collections.abc import Mapping

from bot.chat.messages.markdown import before_web_page, escaped, sentence
from bot.domain.jobs import FailureCause, FailureDetail

QUOTE_MAX = 600
"""The most that is shown of a foreign message, in characters."""

_CODE_MAX = 40
_LOG_CHANNEL = "An admin needs to set one with `/video-admin log channel`."
_ORDER_UNSURE = "so I don't know whether the order was accepted."

_TEXTS: Mapping[FailureCause, str] = {
    FailureCause.PICTURE_GONE: "Its picture is gone. Please send it again.",
    FailureCause.REFUSED_BY_SERVICE: "The video service refused it{because}",
    FailureCause.INTERRUPTED: f"I was interrupted while submitting it, {_ORDER_UNSURE}",
    FailureCause.BROKEN_OFF: f"Something broke while I was submitting it, {_ORDER_UNSURE}",
    FailureCause.ANSWER_LOST: f"I lost the video service's answer, {_ORDER_UNSURE}",
    FailureCause.RESTORED: (
        "My records were restored from an older copy, so I don't know what happened to it. "
        "If its video isn't here, please ask for it again."
    ),
    FailureCause.TASK_UNKNOWN: "The video service doesn't know it any more{words}",
    FailureCause.TASK_FAILED: "The video service couldn't make it{because}",
    FailureCause.SERVICE_UNREACHABLE: "The video service was unreachable for too long.",
    FailureCause.NOT_FINISHED: "It wasn't finished {in_time}.",
    FailureCause.NO_VIDEO: "The video service finished it without a video.",
    FailureCause.VIDEO_UNUSABLE: "It was finished, but there's no video I could post.",
    FailureCause.CHANNEL_CLOSED: "I can't post in its channel{discord}",
    FailureCause.PERMISSION_MISSING: "I'm not allowed to post in its channel{discord}",
    FailureCause.THREAD_LOCKED: "Its thread is locked.",
    FailureCause.VIDEO_TOO_LARGE: "It's too large for its channel.",
    FailureCause.NOT_DELIVERED: "I couldn't fetch or post it in time.",
    FailureCause.NO_REVIEW_CHANNEL: (
        f"A moderator has to approve videos here, but there's no channel to ask in. {_LOG_CHANNEL}"
    ),
    FailureCause.REVIEW_CHANNEL_CLOSED: (
        "A moderator has to approve videos here, but I can't post in the channel to ask in. "
        "An admin needs to let me post there, or choose another one with `/video-admin log channel`."
    ),
    FailureCause.FAILED_REPEATEDLY: "Something kept failing on my side.",
    FailureCause.DECLINED: "A moderator declined it.",
    FailureCause.EXPIRED: "No moderator answered within a day.",
    FailureCause.CANCELLED_BY_ADMIN: "A server admin cancelled it.",
    FailureCause.SERVER_BLOCKED: "The bot's operator doesn't take videos from this server any more.",
    FailureCause.BOT_REMOVED: "I was removed from this server.",
    FailureCause.IN_WORDS: "{said}",
}


def failure_detail(detail: FailureDetail | None, quote_max: int = QUOTE_MAX) -> str:
    """What happened, in sentences. quote_max: the longest foreign message, in characters."""
    quote = escaped(before_web_page(detail.quote), quote_max) if detail is not None and detail.quote else ""
    if detail is None or (detail.cause is FailureCause.IN_WORDS and not quote):
        return "I don't know why."
    return _TEXTS[detail.cause].format(
        because=_because(quote, detail.code),
        words=f": “{quote}”." if quote else ".",
        discord=f". Discord says: “{quote}”." if quote else ".",
        in_time="in time" if detail.minutes is None else f"after {detail.minutes} minutes",
        said=sentence(quote),
    )


def _because(quote: str, code: str | None) -> str:
    """The service's message or, without one, its code."""
    if quote:
        return f": “{quote}”."
    shown = "" if code is None else f" (code {escaped(code, _CODE_MAX)})"
    return f" and gave no reason{shown}."
