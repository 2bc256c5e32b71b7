"""What admins, moderators and operators did, as typed entries of the audit log.

An entry says who did what to whom, with the values before and after. The values are plain JSON, so they are stored
and exported as they are; `bot.chat.messages.audit_texts` puts them into words.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any


class Action(StrEnum):
    """What was done. LEGACY: an entry from schema 0002 or before, kept as text."""

    PAUSED_SET = "paused_set"
    LOG_CHANNEL_SET = "log_channel_set"
    RESOLUTIONS_SET = "resolutions_set"
    MODELS_SET = "models_set"
    AGE_RESTRICTED_ONLY_SET = "age_restricted_only_set"
    APPROVAL_SET = "approval_set"
    QUOTES_SHOWN_SET = "quotes_shown_set"
    VIOLATION_LIMIT_SET = "strikes_set"  # stored since schema 0003, so it stays
    LIMITS_SET = "limits_set"
    POLICY_SET = "policy_set"
    TERMS_BLOCKED = "terms_blocked"
    TERM_UNBLOCKED = "term_unblocked"
    MEMBER_BANNED = "member_banned"
    MEMBER_UNBANNED = "member_unbanned"
    CREDITS_GRANTED = "credits_granted"
    CREDITS_REVOKED = "credits_revoked"
    JOB_CANCELLED = "job_cancelled"
    JOB_RESUMED = "job_resumed"
    JOB_RETRIED = "job_retried"
    JOB_APPROVED = "job_approved"
    JOB_DECLINED = "job_declined"
    BUDGET_SET = "budget_set"
    QUEUE_MAX_SET = "queue_max_set"
    ACCESS_SET = "access_set"
    DRAINING_SET = "draining_set"
    GATE_OPENED = "gate_opened"
    TASK_FOUND = "task_found"
    TASK_LOST = "task_lost"
    ANNOUNCED = "announced"
    LEGACY = "legacy"


class TargetKind(StrEnum):
    """What an action was done to."""

    SERVER = "server"
    CHANNEL = "channel"
    ROLE = "role"
    MEMBER = "member"
    JOB = "job"


Values = Mapping[str, Any]
"""Values by name, as plain JSON: amounts as text, times in whole seconds since 1970."""


@dataclass(frozen=True, slots=True)
class AuditedChange:
    """What was done, to what, and the values before and after; None if there are none.

    target_id: None if the action is about the server itself. before, after: of LEGACY, the old text.
    legacy_what: of LEGACY, what the old version said was changed.
    """

    action: Action
    target_kind: TargetKind | None = None
    target_id: str | None = None
    before: Values | str | None = None
    after: Values | str | None = None
    legacy_what: str | None = None

    @property
    def is_change(self) -> bool:
        """Whether anything is different from before."""
        return self.before != self.after


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """An entry of the audit log. guild_id: 0 for what the operator did across all servers.

    actor_id: None in a server's log if the operator did it: servers don't see who the operator is.
    """

    guild_id: int
    created_at: datetime
    actor_id: int | None
    change: AuditedChange


def seconds(moment: datetime | None) -> int | None:
    """A time as it is stored in an entry."""
    return None if moment is None else int(moment.timestamp())


def usd(amount: Decimal | None) -> str | None:
    """An amount as it is stored in an entry."""
    return None if amount is None else f"{amount.normalize():f}"
