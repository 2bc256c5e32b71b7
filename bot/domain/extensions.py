"""Videos that go on from the last frame of another one, and become one clip with it. Pure."""

from dataclasses import dataclass
from enum import Enum, StrEnum, auto

from bot.domain.errors import Reason, ZoetropeError
from bot.domain.jobs import NO_CHANNEL, Job, JobState
from bot.domain.policy import Requester


@dataclass(frozen=True, slots=True)
class Extension:
    """What a job goes on from.

    parent_id: the other job. pieces: how many videos the clip consists of, with this one. Each is a job of its
    own, which is paid for and counts like any other. seconds: how long the clip is, about.
    """

    parent_id: str
    pieces: int
    seconds: int


class NotJoined(StrEnum):
    """Why a piece is posted on its own."""

    PARENT_GONE = "parent_gone"  # the video before was deleted
    PARENT_UNREACHED = "parent_unreached"  # it couldn't be fetched
    NOT_JOINABLE = "not_joinable"  # the two can't become one file


@dataclass(frozen=True, slots=True)
class Clip:
    """What is posted for a job that goes on from another.

    pieces: how many are in it. seconds: how long it is, about. not_joined: why it's only one piece.
    """

    pieces: int
    seconds: int
    not_joined: NotJoined | None = None


class ExtensionProblem(Reason, Enum):
    """Why a video can't be extended."""

    NOT_HERE = auto()  # there is no such finished video in this channel, or of this member's in this server
    GONE = auto()  # it was deleted
    UNREACHED = auto()  # Discord and the video service don't hand it out at the moment
    UNREADABLE = auto()  # its last frame can't be taken
    NOT_BY_MODEL = auto()  # its model makes no videos that go on from others


@dataclass(frozen=True, slots=True)
class ClipTooLong(Reason):
    """The clip would be longer than the operator allows, in seconds."""

    seconds: int
    maximum: int


@dataclass(frozen=True, slots=True)
class ParentMessage:
    """Where the video is that a job goes on from."""

    guild_id: int
    channel_id: int
    message_id: int


class VideoGone(ZoetropeError):
    """A video that was delivered doesn't exist any more."""


class VideoUnreached(ZoetropeError):
    """A video that was delivered can't be fetched at the moment."""


def may_be_extended(parent: Job, requester: Requester) -> bool:
    """Whether a member may extend a video: their own, or one that anybody sees in the channel where they are."""
    if not parent.has_channel or requester.channel_id == NO_CHANNEL:
        return False  # where the bot isn't, it can't fetch a video, and the clip would have to be there
    if parent.guild_id != requester.guild_id or parent.state is not JobState.DELIVERED:
        return False
    is_seen = parent.channel_id == requester.channel_id and parent.result_channel_id is None
    return is_seen or parent.user_id == requester.user_id


def extended(parent: Job, before: Extension | None, duration_s: int) -> Extension:
    """What a video that long makes of the parent's. before: what the parent itself goes on from, if anything."""
    pieces, seconds = (1, parent.order.duration_s) if before is None else (before.pieces, before.seconds)
    return Extension(parent.id, pieces + 1, seconds + duration_s)
