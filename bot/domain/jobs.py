"""A job is one member's order for one video: its states, their transitions and the values of both. Pure."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Self


class JobState(StrEnum):
    """A job's state, as the database stores it."""

    AWAITING = "awaiting"
    QUEUED = "queued"
    SUBMITTING = "submitting"
    RUNNING = "running"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class FailureReason(StrEnum):
    """Why a job failed; `FailureDetail` says more."""

    REFUSED = "refused"  # the upstream refused the order
    REJECTED = "rejected"  # the upstream's moderation rejected the picture, the prompt or the video
    OUTCOME_UNKNOWN = "outcome_unknown"  # a create whose response was lost: a paid task may exist
    UPSTREAM_FAILED = "upstream_failed"  # the task ended as failed
    TIMED_OUT = "timed_out"  # the task took too long
    RESULT_UNUSABLE = "result_unusable"  # finished, but there is no video to fetch
    UNDELIVERABLE = "undeliverable"  # the video is there, its channel is not
    ABANDONED = "abandoned"  # claimed too often without ending: it crashes its workers
    DECLINED = "declined"  # a moderator declined it
    EXPIRED = "expired"  # no moderator answered in time
    LOST = "lost"  # its outcome was unknown, and the operator found no task


class FailureCause(StrEnum):
    """What exactly happened to a job that failed, or that somebody other than its member cancelled."""

    PICTURE_GONE = "picture_gone"
    REFUSED_BY_SERVICE = "refused_by_service"
    CONTENT_REFUSED = "content_refused"  # by the service's moderation, when it was handed in or later
    INTERRUPTED = "interrupted"  # while it was handed in
    BROKEN_OFF = "broken_off"  # an error of ours while it was handed in
    ANSWER_LOST = "answer_lost"
    RESTORED = "restored"  # the database was brought back from a backup
    TASK_UNKNOWN = "task_unknown"  # the service knows the task no more
    TASK_FAILED = "task_failed"
    TASK_CANCELLED = "task_cancelled"  # at the service, by nobody here
    SERVICE_UNREACHABLE = "service_unreachable"  # for longer than it keeps a task
    NOT_FINISHED = "not_finished"
    NO_VIDEO = "no_video"
    VIDEO_UNUSABLE = "video_unusable"
    CHANNEL_CLOSED = "channel_closed"  # gone, or it takes no such message
    NOT_ANSWERABLE = "not_answerable"  # ordered where the bot isn't a member, and not ready in time for an answer
    PERMISSION_MISSING = "permission_missing"
    THREAD_LOCKED = "thread_locked"
    VIDEO_TOO_LARGE = "video_too_large"  # for its channel, however it is encoded
    NOT_DELIVERED = "not_delivered"  # could not be fetched or posted for as long as the service keeps a result
    NO_REVIEW_CHANNEL = "no_review_channel"
    REVIEW_CHANNEL_CLOSED = "review_channel_closed"
    FAILED_REPEATEDLY = "failed_repeatedly"
    DECLINED = "declined"
    EXPIRED = "expired"
    CANCELLED_BY_ADMIN = "cancelled_by_admin"
    SERVER_BLOCKED = "server_blocked"
    BOT_REMOVED = "bot_removed"  # from the job's server
    MODEL_GONE = "model_gone"  # the bot doesn't offer its model any more
    TOO_DEAR = "too_dear"  # for the budgets that the operator has set since it was ordered
    IN_WORDS = "in_words"  # written as a sentence, by a version of the bot before there were causes


class RejectedPart(StrEnum):
    """What of an order the upstream's moderation rejected."""

    PICTURE = "picture"
    PROMPT = "prompt"
    VIDEO = "video"  # which was made of them


@dataclass(frozen=True, slots=True)
class FailureDetail:
    """What happened exactly, and what is known of it.

    quote: what the video service or Discord said, or the sentence of an earlier version: foreign text. code: the
    service's own, where it said no more. minutes: how long it took. violations_left, paused_until: set where the
    server counted it like a blocked prompt; how many more lead to a pause, or until when the member is paused, in
    seconds since 1970. part: what was rejected, if the service said so.
    """

    cause: FailureCause
    quote: str | None = None
    code: str | None = None
    minutes: int | None = None
    violations_left: int | None = None
    paused_until: int | None = None
    part: RejectedPart | None = None

    @property
    def is_violation(self) -> bool:
        """Whether it counted like a blocked prompt."""
        return self.violations_left is not None or self.paused_until is not None

    def to_text(self) -> str:
        """As it is stored: JSON."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        return json.dumps(values, ensure_ascii=False)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """What was stored, by this version or by one that wrote a sentence."""
        try:
            values = json.loads(text)
            if (part := values.get("part")) is not None:
                values["part"] = RejectedPart(part)
            return cls(FailureCause(values.pop("cause")), **values)
        except (ValueError, TypeError, AttributeError, KeyError):
            return cls(FailureCause.IN_WORDS, text)


TRANSITIONS: Mapping[JobState, frozenset[JobState]] = MappingProxyType(
    {
        # awaiting a moderator: nothing was sent upstream yet
        JobState.AWAITING: frozenset({JobState.QUEUED, JobState.FAILED, JobState.CANCELLED}),
        JobState.QUEUED: frozenset({JobState.SUBMITTING, JobState.FAILED, JobState.CANCELLED}),
        JobState.SUBMITTING: frozenset(
            # back to queued: only where it is certain that no task was made
            {JobState.QUEUED, JobState.RUNNING, JobState.DELIVERING, JobState.FAILED, JobState.CANCELLED}
        ),
        JobState.RUNNING: frozenset({JobState.DELIVERING, JobState.FAILED, JobState.CANCELLED}),
        JobState.DELIVERING: frozenset({JobState.DELIVERED, JobState.FAILED, JobState.CANCELLED}),
        JobState.DELIVERED: frozenset(),
        # to running: resumed by an admin or the operator, if its task is known and can still be polled
        JobState.FAILED: frozenset({JobState.RUNNING}),
        # to running: only so that its cost becomes known, if the operator found its task
        JobState.CANCELLED: frozenset({JobState.RUNNING}),
    }
)

ENDED: frozenset[JobState] = frozenset({JobState.DELIVERED, JobState.FAILED, JobState.CANCELLED})
ACTIVE: frozenset[JobState] = frozenset(TRANSITIONS) - ENDED


def may_become(state: JobState, to: JobState) -> bool:
    """Whether a job in `state` may move to `to`."""
    return to in TRANSITIONS[state]


def new_job_id() -> str:
    """A fresh id: 16 characters of URL-safe base64, 96 random bits: not guessable, unique across databases.

    Short enough that the id and a suffix fit Discord's 25-character nonce.
    """
    return secrets.token_urlsafe(12)


class ProviderName(StrEnum):
    """Who makes videos, as the database and the settings call it."""

    VTRIX = "vtrix"
    DASHSCOPE = "dashscope"


class Resolution(StrEnum):
    """The models' resolution tiers: about 0.4, 0.9 and 2.1 megapixels."""

    P480 = "480P"
    P720 = "720P"
    P1080 = "1080P"


DEFAULT_MODEL = "wan22_i2v_flash"
DEFAULT_DURATION_S = 5
"""The model of every order before there was a choice, and the only duration that it makes."""


@dataclass(frozen=True, slots=True)
class Order:
    """What a member asked for, as the model takes it. Already checked: see `bot.domain.orders`."""

    prompt: str
    negative_prompt: str | None = None
    resolution: Resolution = Resolution.P720
    seed: int | None = None
    prompt_extend: bool = True
    watermark: bool = False
    model: str = DEFAULT_MODEL
    duration_s: int = DEFAULT_DURATION_S


@dataclass(frozen=True, slots=True)
class Frame:
    """A conforming first frame. `data`: the file's bytes; `mime`: `image/jpeg` or `image/png`.

    `thumbnail`: the same picture as a small JPEG, for messages; None where a version of the bot made none.
    """

    data: bytes
    mime: str
    thumbnail: bytes | None = None


@dataclass(frozen=True, slots=True)
class PictureLabels:
    """What the member called their picture, which its video is called as well.

    name: the file's name, which begins with `SPOILER_` if the picture is a spoiler. alt_text: its description.
    """

    name: str | None = None
    alt_text: str | None = None


UNLABELLED = PictureLabels()

NO_CHANNEL = 0
"""The channel of a job that was ordered where the bot isn't: it could neither post nor read there."""

SPOILER = "SPOILER_"
"""How the name of a spoilered file begins: Discord's clients show it only to who clicks on it."""

REMOVED = 0
"""In place of a video's message id: somebody removed it with its button."""

LINK_REMOVED = ""
"""In place of the link to a removed video: its cost still counts as that of a video."""


@dataclass(frozen=True, slots=True)
class NewJob:
    """An accepted order on its way into the store."""

    id: str
    guild_id: int
    channel_id: int
    user_id: int
    order: Order
    picture: PictureLabels = UNLABELLED


class StopResult(StrEnum):
    """What a provider answered when it was asked to stop a task."""

    STOPPED = "stopped"  # before it began: nothing is billed
    ASKED = "asked"  # it will try; nothing is known about the bill
    RUNNING = "running"  # it can't be stopped any more, and is billed
    ENDED = "ended"  # it is over already
    UNKNOWN = "unknown"  # it knows no such task, or answered something else


@dataclass(frozen=True, slots=True)
class Job:
    """One row of `jobs`, frozen as it was read. Times are UTC and aware.

    `charged`: whether it counts towards the member's quota. `cancel_requested`: the flag next to the state.
    `attempts`: how often in a row this state's stage failed or was interrupted; `claim_count`: how often the job
    was claimed since the last write, more than one meaning that a worker died while it held the job.
    `lease_token`: proof of the claim, which every write must present. `approval_message_id`: the message that
    asks moderators. `estimated_cost_usd`: the reservation. `credit_grant_id`: the grant that pays, None for the
    rolling window. `cost_unknown_since`: since when the reservation of an ended job is held, because the upstream
    may bill it; None if it is not. `picture_name`, `picture_alt_text`: see `PictureLabels`. `result_message_id`:
    the message with the video; `REMOVED` once somebody removed it. `result_channel_id`: the channel of direct
    messages that it is in; None if it is in the job's channel. `seen_running_at`: when a poll last said that its
    task runs. `provider`: who makes it; None while it may still be any. `provider_since`: when it got the job;
    None where there was no choice yet. `upstream_urls`: where its task is asked about, if not at the provider's
    usual address; by what for. `can_be_stopped`: whether the provider can stop its task. `stop_result`: what it
    answered when it was asked to. `refused_by`: see `refusers`; comma-separated.
    """

    id: str
    state: JobState
    guild_id: int
    channel_id: int
    user_id: int
    order: Order
    created_at: datetime
    state_changed_at: datetime
    due_at: datetime | None = None
    charged: bool = True
    cancel_requested: bool = False
    attempts: int = 0
    claim_count: int = 0
    lease_token: str | None = None
    upstream_id: str | None = None
    submitted_at: datetime | None = None
    progress: float | None = None
    result_url: str | None = None
    cost_usd: Decimal | None = None
    failure_reason: FailureReason | None = None
    failure_detail: FailureDetail | None = None
    status_message_id: int | None = None
    result_message_id: int | None = None
    approval_message_id: int | None = None
    estimated_cost_usd: Decimal | None = None
    credit_grant_id: int | None = None
    cost_unknown_since: datetime | None = None
    picture_name: str | None = None
    picture_alt_text: str | None = None
    result_channel_id: int | None = None
    seen_running_at: datetime | None = None
    provider: ProviderName | None = None
    provider_since: datetime | None = None
    upstream_urls: Mapping[str, str] | None = field(default=None, hash=False)
    can_be_stopped: bool = False
    stop_result: StopResult | None = None
    refused_by: str | None = None

    @property
    def refusers(self) -> frozenset[ProviderName]:
        """The providers that refused it, before it was handed to another one."""
        return frozenset(map(ProviderName, (self.refused_by or "").split(",") if self.refused_by else ()))

    @property
    def has_channel(self) -> bool:
        """Whether the bot can post where it was ordered; else its member gets answers and direct messages."""
        return self.channel_id != NO_CHANNEL

    @property
    def is_spoiler(self) -> bool:
        """Whether its picture is a spoiler, and so whatever is made from it."""
        return (self.picture_name or "").startswith(SPOILER)

    @property
    def is_removed(self) -> bool:
        """Whether somebody removed its video."""
        return self.result_message_id == REMOVED

    @property
    def may_be_stopped(self) -> bool:
        """Whether its task may still be stopped, and cost nothing: the provider hasn't said what it did."""
        open_ = self.stop_result is None or self.stop_result is StopResult.ASKED
        return self.state is JobState.RUNNING and self.can_be_stopped and open_


class RecoveryProblem(StrEnum):
    """Why a failed job can't be resumed."""

    UNKNOWN = "unknown"  # there is no such job (in that server)
    NOT_FAILED = "not_failed"
    REJECTED = "rejected"  # the upstream's moderation rejected it, which is final
    NO_TASK = "no_task"  # none is known
    TOO_OLD = "too_old"  # the upstream no longer knows its task
    NO_PROVIDER = "no_provider"  # nobody knows which provider has its task
    TASK_TAKEN = "task_taken"  # another job has that task
    NOT_UNKNOWN = "not_unknown"  # its outcome is known
    ERASED = "erased"  # its member's data was deleted


class CancelResult(StrEnum):
    """The result of a cancellation."""

    CANCELLED = "cancelled"  # it was queued and ended free
    FLAGGED = "flagged"  # it is in progress and won't be posted; paid for, unless its task is stopped in time
    PAID = "paid"  # it is in progress and probably paid for, and nothing was done: ask first
    ENDED = "ended"  # there was nothing to cancel
