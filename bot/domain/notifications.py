"""What is posted in log channels, as typed values; worded when it is sent.

The fields are what JSON takes, for they are stored: amounts as text, moments in whole seconds since 1970.
"""

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, ClassVar

from bot.domain.audit_log import Action, AuditedChange, TargetKind
from bot.domain.jobs import FailureCause, FailureDetail
from bot.domain.quotas import BudgetPeriod


class NotificationKind(StrEnum):
    """What happened. TEXT: stored as ready text by version 0002 or before."""

    TEXT = "text"
    ANNOUNCEMENT = "announcement"
    WELCOME = "welcome"
    JOB_FAILED = "job_failed"
    TASK_TIMED_OUT = "task_timed_out"
    TASK_UNRESOLVED = "task_unresolved"
    ANSWER_LOST = "answer_lost"
    BUDGET_NEARLY_USED = "budget_nearly_used"
    BUDGET_USED_UP = "budget_used_up"
    GATE_CLOSED = "gate_closed"
    MEMBER_REFUSED = "member_refused"
    MEMBER_PAUSED = "member_paused"
    ACTION_LOGGED = "action_logged"
    LOG_CHANNEL_LEFT = "log_channel_left"


@dataclass(frozen=True, slots=True)
class Notification:
    """Base of everything that is posted in a log channel."""

    kind: ClassVar[NotificationKind]


@dataclass(frozen=True, slots=True)
class Text(Notification):
    """Ready Discord markdown from before notifications had kinds."""

    kind: ClassVar[NotificationKind] = NotificationKind.TEXT
    text: str


@dataclass(frozen=True, slots=True)
class Announcement(Notification):
    """The operator's own words to all servers, in Discord markdown."""

    kind: ClassVar[NotificationKind] = NotificationKind.ANNOUNCEMENT
    text: str


@dataclass(frozen=True, slots=True)
class Welcome(Notification):
    """The bot joined a server. allowed: whether the operator lets the server make videos."""

    kind: ClassVar[NotificationKind] = NotificationKind.WELCOME
    server_name: str
    allowed: bool


@dataclass(frozen=True, slots=True)
class JobFailed(Notification):
    """A member's video failed. failure: a `FailureReason`."""

    kind: ClassVar[NotificationKind] = NotificationKind.JOB_FAILED
    user_id: int
    failure: str
    detail: FailureDetail | None
    prompt: str


@dataclass(frozen=True, slots=True)
class TaskTimedOut(Notification):
    """A job was given up after too long; its task may still end, and cost."""

    kind: ClassVar[NotificationKind] = NotificationKind.TASK_TIMED_OUT
    job_id: str
    guild_id: int
    upstream_id: str | None
    detail: FailureDetail | None


@dataclass(frozen=True, slots=True)
class TaskUnresolved(Notification):
    """Nobody knows whether a job's task was made: the operator has to look it up."""

    kind: ClassVar[NotificationKind] = NotificationKind.TASK_UNRESOLVED
    job_id: str
    guild_id: int
    asked_at: int
    lost_at: int
    detail: FailureDetail | None


@dataclass(frozen=True, slots=True)
class AnswerLost(Notification):
    """What is known of a submission whose answer was lost."""

    kind: ClassVar[NotificationKind] = NotificationKind.ANSWER_LOST
    job_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class BudgetNearlyUsed(Notification):
    """Most of a budget over all servers is used. share: in percent; used, limit: USD."""

    kind: ClassVar[NotificationKind] = NotificationKind.BUDGET_NEARLY_USED
    period: BudgetPeriod
    share: int
    used: str
    limit: str


@dataclass(frozen=True, slots=True)
class BudgetUsedUp(Notification):
    """A budget over all servers takes no further video. used, limit: USD, where a video used it up.

    Both None: a member was refused.
    """

    kind: ClassVar[NotificationKind] = NotificationKind.BUDGET_USED_UP
    period: BudgetPeriod
    used: str | None = None
    limit: str | None = None


@dataclass(frozen=True, slots=True)
class GateClosed(Notification):
    """The video service takes no jobs for now."""

    kind: ClassVar[NotificationKind] = NotificationKind.GATE_CLOSED
    until: int
    reason: str


@dataclass(frozen=True, slots=True)
class MemberRefused(Notification):
    """A member asked for a video and was refused. reason: a `LimitName` or a `RuleName`.

    prompt: what they wrote, where a blocked word was the reason.
    """

    kind: ClassVar[NotificationKind] = NotificationKind.MEMBER_REFUSED
    user_id: int
    channel_id: int
    reason: str
    prompt: str | None


@dataclass(frozen=True, slots=True)
class MemberPaused(Notification):
    """Blocked prompts paused a member. strikes: how many. prompt: the last one."""

    kind: ClassVar[NotificationKind] = NotificationKind.MEMBER_PAUSED
    user_id: int
    until: int | None
    strikes: int
    prompt: str | None


@dataclass(frozen=True, slots=True)
class ActionLogged(Notification):
    """An entry of the audit log. guild_id, by: as in `AuditEntry`."""

    kind: ClassVar[NotificationKind] = NotificationKind.ACTION_LOGGED
    guild_id: int
    by: int | None
    change: AuditedChange


@dataclass(frozen=True, slots=True)
class LogChannelLeft(Notification):
    """The last message in a log channel that is one no more. channel_id: the new one; None: the log is off."""

    kind: ClassVar[NotificationKind] = NotificationKind.LOG_CHANNEL_LEFT
    by: int
    channel_id: int | None


_TYPES: dict[str, type[Notification]] = {
    it.kind: it
    for it in (
        Text,
        Announcement,
        Welcome,
        JobFailed,
        TaskTimedOut,
        TaskUnresolved,
        AnswerLost,
        BudgetNearlyUsed,
        BudgetUsedUp,
        GateClosed,
        MemberRefused,
        MemberPaused,
        ActionLogged,
        LogChannelLeft,
    )
}


@dataclass(frozen=True, slots=True)
class StoredNotification:
    """A notification as it is stored. text: its words, once it was claimed, so that every try sends the same."""

    kind: str
    payload: dict[str, Any] | None
    text: str | None = None


def payload_of(notification: Notification) -> dict[str, Any]:
    """The notification's values, as they are stored beside its kind."""
    return asdict(notification)


def notification_of(kind: str, payload: dict[str, Any]) -> Notification:
    """What was stored. Raises: KeyError, TypeError for what no version wrote."""
    found = _TYPES[kind]
    if (detail := payload.get("detail")) is not None:
        payload = payload | {"detail": FailureDetail(**detail | {"cause": FailureCause(detail["cause"])})}
    if found is not ActionLogged:
        return found(**payload)
    change = dict(payload["change"])
    target_kind = change.pop("target_kind")
    return ActionLogged(
        payload["guild_id"],
        payload["by"],
        AuditedChange(
            Action(change.pop("action")), None if target_kind is None else TargetKind(target_kind), **change
        ),
    )
