"""The stages of a finished video and of every ended job: post the video, show how the job ended."""

import logging
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from bot.domain.errors import (
    DeliveryDelayed,
    DeliveryError,
    DeliveryForbidden,
    ResultRefused,
    ResultUnusable,
    TooLargeToPost,
    Undeliverable,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamError,
    UpstreamIll,
    UpstreamUnreached,
)
from bot.domain.jobs import (
    ENDED,
    NOTHING_NEW,
    Fail,
    FailureCause,
    FailureDetail,
    FailureReason,
    Job,
    JobState,
    JobUpdate,
    MoveTo,
    Outcome,
    Reschedule,
)
from bot.media import transcode
from bot.worker.stages.acceptance import close_approval_request, unpostable
from bot.worker.stages.context import StageContext, tried_before

log = logging.getLogger(__name__)

_RECHECK_AGE = timedelta(hours=1)
"""A task older than this may come from a restored backup, so its video may have been posted already."""


async def deliver(job: Job, context: StageContext) -> Outcome:
    """Delivering: downloads the video and posts it, exactly once."""
    assert job.result_url is not None  # noqa: S101 - set by the stage that moved the job to delivering
    waited = context.clock() - job.state_changed_at
    no_result_since = context.no_result_since.pop(job.id, context.clock())
    try:
        return await _deliver_once(job, job.result_url, context)
    except ResultRefused as error:
        missing_for = context.clock() - no_result_since
        if missing_for > context.config.result_patience or waited > context.config.task_lifetime:
            log.warning("job %s: the result stays refused: %s", job.id, error)
            return Fail(FailureReason.RESULT_UNUSABLE, FailureDetail(FailureCause.VIDEO_UNUSABLE))
        context.no_result_since[job.id] = no_result_since
        return replace(_retry_delivery(job, context, error), update=await _fresh_result(job, context))
    except (ResultUnusable, transcode.VideoUnusable, TooLargeToPost) as error:
        log.warning("job %s: the result is unusable: %s", job.id, error)
        return Fail(FailureReason.RESULT_UNUSABLE, FailureDetail(FailureCause.VIDEO_UNUSABLE))
    except Undeliverable as error:
        return unpostable(error)
    except DeliveryForbidden as error:
        if context.observed_for(job.state_changed_at) > context.config.job_timeout:
            return unpostable(error)
        return _retry_delivery(job, context, error)
    except (UpstreamBusy, UpstreamUnreached, UpstreamIll, UpstreamClosed, DeliveryDelayed) as error:
        if waited > context.config.task_lifetime:
            return Fail(FailureReason.UNDELIVERABLE, FailureDetail(FailureCause.NOT_DELIVERED))
        return _retry_delivery(job, context, error)


async def _fresh_result(job: Job, context: StageContext) -> JobUpdate:
    """The task's result as the upstream reports it now, perhaps under another link."""
    assert job.upstream_id is not None  # noqa: S101 - a job with a result has a task
    try:
        task = await context.provider.status(job.upstream_id)
    except UpstreamError as error:
        log.info("job %s: no fresh link: %s", job.id, error)
        return NOTHING_NEW
    return JobUpdate(result_url=task.video_url, cost_usd=task.cost_usd)


async def abandon(job: Job, context: StageContext) -> Outcome:
    """Fails a job that crashed too many workers, unless one of them posted its video first."""
    if job.state is JobState.DELIVERING:
        try:
            message_id = await context.messenger.find_video(job)
        except DeliveryDelayed as error:
            return _retry_delivery(job, context, error)
        except DeliveryError as error:
            log.warning("job %s: can't check whether it was posted: %s", job.id, error)
            message_id = None
        if message_id is not None:
            return MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=message_id))
    return abandoned(job)


def abandoned(job: Job) -> Outcome:
    """The outcome of a job that fails again and again; one that already ended just isn't due any more."""
    if job.state in ENDED:
        return Reschedule(None)
    return Fail(FailureReason.ABANDONED, FailureDetail(FailureCause.FAILED_REPEATEDLY))


async def finalise_status(job: Job, context: StageContext) -> Outcome:
    """Ended: shows how the job ended, to the member and to the moderators; after that nothing is due."""
    outcome = await _post_end(job, context)
    # Once a job was submitted, its approval request is closed.
    return outcome if job.submitted_at is not None else await close_approval_request(job, context, outcome)


async def _post_end(job: Job, context: StageContext) -> Reschedule:
    check_existing = tried_before(job)
    try:
        # The notification comes first: the member waits for it, and posting it unarchives a thread.
        if job.state is JobState.FAILED or (job.state is JobState.CANCELLED and job.failure_detail):
            await context.messenger.notify_failure(job, check_existing=check_existing)
        message_id = await context.messenger.show_status(
            job, check_existing=check_existing or job.status_message_id is None
        )
    except DeliveryDelayed as error:
        if context.clock() - job.state_changed_at <= context.config.task_lifetime:
            log.info("job %s: its end can't be shown yet: %s", job.id, error)
            return context.retry(context.config.chat_backoff, job.attempts)
        return Reschedule(None)
    except DeliveryError as error:
        log.info("job %s: its end is not shown: %s", job.id, error)
        return Reschedule(None)
    return Reschedule(None, JobUpdate(status_message_id=message_id))


async def _deliver_once(job: Job, url: str, context: StageContext) -> Outcome:
    if _might_be_posted(job, context):
        message_id = await context.messenger.find_video(job)
        if message_id is not None:
            return MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=message_id))
    if job.cancel_requested:
        return MoveTo(JobState.CANCELLED)
    context.workdir.mkdir(mode=0o700, exist_ok=True)  # the system may have deleted it while the bot was idle
    with TemporaryDirectory(dir=context.workdir) as folder:
        video = Path(folder) / "video.mp4"
        await context.provider.download(url, video)
        fitted = await _fit(video, await context.messenger.upload_limit_bytes(job), context)
        current = await context.store.get(job.id)
        if current is not None and current.cancel_requested:  # during the download
            return MoveTo(JobState.CANCELLED)
        message_id = await _post_fitting(job, video, fitted, context)
    return MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=message_id))


def _might_be_posted(job: Job, context: StageContext) -> bool:
    """Whether the video may have been posted already."""
    is_old = job.submitted_at is not None and context.clock() - job.submitted_at > _RECHECK_AGE
    resumed = not job.charged  # an earlier delivery failed, perhaps only because its response was lost
    return tried_before(job) or is_old or resumed


async def _post_fitting(job: Job, video: Path, fitted: Path, context: StageContext) -> int:
    try:
        return await context.messenger.post_video(job, fitted)
    except TooLargeToPost as error:
        log.info("job %s: the channel accepts less than expected, %d bytes", job.id, error.limit_bytes)
        return await context.messenger.post_video(job, await _fit(video, error.limit_bytes, context))


async def _fit(video: Path, limit_bytes: int, context: StageContext) -> Path:
    if await transcode.is_within_limit(video, limit_bytes):
        return video
    async with context.encoder_slots:
        return await transcode.transcode_to_limit(video, video.with_name("fitted.mp4"), limit_bytes)


def _retry_delivery(job: Job, context: StageContext, error: Exception) -> Reschedule:
    log.warning("job %s: not delivered yet: %s", job.id, error)
    return context.retry(context.config.chat_backoff, job.attempts, error)
