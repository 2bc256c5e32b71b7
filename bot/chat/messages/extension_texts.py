"""What members read about videos that go on from others, as Discord markdown. Pure."""

from collections.abc import Mapping

from bot.chat.messages import member_texts
from bot.chat.messages.markdown import CONTENT_MAX, discord_length
from bot.chat.messages.reason_texts import text_of
from bot.domain.extensions import Clip, ClipTooLong, Extension, ExtensionProblem, NotJoined
from bot.domain.jobs import Job
from bot.services.videos import AcceptedOrder

_PROBLEMS: Mapping[ExtensionProblem, str] = {
    ExtensionProblem.NOT_HERE: (
        "I can't find that finished video here. You can extend your own videos, and those that others made in the "
        "channel where you are."
    ),
    ExtensionProblem.GONE: (
        "That video was removed, so nothing can go on from it. Nothing is charged. `/animate` starts a new one."
    ),
    ExtensionProblem.UNREACHED: (
        "I can't fetch that video right now, so nothing was ordered and nothing is charged. Please try again in a "
        "few minutes. If it still doesn't work, save its last picture and use that with `/animate`."
    ),
    ExtensionProblem.NOT_BY_MODEL: (
        "The model that made that video can't go on from one, so nothing was ordered and nothing is charged. Save "
        "its last picture and use that with `/animate`."
    ),
    ExtensionProblem.UNREADABLE: (
        "I can't take the last picture out of that video, so nothing was ordered and nothing is charged. Save it "
        "yourself, for example as a screenshot, and use it with `/animate`."
    ),
}
_ALONE: Mapping[NotJoined, str] = {
    NotJoined.PARENT_GONE: "the video that it goes on from was deleted meanwhile",
    NotJoined.PARENT_UNREACHED: "I couldn't fetch the video that it goes on from",
    NotJoined.NOT_JOINABLE: "I couldn't make one file of it and the video that it goes on from",
}

text_of.register(ExtensionProblem, _PROBLEMS.__getitem__)


@text_of.register
def _(reason: ClipTooLong) -> str:
    return (
        f"That clip has {reason.seconds} s already, and clips here have up to {reason.maximum} s, so nothing was "
        "ordered. To go on all the same, save its last picture and use that with `/animate`."
    )


def accepted(order: AcceptedOrder, parent: Job, extension: Extension) -> str:
    """The private answer to an accepted order of a video that goes on from another."""
    link = member_texts.video_link(parent)
    from_where = "your video" if link is None else f"[this video]({link})"
    return (
        f"{member_texts.accepted(order)}\nIt goes on from {from_where} and comes back with it as one clip of "
        f"{extension.seconds} s. Only the new {order.job.order.duration_s} s count."
    )


def with_clip(text: str, clip: Clip | None) -> str:
    """The text above a video, with what the video is if it extends another one."""
    if clip is None:
        return text
    if clip.not_joined is None:
        line = f"-# Extended to {clip.seconds} s ({clip.pieces} pieces, each counted)"
    else:
        line = f"-# ⚠️ This is the new part alone: {_ALONE[clip.not_joined]}."
    whole = f"{text}\n{line}"
    return whole if discord_length(whole) <= CONTENT_MAX else text
