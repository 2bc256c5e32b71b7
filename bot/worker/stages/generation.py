"""The stages that have the video made: the paid submission, and polling the task."""

import asyncio
import logging
from dataclasses import replace
from datetime import datetime, timedelta

from bot.domain.errors import (
    ContentRefused,
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
    ProviderName,
    Reschedule,
)
from bot.domain.models import kind_of
from bot.domain.task_durations import TaskDuration
from bot.providers.base import Task, TaskRef, TaskStatus
from bot.worker.stages.context import NotSubmitted, StageContext

log = logging.getLogger(__name__)


async def submit(job: Job, context: StageContext) -> Outcome:
    """Submitting: creates the paid task, at most once per job."""
    if job.claim_count > 1:
        log.error("job %s: its worker died while submitting it; a paid task may exist", job.id)
        return Fail(FailureReason.OUTCOME_UNKNOWN, FailureDetail(FailureCause.INTERRUPTED))
    try:
        async with asyncio.timeout(context.store_timeout_s):
            frame = await context.store.frame(job.id)
            gate = await context.store.gate(_provider(job))
    except asyncio.CancelledError as error:
        raise NotSubmitted from error
    except Exception as error:  # whatever the store raises: nothing was sent yet, so the job can wait
        log.exception("job %s goes back to the queue: nothing was sent", job.id)
        return _pause_submissions(error, 0, context)
    if frame is None:
        return Fail(FailureReason.REFUSED, FailureDetail(FailureCause.PICTURE_GONE))
    try:
        task = await context.provider_of(job).submit(job.order, frame, request_id=job.id)
    except UpstreamRefused as error:
        if not isinstance(error, ContentRefused) and (refused_by := _others_left(job, context)) is not None:
            log.warning("job %s goes to another provider: %s refused it: %s", job.id, job.provider, error)
            return MoveTo(JobState.QUEUED, JobUpdate(refused_by=refused_by))
        return Fail(FailureReason.REFUSED, _refusal(error, FailureCause.REFUSED_BY_SERVICE))
    except (UpstreamClosed, UpstreamBusy, UpstreamUnreached) as error:
        return _pause_submissions(error, gate.failures, context)
    except OutcomeUnknown as error:
        log.error("job %s: the response to its submission was lost; a paid task may exist: %s", job.id, error)
        detail = FailureDetail(FailureCause.ANSWER_LOST)
        return Fail(FailureReason.OUTCOME_UNKNOWN, detail, pause=_pause_submissions(error, gate.failures, context))
    # The task exists: from here on nothing may fail before the worker has the outcome.
    now = context.clock()
    urls = task.urls or None
    update = JobUpdate(
        upstream_id=task.id, submitted_at=now, upstream_urls=urls, can_be_stopped=task.can_be_stopped
    )
    match task.status:
        case TaskStatus.IN_PROGRESS:
            job = replace(job, submitted_at=now)
            return MoveTo(
                JobState.RUNNING,
                replace(update, progress=task.progress, upstream_response=task.raw()),
                due_at=_next_poll_at(job, now, now, context),
            )
        case TaskStatus.COMPLETED | TaskStatus.FAILED | TaskStatus.CANCELLED | TaskStatus.GONE:
            return _outcome_of(job, task, update)


def _provider(job: Job) -> ProviderName:
    assert job.provider is not None  # noqa: S101 - the claim for submission writes it
    return job.provider


def _others_left(job: Job, context: StageContext) -> str | None:
    """Who has refused the job by now, if another provider may still take it; None if there is none."""
    refusers = job.refusers | {_provider(job)}
    left = any(job.order.model in models for name, models in context.asked.items() if name not in refusers)
    return ",".join(sorted(refusers)) if left else None


async def poll(job: Job, context: StageContext) -> Outcome:
    """Running: polls the task."""
    assert job.upstream_id is not None  # noqa: S101 - a running job has one; a CHECK in the schema enforces it
    begun_at = job.state_changed_at  # not the submission: a resumed job has all its time again
    is_late = context.observed_for(begun_at) > context.config.job_timeout
    try:
        task = await context.provider_of(job).status(TaskRef(job.upstream_id, job.upstream_urls or {}))
    except UpstreamRefused as error:
        if is_late and job.attempts + 1 >= context.config.refused_polls_min:
            detail = _refusal(error, FailureCause.TASK_UNKNOWN)
            return _cancelled_or(job, Fail(FailureReason.UPSTREAM_FAILED, detail))
        log.warning("job %s: poll refused: %s", job.id, error)
        return _retry_poll(job, context)
    except UpstreamError as error:
        if context.can_give_up(begun_at):
            detail = FailureDetail(FailureCause.SERVICE_UNREACHABLE)
            return _cancelled_or(job, Fail(FailureReason.TIMED_OUT, detail))
        # One task's failed poll does not pause submissions: they find out themselves what the upstream accepts.
        log.warning("job %s: poll failed: %s", job.id, error)
        return _retry_poll(job, context, error)
    now = context.clock()
    match task.status:
        case TaskStatus.COMPLETED:
            return _outcome_of(job, task, JobUpdate(task_duration=_duration(job, job.seen_running_at, now)))
        case TaskStatus.FAILED | TaskStatus.CANCELLED | TaskStatus.GONE:
            return _outcome_of(job, task, JobUpdate())
        case TaskStatus.IN_PROGRESS if is_late:
            minutes = round(context.config.job_timeout.total_seconds() / 60)
            detail = FailureDetail(FailureCause.NOT_FINISHED, minutes=minutes)
            update = JobUpdate(upstream_response=task.raw(), task_duration=_duration(job, now, None))
            return _cancelled_or(job, Fail(FailureReason.TIMED_OUT, detail, update))
        case TaskStatus.IN_PROGRESS:
            update = JobUpdate(progress=task.progress, seen_running_at=now)
            return Reschedule(_next_poll_at(job, now, now, context), update)


def _next_poll_at(job: Job, now: datetime, seen_running_at: datetime | None, context: StageContext) -> datetime:
    """When to poll a job's task next. seen_running_at: when the last poll that was answered said that it runs."""
    age_s, seen_running_s = _age_s(job, now), _age_s(job, seen_running_at)
    pause_s = context.config.poll_schedule.next_pause_s(kind_of(job), age_s, seen_running_s)
    return now + timedelta(seconds=pause_s)


def _retry_poll(job: Job, context: StageContext, error: Exception | None = None) -> Reschedule:
    """Polls again as the schedule says or, after many failures in a row, later."""
    outcome = context.retry(context.config.upstream_backoff, job.attempts, error)
    scheduled_at = _next_poll_at(job, context.clock(), job.seen_running_at, context)
    return replace(outcome, due_at=max(scheduled_at, outcome.due_at or scheduled_at))


def _age_s(job: Job, at: datetime | None) -> float:
    """A task's age at some time, in seconds since its submission; 0 for None."""
    submitted_at = job.submitted_at or job.state_changed_at
    return 0.0 if at is None else (at - submitted_at).total_seconds()


def _duration(job: Job, seen_running_at: datetime | None, ended_at: datetime | None) -> TaskDuration:
    within_s = None if ended_at is None else _age_s(job, ended_at)
    return TaskDuration(max(_age_s(job, seen_running_at), 0.0), within_s)


def _outcome_of(job: Job, task: Task, update: JobUpdate) -> Outcome:
    """The outcome of a task that ended."""
    update = replace(
        update, progress=None, result_url=task.video_url, cost_usd=task.cost_usd, upstream_response=task.raw()
    )
    if task.status is not TaskStatus.COMPLETED:
        log.warning("job %s: its task failed: %s %s", job.id, task.error_code, task.error_message)
        cause = FailureCause.CONTENT_REFUSED if task.is_content_refused else FailureCause.TASK_FAILED
        detail = FailureDetail(cause, quote=task.error_message, code=task.error_code)
        return _cancelled_or(job, Fail(FailureReason.UPSTREAM_FAILED, detail, update))
    if job.cancel_requested:
        return MoveTo(JobState.CANCELLED, update)
    if task.video_url is None:
        return Fail(FailureReason.RESULT_UNUSABLE, FailureDetail(FailureCause.NO_VIDEO), update)
    return MoveTo(JobState.DELIVERING, update)


def _refusal(error: UpstreamRefused, otherwise: FailureCause) -> FailureDetail:
    """What a refusal means. otherwise: what one means that isn't about the content."""
    cause = FailureCause.CONTENT_REFUSED if isinstance(error, ContentRefused) else otherwise
    return FailureDetail(cause, quote=error.said, code=error.code)


def _cancelled_or(job: Job, failure: Fail) -> Outcome:
    """The failure, or a cancellation where the member asked for one; free either way."""
    if job.cancel_requested:
        return MoveTo(JobState.CANCELLED, failure.update, charged=False, cost_unknown=failure.cost_unknown)
    return failure


def _pause_submissions(error: Exception, gate_failures: int, context: StageContext) -> PauseSubmissions:
    """Pauses all submissions for as long as the upstream asked, else for longer with each failure in a row.

    Never for longer than `longest_closure`: a single header must not stop everybody for a day.
    """
    pause_s = context.config.submission_backoff.pause_s(gate_failures, jitter=context.jitter())
    if isinstance(error, UpstreamBusy) and error.retry_after_s:  # 0 is no pause: keep ours
        pause_s = error.retry_after_s
    pause_s = min(pause_s, context.config.longest_closure.total_seconds())
    level = logging.ERROR if isinstance(error, UpstreamClosed) else logging.WARNING
    log.log(level, "submissions are paused for %.0f s: %s", pause_s, error)
    return PauseSubmissions(context.clock() + timedelta(seconds=pause_s), str(error))
