"""Moderators' decisions about jobs, in servers where each video needs approval. Values only."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

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
    by: int
    at: datetime


class ApprovalProblem(StrEnum):
    """Why a moderator can't decide about a job."""

    UNKNOWN = "unknown"
    ANSWERED = "answered"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    NOT_WAITING = "not_waiting"
    QUEUE_FULL = "queue_full"


@dataclass(frozen=True, slots=True)
class CannotDecide(Reason):
    """A moderator can't decide about a job. decision: the one that was already made, if any."""

    problem: ApprovalProblem
    decision: Decision | None = None
