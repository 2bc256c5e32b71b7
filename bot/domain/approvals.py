"""Moderators' decisions about jobs, in servers where each video needs approval. Values only."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, StrEnum

from bot.domain.errors import Reason

APPROVAL_TIMEOUT = timedelta(days=1)
"""How long a job waits for a moderator before it expires at no cost."""


class Verdict(StrEnum):
    """What a moderator decided."""

    APPROVED = "approved"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class Decision:
    """A moderator's decision: what, by whom and when."""

    verdict: Verdict
    moderator_id: int
    decided_at: datetime


class ApprovalProblem(Reason, Enum):
    """Why a moderator can't decide about a job."""

    UNKNOWN = "unknown"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    NOT_WAITING = "not_waiting"
    QUEUE_FULL = "queue_full"


@dataclass(frozen=True, slots=True)
class AlreadyDecided(Reason):
    """A moderator has already decided about the job."""

    decision: Decision
