"""The stages that have the video made: the paid submission, and polling the task."""

import asyncio
import logging
from dataclasses import replace
from datetime import datetime, timedelta

from bot.domain.errors import (
    ContentRefused,
    LeaseOver,
    OutcomeUnknown,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamError,
    UpstreamRefused,
    UpstreamUnreached,
)
from bot.domain.jobs import (
    FailureCause,
    FailureDetail,
    FailureReason,
    Job,
    JobState,
    ProviderName,
    StopResult,
)
from bot.domain.models import kind_of
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Outcome, PauseSubmissions, Reschedule
from bot.domain.task_durations import TaskDuration
from bot.providers.base import Task, TaskStatus, task_of
from bot.providers.content_refusals import rejected_part
from bot.worker.stages.context import NotSubmitted, StageContext
from bot.worker.stages.stopping import STOPPED, is_to_be_stopped, stop, with_stop_result

log = logging.getLogger(__name__)

LAST_ERROR = "last_error"
"""The key of what is kept in place of a response that was lost or could not be read."""


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
        return _order_refused(job, error, context)
    except (UpstreamClosed, UpstreamBusy, UpstreamUnreached, LeaseOver) as error:
        return _not_made(error, gate.failures, context)
    except OutcomeUnknown as error:
        log.error("job %s: the response to its submission was lost; a paid task may exist: %s", job.id, error)
        pause = _pause_submissions(error, gate.failures, context)
        detail = FailureDetail(FailureCause.ANSWER_LOST)
        return Fail(FailureReason.OUTCOME_UNKNOWN, detail, _kept(error), pause)
    # The task exists: from here on nothing may fail before the worker has the outcome.
    now = context.clock()
    urls = task.urls or None
    update = JobUpdate(
        upstream_id=task.id, submitted_at=now, upstream_urls=urls, can_be_stopped=task.can_be_stopped
    )
    match task.status:
        case TaskStatus.IN_PROGRESS | TaskStatus.GONE:  # it was just made: polls tell
            job = replace(job, submitted_at=now)
            return MoveTo(
                JobState.RUNNING,
                replace(update, progress=task.progress, upstream_response=task.raw()),
                due_at=_next_poll_at(job, now, now, context),
            )
        case TaskStatus.COMPLETED | TaskStatus.FAILED | TaskStatus.CANCELLED:
            return _outcome_of(job, task, update)


def _provider(job: Job) -> ProviderName:
    assert job.provider is not None  # noqa: S101 - the claim for submission writes it
    return job.provider


def _not_made(error: UpstreamError, failures: int, context: StageContext) -> Outcome:
    """What follows from a create that made no task and that nobody refused: the job goes back to the queue."""
    if isinstance(error, LeaseOver):
        return MoveTo(JobState.QUEUED, JobUpdate())  # written only if nobody has taken the job over
    return _pause_submissions(error, failures, context)


def _order_refused(job: Job, error: UpstreamRefused, context: StageContext) -> Outcome:
    """What follows from a refused create: another provider's turn, unless it is about the content."""
    refusers = job.refusers | {_provider(job)}
    others = [limits for limits in context.provider_limits if limits.provider not in refusers]
    if not isinstance(error, ContentRefused) and any(limits.ever_takes(job) for limits in others):
        log.warning("job %s goes to another provider: %s refused it: %s", job.id, job.provider, error)
        return MoveTo(JobState.QUEUED, JobUpdate(refused_by=",".join(sorted(refusers))))
    return _refused(error, FailureReason.REFUSED, FailureCause.REFUSED_BY_SERVICE)


async def poll(job: Job, context: StageContext) -> Outcome:
    """Running: polls the task. If the job was cancelled, first has the task stopped, where the provider can."""
    if not is_to_be_stopped(job):
        return await _poll(job, context)
    result = await stop(job, task_of(job), context)
    return STOPPED if result is StopResult.STOPPED else with_stop_result(await _poll(job, context), result)


async def _poll(job: Job, context: StageContext) -> Outcome:
    begun_at = job.state_changed_at  # not the submission: a resumed job has all its time again
    is_late = context.observed_for(begun_at) > context.config.job_timeout
    try:
        task = await context.provider_of(job).status(task_of(job))
    except UpstreamRefused as error:
        if is_late and job.attempts + 1 >= context.config.refused_polls_min:
            return _cancelled_or(job, _refused(error, FailureReason.UPSTREAM_FAILED, FailureCause.TASK_UNKNOWN))
        log.warning("job %s: poll refused: %s", job.id, error)
        return _retry_poll(job, context)
    except UpstreamError as error:
        if context.can_give_up(begun_at):
            detail = FailureDetail(FailureCause.SERVICE_UNREACHABLE)
            return _cancelled_or(job, Fail(FailureReason.TIMED_OUT, detail, _kept(error)))
        # One task's failed poll does not pause submissions: they find out themselves what the upstream accepts.
        log.warning("job %s: poll failed: %s", job.id, error)
        return _retry_poll(job, context, error)
    return _outcome_of_poll(job, task, context, is_late=is_late)


def _outcome_of_poll(job: Job, task: Task, context: StageContext, *, is_late: bool) -> Outcome:
    """What follows from the answer to a poll. is_late: the task has had all its time."""
    now = context.clock()
    match task.status:
        case TaskStatus.COMPLETED:
            return _outcome_of(job, task, JobUpdate(task_duration=_duration(job, job.seen_running_at, now)))
        case TaskStatus.FAILED | TaskStatus.CANCELLED:
            return _outcome_of(job, task, JobUpdate())
        case TaskStatus.GONE if job.attempts + 1 >= context.config.gone_polls_min:
            detail = FailureDetail(FailureCause.TASK_UNKNOWN, quote=task.error_message, code=task.error_code)
            update = JobUpdate(upstream_response=task.raw())
            return _cancelled_or(job, Fail(FailureReason.UPSTREAM_FAILED, detail, update))
        case TaskStatus.GONE:  # a gateway may not know a task yet everywhere, and this one is paid for
            log.warning("job %s: the upstream says that its task is gone", job.id)
            return _retry_poll(job, context)
        case TaskStatus.IN_PROGRESS if is_late:
            minutes = round(context.config.job_timeout.total_seconds() / 60)
            detail = FailureDetail(FailureCause.NOT_FINISHED, minutes=minutes)
            update = JobUpdate(upstream_response=task.raw(), task_duration=_duration(job, now, None))
            return _cancelled_or(job, Fail(FailureReason.TIMED_OUT, detail, update))
        case TaskStatus.IN_PROGRESS:
            kept = task.raw() if task.is_unclear else None
            update = JobUpdate(progress=task.progress, seen_running_at=now, upstream_response=kept)
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
    if task.status in {TaskStatus.FAILED, TaskStatus.CANCELLED}:
        return _cancelled_or(job, _failure_of(job, task, update))
    if job.cancel_requested:
        return MoveTo(JobState.CANCELLED, update)
    if task.video_url is None:
        return Fail(FailureReason.RESULT_UNUSABLE, FailureDetail(FailureCause.NO_VIDEO), update)
    return MoveTo(JobState.DELIVERING, update)


def _failure_of(job: Job, task: Task, update: JobUpdate) -> Fail:
    """The failure of a job whose task ended without a video."""
    code, said = task.error_code, task.error_message
    log.warning("job %s: its task ended as %s: %s %s", job.id, task.status, code, said)
    if task.is_content_refused:
        return Fail(FailureReason.REJECTED, _rejection(code, said), update)
    is_cancelled = task.status is TaskStatus.CANCELLED
    cause = FailureCause.TASK_CANCELLED if is_cancelled else FailureCause.TASK_FAILED
    detail = FailureDetail(cause, quote=said, code=code)
    return Fail(FailureReason.UPSTREAM_FAILED, detail, update, may_be_billed=task.may_be_billed)


def _refused(error: UpstreamRefused, reason: FailureReason, cause: FailureCause) -> Fail:
    """The failure after a refusal. reason, cause: of one that isn't about the content."""
    if isinstance(error, ContentRefused):
        return Fail(FailureReason.REJECTED, _rejection(error.code, error.said))
    return Fail(reason, FailureDetail(cause, quote=error.said, code=error.code))


def _rejection(code: str | None, said: str | None) -> FailureDetail:
    """What the upstream's moderation rejected, in the upstream's words."""
    return FailureDetail(FailureCause.CONTENT_REFUSED, said, code, part=rejected_part(code, said))


def _kept(error: UpstreamError) -> JobUpdate:
    """Keeps with the job what is known of a response that was lost or could not be read, for the operator."""
    return JobUpdate(upstream_response={LAST_ERROR: str(error)})


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
