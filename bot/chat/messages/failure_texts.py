"""What happened to a job that failed, or that somebody else cancelled, and what its member can do now.

Messages of the video service and Discord are escaped and shown in quotation marks.
"""

from collections.abc import Mapping

from bot.chat.messages.markdown import before_web_page, escaped, sentence
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, RejectedPart

QUOTE_MAX = 600
"""The most that is shown of a foreign message, in characters."""

_CODE_MAX = 40
_ORDER_UNSURE = "so I don't know whether the order was accepted."

_TEXTS: Mapping[FailureCause, str] = {
    FailureCause.PICTURE_GONE: "Its picture is gone.",
    FailureCause.REFUSED_BY_SERVICE: "The video service refused it{because}",
    FailureCause.CONTENT_REFUSED: "The video service's moderation rejected {part}{words}",
    FailureCause.INTERRUPTED: f"I was interrupted while submitting it, {_ORDER_UNSURE}",
    FailureCause.BROKEN_OFF: f"Something broke while I was submitting it, {_ORDER_UNSURE}",
    FailureCause.ANSWER_LOST: f"I lost the video service's answer, {_ORDER_UNSURE}",
    FailureCause.RESTORED: "My records were restored from an older copy, so I don't know what happened to it.",
    FailureCause.TASK_UNKNOWN: "The video service doesn't know it any more{words}",
    FailureCause.TASK_FAILED: "The video service couldn't make it{because}",
    FailureCause.TASK_CANCELLED: "The video service cancelled it{words}",
    FailureCause.SERVICE_UNREACHABLE: "The video service was unreachable for too long.",
    FailureCause.NOT_FINISHED: "It wasn't finished {in_time}.",
    FailureCause.NO_VIDEO: "The video service finished it without a video.",
    FailureCause.VIDEO_UNUSABLE: "It was finished, but there's no video I could post.",
    FailureCause.CHANNEL_CLOSED: "I can't post in its channel{discord}",
    FailureCause.NOT_ANSWERABLE: (
        "It wasn't ready while I could still answer where you asked, and you take no direct messages from me."
    ),
    FailureCause.PERMISSION_MISSING: "I'm not allowed to post in its channel{discord}",
    FailureCause.THREAD_LOCKED: "Its thread is locked.",
    FailureCause.VIDEO_TOO_LARGE: "It's too large for its channel.",
    FailureCause.NOT_DELIVERED: "I couldn't fetch or post it in time.",
    FailureCause.NO_REVIEW_CHANNEL: (
        "A moderator has to approve videos here, but there's no channel to ask in. "
        "An admin needs to set one with `/video-admin log channel`."
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
    FailureCause.MODEL_GONE: "I don't offer its model any more.",
    FailureCause.TOO_DEAR: "It would cost more than the bot's operator allows for a single video now.",
    FailureCause.IN_WORDS: "{said}",
}
_PARTS: Mapping[RejectedPart | None, str] = {
    RejectedPart.PICTURE: "its picture",
    RejectedPart.PROMPT: "its prompt",
    RejectedPart.VIDEO: "the finished video",
    None: "its picture or prompt",
}
_UNEXPLAINED = "I don't know why."
_UNEXPLAINED_TEXTS: Mapping[FailureReason, str] = {
    FailureReason.REFUSED: "The video service refused it. I don't know why.",
    FailureReason.REJECTED: "The video service's moderation rejected it.",
    FailureReason.OUTCOME_UNKNOWN: "I don't know whether the video service accepted it.",
    FailureReason.UPSTREAM_FAILED: "The video service couldn't make it. I don't know why.",
    FailureReason.TIMED_OUT: "It took too long.",
    FailureReason.RESULT_UNUSABLE: "The video service sent no usable video.",
    FailureReason.UNDELIVERABLE: "I couldn't post it.",
    FailureReason.ABANDONED: "It kept failing. I don't know why.",
    FailureReason.LOST: "The video service never got it.",
}
"""Failures of which no more than the reason is known."""

_AGAIN = "Please ask for it again with `/animate`."
_ANOTHER = "Try again with another picture or prompt."
_OPERATOR_LOOKS = "You can ask for it again; the operator can look this one up by its job id."
_AFTER_PAUSE = "After that, change the prompt or use another picture."
_OTHER_CHANNEL = (
    "In a private thread, add me by mentioning me there. Elsewhere, ask an admin to let me post, or use another "
    "channel."
)
_CHANGES: Mapping[RejectedPart | None, str] = {
    RejectedPart.PICTURE: "Use another picture, then try again.",
    RejectedPart.PROMPT: "Change the prompt, then try again.",
    RejectedPart.VIDEO: "Change the prompt or use another picture, so that another video comes of it.",
    None: "Change the prompt or use another picture, then try again.",
}
"""What to do about what was rejected."""

_NEXT: Mapping[FailureCause, str] = {
    FailureCause.PICTURE_GONE: "Please use `/animate` again with the picture.",
    FailureCause.REFUSED_BY_SERVICE: _ANOTHER,
    FailureCause.CONTENT_REFUSED: _CHANGES[None],
    FailureCause.INTERRUPTED: _OPERATOR_LOOKS,
    FailureCause.BROKEN_OFF: _OPERATOR_LOOKS,
    FailureCause.ANSWER_LOST: _OPERATOR_LOOKS,
    FailureCause.RESTORED: "If its video isn't here, please ask for it again.",
    FailureCause.TASK_UNKNOWN: _AGAIN,
    FailureCause.TASK_FAILED: _ANOTHER,
    FailureCause.TASK_CANCELLED: _AGAIN,
    FailureCause.SERVICE_UNREACHABLE: "Please try again in a while.",
    FailureCause.NOT_FINISHED: _AGAIN,
    FailureCause.NO_VIDEO: _AGAIN,
    FailureCause.VIDEO_UNUSABLE: _AGAIN,
    FailureCause.CHANNEL_CLOSED: _OTHER_CHANNEL,
    FailureCause.NOT_ANSWERABLE: "Allow direct messages from me, then ask again.",
    FailureCause.PERMISSION_MISSING: _OTHER_CHANNEL,
    FailureCause.THREAD_LOCKED: "Ask a moderator to unlock it, or use another channel.",
    FailureCause.VIDEO_TOO_LARGE: "Ask for it in 480P, which makes smaller files.",
    FailureCause.NOT_DELIVERED: _AGAIN,
    FailureCause.NO_REVIEW_CHANNEL: "Then ask for it again.",
    FailureCause.REVIEW_CHANNEL_CLOSED: "Then ask for it again.",
    FailureCause.FAILED_REPEATEDLY: "Please ask for it again, and tell the operator if that fails too.",
    FailureCause.DECLINED: "Ask the moderators why, or try another picture or prompt.",
    FailureCause.EXPIRED: "You can ask for it again.",
    FailureCause.CANCELLED_BY_ADMIN: "Ask the server's admins why before you try again.",
    FailureCause.SERVER_BLOCKED: "Ask a server admin to talk to the operator.",
    FailureCause.BOT_REMOVED: "If I'm invited again, please ask for it again.",
    FailureCause.MODEL_GONE: "Please ask for it again with another model.",
    FailureCause.TOO_DEAR: "Please ask for it again with a lower resolution.",
    FailureCause.IN_WORDS: "You can ask for it again.",
}


def failure_detail(
    detail: FailureDetail | None, quote_max: int = QUOTE_MAX, reason: FailureReason | None = None
) -> str:
    """What happened, in sentences. quote_max: the longest foreign message, in characters.

    reason: tells something where there is no detail.
    """
    quote = escaped(before_web_page(detail.quote), quote_max) if detail is not None and detail.quote else ""
    if detail is None or (detail.cause is FailureCause.IN_WORDS and not quote):
        return _UNEXPLAINED if reason is None else _UNEXPLAINED_TEXTS.get(reason, _UNEXPLAINED)
    return _TEXTS[detail.cause].format(
        because=_because(quote, detail.code),
        part=_PARTS[detail.part],
        words=f": {_quoted(quote)}" if quote else ".",
        discord=f". Discord says: {_quoted(quote)}" if quote else ".",
        in_time="in time" if detail.minutes is None else f"after {detail.minutes} minutes",
        said=sentence(quote),
    )


def next_step(detail: FailureDetail | None, reason: FailureReason | None = None) -> str:
    """What the member can do now, and what else follows for them. reason: tells it where there is no detail."""
    if reason is FailureReason.REJECTED and (detail is None or detail.cause is FailureCause.IN_WORDS):
        return _CHANGES[None]
    if detail is None:
        return _OPERATOR_LOOKS if reason is FailureReason.OUTCOME_UNKNOWN else _NEXT[FailureCause.IN_WORDS]
    if detail.paused_until is not None:
        until = f"<t:{detail.paused_until}:f>"
        return f"It counts like a blocked prompt here, so you're paused until {until}. {_AFTER_PAUSE}"
    step = _NEXT[detail.cause] if detail.part is None else _CHANGES[detail.part]
    return f"{step}{_violations_left(detail)}"


def _violations_left(detail: FailureDetail) -> str:
    """What follows where the server counts it like a blocked prompt."""
    match detail.violations_left:
        case None:
            return ""
        case 1:
            return " It counts like a blocked prompt here: one more and you'll be paused."
        case left:
            return f" It counts like a blocked prompt here: {left} more and you'll be paused."


def _quoted(words: str) -> str:
    """In quotation marks, with one full stop for both sentences."""
    return f"“{words.removesuffix('.')}”."


def _because(quote: str, code: str | None) -> str:
    """The service's message or, without one, its code."""
    if quote:
        return f": {_quoted(quote)}"
    shown = "" if code is None else f" (code {escaped(code, _CODE_MAX)})"
    return f" and gave no reason{shown}."
