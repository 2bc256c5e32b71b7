"""The `Provider` protocol: what the bot needs from a video gateway, and the values it exchanges.

Errors are subclasses of `bot.domain.errors.UpstreamError`; the class tells the caller what to do next.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from bot.domain.jobs import DEFAULT_MODEL, Frame, Job, Order, StopResult


class TaskStatus(StrEnum):
    """A task's status. Anything else that a gateway says counts as in progress."""

    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    GONE = "gone"  # the gateway keeps it no more: whatever became of it


@dataclass(frozen=True, slots=True)
class TaskRef:
    """How a task is asked about.

    urls: where, as the gateway said when it was created; see `Task.urls`. model: our name of what makes its video.
    """

    id: str
    urls: Mapping[str, str] = field(default_factory=dict, hash=False)
    model: str = DEFAULT_MODEL


def task_of(job: Job) -> TaskRef:
    """The task of a job that has one. Raises: ValueError for another job."""
    if job.upstream_id is None:
        raise ValueError(f"job {job.id} has no task")
    return TaskRef(job.upstream_id, job.upstream_urls or {}, job.order.model)


@dataclass(frozen=True, slots=True)
class Task:
    """One task as the gateway reports it.

    progress: 0 to 1, or None. video_url: set on a completed task that has a video. cost_usd: the total cost.
    error_code, error_message: set on a failed task, in the gateway's words. is_content_refused: whether it failed
    because of what the picture, the prompt or the video shows. urls: of a created task, where to ask about it, if
    not at the usual address; kept with its job. can_be_stopped: whether `Provider.stop` may stop it.
    may_be_billed: whether a task that ended without a video may be billed though no cost is given. is_unclear:
    whether the gateway said something that the client can't place, so that its response is kept. raw: gives the
    whole response, as JSON that any database can store, which most polls don't need.
    """

    id: str
    status: TaskStatus
    progress: float | None = None
    video_url: str | None = None
    cost_usd: Decimal | None = None
    error_code: str | None = None
    error_message: str | None = None
    is_content_refused: bool = False
    urls: Mapping[str, str] = field(default_factory=dict, hash=False)
    can_be_stopped: bool = False
    may_be_billed: bool = False
    is_unclear: bool = False
    raw: Callable[[], Mapping[str, Any]] = field(default=dict, compare=False)


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits in seconds.

    connect_s: DNS, TCP and TLS. submit_s: a create after that, upload included. poll_s: a poll after that.
    download_s: a whole video. stall_s: the longest silence during a download.
    """

    connect_s: float = 10
    submit_s: float = 90
    poll_s: float = 20
    download_s: float = 300
    stall_s: float = 30


class Provider(Protocol):
    """A gateway to a video model. One instance serves the whole process; all methods may run concurrently."""

    async def submit(self, order: Order, frame: Frame, *, request_id: str) -> Task:
        """Creates a task, which costs money. A fast task may already be completed.

        request_id: the job's id, sent along so that a create without an answer can be asked about.

        Raises: UpstreamRefused (for its content: ContentRefused), UpstreamClosed, UpstreamBusy, UpstreamUnreached
        (safe to send again), OutcomeUnknown (never send again), LeaseOver (nothing was sent).
        """
        ...

    async def status(self, task: TaskRef) -> Task:
        """Polls a task.

        Raises: UpstreamRefused (unknown task), UpstreamClosed, UpstreamBusy, UpstreamUnreached, UpstreamIll.
        """
        ...

    async def stop(self, task: TaskRef) -> StopResult:
        """Asks the gateway to stop a task, which can be repeated.

        Raises: UpstreamClosed, UpstreamBusy, UpstreamUnreached, UpstreamIll.
        """
        ...

    async def download(self, url: str, to: Path) -> int:
        """Streams a finished video into the new file `to` and returns its size in bytes.

        Raises: ResultUnusable (permanent), ResultRefused (a fresh link may do), ResultIncomplete (no whole video),
        UpstreamBusy, UpstreamUnreached, UpstreamIll; `to` does not exist then.
        """
        ...

    async def check(self) -> None:
        """Makes a free request that needs the key; returns if the gateway answers and accepts the key.

        Raises: as `status`, but never UpstreamRefused.
        """
        ...
