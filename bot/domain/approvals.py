"""What moderators decide about jobs that wait for them, in servers that want each video let through.

Pure: the values alone. How it is written down is the store's business, how it is asked the chat's.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

APPROVAL_TIMEOUT = timedelta(days=1)
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
