"""What moderators decide about jobs that wait for them, in servers that want each video let through.

Pure: the values alone. How it is written down is the store's business, how it is asked the chat's.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from bot.domain.errors import Reason

PATIENCE = timedelta(days=1)
"""How long a job waits for a moderator; after that it ends, free."""


class Verdict(StrEnum):
    """A moderator's answer."""

    APPROVED = "approved"
    DECLINED = "declined"


@dataclass(frozen=True, slots=True)
class Decision:
    """Which answer it was, whose and when."""

    verdict: Verdict
    by: int
    at: datetime


class ReviewProblem(StrEnum):
    """Why a moderator's answer can't be taken."""

    UNKNOWN = "unknown"
    ANSWERED = "answered"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    NOT_WAITING = "not_waiting"
    QUEUE_FULL = "queue_full"


@dataclass(frozen=True, slots=True)
class ReviewClosed(Reason):
    """A moderator's answer can't be taken. decision: the one that stands, where one was given."""

    problem: ReviewProblem
    decision: Decision | None = None
