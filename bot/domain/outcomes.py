"""What a stage decides about a job: the values that the worker hands to the store. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any

from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, JobState, StopResult
from bot.domain.task_durations import TaskDuration


@dataclass(frozen=True, slots=True)
class JobUpdate:
    """What a stage learned, written with its outcome. None: keep the present value.

    `upstream_response`: the upstream's response as received, kept with the job so that nothing unknown is lost.
    `task_duration`: how long the task took, which is kept apart from the job.
    """

    upstream_id: str | None = None
    submitted_at: datetime | None = None
    progress: float | None = None
    result_url: str | None = None
    cost_usd: Decimal | None = None
    upstream_response: Mapping[str, Any] | None = field(default=None, hash=False)
    status_message_id: int | None = None
    result_message_id: int | None = None
    result_channel_id: int | None = None
    approval_message_id: int | None = None
    seen_running_at: datetime | None = None
    upstream_urls: Mapping[str, str] | None = field(default=None, hash=False)
    can_be_stopped: bool | None = None
    stop_result: StopResult | None = None
    refused_by: str | None = None
    task_duration: TaskDuration | None = None


NOTHING_NEW = JobUpdate()


@dataclass(frozen=True, slots=True)
class MoveTo:
    """The job moves to the state `to`, due at `due_at` (None: at once or, in the queue, in its turn).

    `charged`: whether it counts towards the quota from now on; None keeps the present value. `cost_unknown`: as in
    `Fail`.
    """

    to: JobState
    update: JobUpdate = NOTHING_NEW
    charged: bool | None = None
    due_at: datetime | None = None
    cost_unknown: bool = False


@dataclass(frozen=True, slots=True)
class Reschedule:
    """The job keeps its state and is due again at `due_at`; None: only when something else moves it.

    `attempt`: whether the stage failed, so that the next pause grows; otherwise the count starts again.
    """

    due_at: datetime | None
    update: JobUpdate = NOTHING_NEW
    attempt: bool = False


@dataclass(frozen=True, slots=True)
class PauseSubmissions:
    """No job is submitted to this one's provider before `until`; this one was certainly not, and is queued again.

    `reason`: the upstream's message, for the operator.
    """

    until: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Fail:
    """The job ends as failed and the member gets the quota back.

    `pause`: set where no other job should be submitted either, since the upstream may be down; its reason is
    for the operator. `may_be_billed`: whether the upstream may bill the task, where the reason doesn't tell.
    """

    reason: FailureReason
    detail: FailureDetail
    update: JobUpdate = NOTHING_NEW
    pause: PauseSubmissions | None = None
    may_be_billed: bool = False

    @property
    def cost_unknown(self) -> bool:
        """Whether the upstream may bill the job's task, if there is one, though it reported no cost."""
        is_unclear = self.reason in _MAY_BE_BILLED or self.detail.cause is FailureCause.TASK_UNKNOWN
        return is_unclear or self.may_be_billed


Outcome = MoveTo | Reschedule | Fail | PauseSubmissions

_MAY_BE_BILLED = frozenset(
    {
        FailureReason.OUTCOME_UNKNOWN,
        FailureReason.TIMED_OUT,
        FailureReason.RESULT_UNUSABLE,
        FailureReason.ABANDONED,
    }
)
"""Failures that say nothing about what the upstream did with the task."""
