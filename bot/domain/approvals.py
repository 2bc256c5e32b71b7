"""Moderators' decisions about jobs, in servers where each video needs approval. Values only."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

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
