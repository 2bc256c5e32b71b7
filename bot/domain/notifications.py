"""What is posted in log channels, as typed values; put into words when it is sent.

The fields are plain JSON, because they are stored: amounts as text, times in whole seconds since 1970.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from bot.domain.audit_log import Action, AuditedChange, TargetKind
from bot.domain.jobs import FailureCause, FailureDetail, ProviderName
from bot.domain.quotas import BudgetPeriod


@dataclass(frozen=True, slots=True)
class Notification:
    """Base of everything that is posted in a log channel."""


@dataclass(frozen=True, slots=True)
class Text(Notification):
    """Ready Discord markdown from before notifications had kinds."""

    text: str


@dataclass(frozen=True, slots=True)
class Announcement(Notification):
    """The operator's message to all servers, in Discord markdown."""

    text: str


@dataclass(frozen=True, slots=True)
class Welcome(Notification):
    """The bot joined a server. allowed: whether the operator lets the server make videos."""

    server_name: str
    allowed: bool


@dataclass(frozen=True, slots=True)
class JobFailed(Notification):
    """A member's video failed. failure: a `FailureReason`."""

    user_id: int
    failure: str
    detail: FailureDetail | None
    prompt: str


@dataclass(frozen=True, slots=True)
class TaskTimedOut(Notification):
    """A job was abandoned because it took too long; its task may still finish and cost money."""

    job_id: str
    guild_id: int
    upstream_id: str | None
    detail: FailureDetail | None


@dataclass(frozen=True, slots=True)
class TaskUnresolved(Notification):
    """It isn't known whether a job's task exists: the operator has to look it up.

    provider: a `ProviderName`; None if a restore ended the job before it was given to one.
    """

    job_id: str
    guild_id: int
    asked_at: int
    lost_at: int
    detail: FailureDetail | None
    provider: str | None = ProviderName.VTRIX


@dataclass(frozen=True, slots=True)
class AnswerLost(Notification):
    """What is known about a submission that got no response."""

    job_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class BudgetNearlyUsed(Notification):
    """Most of a budget over all servers is used. share: in percent; used, limit: USD."""

    period: BudgetPeriod
    share: int
    used: str
    limit: str


@dataclass(frozen=True, slots=True)
class BudgetUsedUp(Notification):
    """A budget over all servers is used up. used, limit: in USD; None where a refused order showed it."""

    period: BudgetPeriod
    used: str | None = None
    limit: str | None = None


@dataclass(frozen=True, slots=True)
class GateClosed(Notification):
    """A provider isn't accepting jobs for now. provider: a `ProviderName`; not stored by earlier versions."""

    until: int
    reason: str
    provider: str = ProviderName.VTRIX


@dataclass(frozen=True, slots=True)
class MemberRefused(Notification):
    """A member's order was refused. reason: a `LimitName` or `RuleName`. prompt: only for a blocked term."""

    user_id: int
    channel_id: int
    reason: str
    prompt: str | None


@dataclass(frozen=True, slots=True)
class MemberPaused(Notification):
    """Blocked prompts paused a member. strikes: how many (the stored name). prompt: the last one."""

    user_id: int
    until: int | None
    strikes: int
    prompt: str | None


@dataclass(frozen=True, slots=True)
class ActionLogged(Notification):
    """An entry of the audit log. guild_id: as in `AuditEntry`. by: its `actor_id` (the stored name)."""

    guild_id: int
    by: int | None
    change: AuditedChange


@dataclass(frozen=True, slots=True)
class LogChannelLeft(Notification):
    """The last message in a former log channel. channel_id: the new one; None if the log is off."""

    by: int
    channel_id: int | None


@dataclass(frozen=True, slots=True)
class BackupFailed(Notification):
    """A scheduled backup could not be made, or old ones not removed. reason: None for a bug in the bot."""

    reason: str | None


_TYPES: dict[str, type[Notification]] = {
    "text": Text,
    "announcement": Announcement,
    "welcome": Welcome,
    "job_failed": JobFailed,
    "task_timed_out": TaskTimedOut,
    "task_unresolved": TaskUnresolved,
    "answer_lost": AnswerLost,
    "budget_nearly_used": BudgetNearlyUsed,
    "budget_used_up": BudgetUsedUp,
    "gate_closed": GateClosed,
    "member_refused": MemberRefused,
    "member_paused": MemberPaused,
    "action_logged": ActionLogged,
    "log_channel_left": LogChannelLeft,
    "backup_failed": BackupFailed,
}
KINDS: Mapping[type[Notification], str] = {cls: kind for kind, cls in _TYPES.items()}
"""The stored name of each kind of notification."""


@dataclass(frozen=True, slots=True)
class StoredNotification:
    """A stored notification. text: set once it was claimed, so that every attempt sends the same."""

    kind: str
    payload: dict[str, Any] | None
    text: str | None = None


def stored(notification: Notification) -> StoredNotification:
    """The notification as it is stored."""
    return StoredNotification(KINDS[type(notification)], asdict(notification))


def notification_of(kind: str, payload: dict[str, Any]) -> Notification:
    """The notification that was stored. Raises: KeyError, TypeError, ValueError for what no version wrote."""
    if _TYPES[kind] is ActionLogged:
        change = payload["change"]
        target_kind = change["target_kind"] and TargetKind(change["target_kind"])
        change = change | {"action": Action(change["action"]), "target_kind": target_kind}
        payload = payload | {"change": AuditedChange(**change)}
    if (detail := payload.get("detail")) is not None:
        payload = payload | {"detail": FailureDetail(**detail | {"cause": FailureCause(detail["cause"])})}
    return _TYPES[kind](**payload)
