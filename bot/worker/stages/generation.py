"""The steps that have the video made: the paid hand-in, and the looks at the task."""

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta

from bot.domain.errors import (
    OutcomeUnknown,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamError,
    UpstreamRefused,
    UpstreamUnreached,
)
from bot.domain.jobs import (
    Fail,
    FailureCause,
    FailureDetail,
    FailureReason,
    Job,
    JobState,
    JobUpdate,
    MoveTo,
    Outcome,
    PauseSubmissions,
    Reschedule,
)
from bot.providers.base import Task, TaskStatus
from bot.worker.stages.context import StageContext

log = logging.getLogger(__name__)


async def submit(job: Job, tools: StageContext) -> Outcome:
    """Submitting: makes the paid task, at most once in the life of the job."""
    if job.claims > 1:
        log.error("job %s: its worker ended while it was handed in, a paid task may exist", job.id)
        return Fail(FailureReason.OUTCOME_UNKNOWN, FailureDetail(FailureCause.INTERRUPTED))
    try:
        async with asyncio.timeout(tools.store_s):
            frame = await tools.desk.frame(job.id)
            gate = await tools.desk.gate()
    except Exception as error:  # whatever the store has: nothing was sent yet, so the job can simply wait
        log.exception("job %s goes back into the queue before anything was sent", job.id)
        return _hold(error, 0, tools)
    if frame is None:
        return Fail(FailureReason.REFUSED, FailureDetail(FailureCause.PICTURE_GONE))
    try:
        task = await tools.provider.submit(job.order, frame)
    except UpstreamRefused as error:
        detail = FailureDetail(FailureCause.REFUSED_BY_SERVICE, quote=error.said, code=error.code)
        return Fail(FailureReason.REFUSED, detail)
    except (UpstreamClosed, UpstreamBusy, UpstreamUnreached) as error:
        return _hold(error, gate.failures, tools)
    except OutcomeUnknown as error:
        log.error("job %s: a create's answer was lost, a paid task may exist: %s", job.id, error)
        detail = FailureDetail(FailureCause.ANSWER_LOST)
        return Fail(FailureReason.OUTCOME_UNKNOWN, detail, hold=_hold(error, gate.failures, tools))
    # From here on nothing may fail before the outcome is back with the worker: the task exists.
    now = tools.clock()
    facts = JobUpdate(upstream_id=task.id, submitted_at=now)
    match task.status:
        case TaskStatus.IN_PROGRESS:
            due_at = now + timedelta(seconds=tools.policy.looks.next_pause_s(0))
            return MoveTo(JobState.RUNNING, replace(facts, progress=task.progress, raw=task.raw), due_at=due_at)
        case TaskStatus.COMPLETED | TaskStatus.FAILED:
            return _ended(job, task, facts)


async def poll(job: Job, tools: StageContext) -> Outcome:
    """Running: looks how far the task is."""
    assert job.upstream_id is not None  # noqa: S101 - a running job has one; the store's CHECK says so too
    begun_at = job.submitted_at or job.state_since
    age = tools.clock() - begun_at
    try:
        task = await _look(job.upstream_id, tools)
    except UpstreamRefused as error:
        detail = FailureDetail(FailureCause.TASK_UNKNOWN, quote=error.said, code=error.code)
        return _cancelled_or(job, Fail(FailureReason.UPSTREAM_FAILED, detail))
    except UpstreamError as error:
        if age > tools.policy.task_lifetime:
            detail = FailureDetail(FailureCause.SERVICE_UNREACHABLE)
            return _cancelled_or(job, Fail(FailureReason.TIMED_OUT, detail))
        # Whether the gateway takes new jobs is found out by those: one task's trouble is not theirs.
        log.warning("job %s: look failed: %s", job.id, error)
        wait_s = error.retry_after_s or 0.0 if isinstance(error, UpstreamBusy) else 0.0
        return tools.later(tools.policy.upstream_backoff, job.attempts, at_least_s=wait_s)
    match task.status:
        case TaskStatus.COMPLETED | TaskStatus.FAILED:
            return _ended(job, task, JobUpdate())
        case TaskStatus.IN_PROGRESS if tools.watched(begun_at) > tools.policy.job_timeout:
            minutes = round(tools.policy.job_timeout.total_seconds() / 60)
            detail = FailureDetail(FailureCause.NOT_FINISHED, minutes=minutes)
            return _cancelled_or(job, Fail(FailureReason.TIMED_OUT, detail, JobUpdate(raw=task.raw)))
        case TaskStatus.IN_PROGRESS:
            pause = timedelta(seconds=tools.policy.looks.next_pause_s(age.total_seconds()))
            return Reschedule(tools.clock() + pause, JobUpdate(progress=task.progress))


async def _look(upstream_id: str, tools: StageContext) -> Task:
    """What the upstream says of a task. A refusal may be a hiccup on the way: it counts when it is repeated."""
    for pause_s in tools.policy.refusal_pauses_s:
        try:
            return await tools.provider.status(upstream_id)
        except UpstreamRefused as error:
            log.warning("task %s: the look was refused, looking again: %s", upstream_id, error)
            await asyncio.sleep(pause_s)
    return await tools.provider.status(upstream_id)


def _ended(job: Job, task: Task, facts: JobUpdate) -> Outcome:
    """The outcome for a task that is over."""
    facts = replace(facts, progress=None, result_url=task.video_url, cost_usd=task.cost_usd, raw=task.raw)
    if task.status is TaskStatus.FAILED:
        log.warning("job %s: its task failed: %s %s", job.id, task.error_code, task.error_message)
        detail = FailureDetail(FailureCause.TASK_FAILED, quote=task.error_message, code=task.error_code)
        return _cancelled_or(job, Fail(FailureReason.UPSTREAM_FAILED, detail, facts))
    if job.cancel_requested:
        return MoveTo(JobState.CANCELLED, facts)
    if task.video_url is None:
        return Fail(FailureReason.RESULT_UNUSABLE, FailureDetail(FailureCause.NO_VIDEO), facts)
    return MoveTo(JobState.DELIVERING, facts)


def _cancelled_or(job: Job, failure: Fail) -> Outcome:
    """A failure, which for a job that its member gave up is just its end; free either way."""
    if job.cancel_requested:
        return MoveTo(JobState.CANCELLED, failure.facts, counted=False)
    return failure


def _hold(error: Exception, gate_failures: int, tools: StageContext) -> PauseSubmissions:
    """Submitting stops for as long as the upstream said, or for a pause that grows with the failures in a row."""
    pause_s = tools.policy.gate_backoff.pause_s(gate_failures, chance=tools.chance())
    if isinstance(error, UpstreamBusy) and error.retry_after_s:  # at once, from one that is busy, is no answer
        pause_s = error.retry_after_s
    level = logging.ERROR if isinstance(error, UpstreamClosed) else logging.WARNING
    log.log(level, "no job is submitted for %.0f s: %s", pause_s, error)
    return PauseSubmissions(tools.clock() + timedelta(seconds=pause_s), str(error))
