"""Reports to the observer what the worker's loop does: when stages begin and end, and with which jobs."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from bot.domain.jobs import ENDED, REMOVED, Job, JobState
from bot.domain.outcomes import Fail, MoveTo, Outcome, PauseSubmissions, Reschedule
from bot.operations.observer import Observer
from bot.worker.stages import STAGES

BROKEN_OFF = "broken off"
"""The outcome of a stage that was cancelled, or that raised what has no outcome."""


class StageTimer:
    """Times one stage. `outcome` is set by whoever runs it."""

    def __init__(self) -> None:
        self.outcome: Outcome | None = None


@contextmanager
def timed_stage(observer: Observer, job: Job, now: datetime) -> Iterator[StageTimer]:
    """Reports the stage of the job's state that runs inside. now: when the stage begins."""
    stage = stage_name(job.state)
    observer.stage_started(stage, None if job.due_at is None else max(0.0, (now - job.due_at).total_seconds()))
    _report_end(observer, job)
    timer, began_s = StageTimer(), time.perf_counter()
    try:
        yield timer
    finally:
        observer.stage_ended(stage, _name_of(timer.outcome), time.perf_counter() - began_s)


def stage_name(state: JobState) -> str:
    """The name of the stage that a job in this state goes through."""
    return STAGES[state].__name__


def _report_end(observer: Observer, job: Job) -> None:
    """Reports that the job ended, however that came about, when its last stage begins for the first time.

    Its row is read for that stage in any case, whoever ended it: a stage, its member, a moderator.
    """
    if job.state not in ENDED or job.attempts or job.claim_count > 1 or job.result_message_id == REMOVED:
        return
    duration_s = (job.state_changed_at - job.created_at).total_seconds()
    observer.job_ended(job.state, job.failure_reason or "", duration_s)
    if job.provider is not None and job.cost_usd is not None:
        observer.job_cost(job.provider, job.order.model, "reported", job.cost_usd)
    elif job.provider is not None and job.estimated_cost_usd is not None and job.state is JobState.DELIVERED:
        observer.job_cost(job.provider, job.order.model, "estimated", job.estimated_cost_usd)


def _name_of(outcome: Outcome | None) -> str:
    match outcome:
        case None:
            return BROKEN_OFF
        case MoveTo():
            return "moved"
        case Fail():
            return "failed"
        case PauseSubmissions():
            return "paused"
        case Reschedule(attempt=failed):
            return "retried" if failed else "rescheduled"
