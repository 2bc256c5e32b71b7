"""What the bot asks of any video gateway, and the values that cross that border.

Errors are `bot.domain.errors.UpstreamError` and its children: their class says what the caller does next.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from bot.domain.jobs import Frame, Order


class TaskStatus(StrEnum):
    """Where a task stands. Whatever else a gateway says counts as in progress."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Task:
    """What the upstream says of one task.

    progress: 0 to 1, None where not said. video_url: set on a completed task that has a video.
    cost_usd: the task's total cost. error_code, error_message: set on a failed task, as the upstream said.
    raw: the answer as it came.
    """

    id: str
    status: TaskStatus
    progress: float | None = None
    video_url: str | None = None
    cost_usd: Decimal | None = None
    error_code: str | None = None
    error_message: str | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, hash=False)


class Provider(Protocol):
    """A gateway to a video model. One instance serves the whole process; all methods may run side by side."""

    async def submit(self, order: Order, frame: Frame) -> Task:
        """Creates a task that costs money. A fast one may come back completed.

        Raises: UpstreamRefused, UpstreamClosed, UpstreamBusy, UpstreamUnreached (safe to send again),
        OutcomeUnknown (never send again).
        """
        ...

    async def status(self, task_id: str) -> Task:
        """Looks at a task.

        Raises: UpstreamRefused (unknown task), UpstreamClosed, UpstreamBusy, UpstreamUnreached, UpstreamIll.
        """
        ...

    async def download(self, url: str, to: Path) -> int:
        """Streams a finished video into the file `to`, made new; its size in bytes comes back.

        Raises: ResultUnusable (never will be), UpstreamBusy, UpstreamUnreached, UpstreamIll. `to` is gone then.
        """
        ...

    async def check(self) -> None:
        """Asks for something harmless that needs the key; returns where the gateway answers and takes the key.

        Raises: as `status`, but never UpstreamRefused.
        """
        ...
