"""The steps of a video that is made, and of every job that is over: posting it, saying how it ended."""

import logging
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from bot.domain.errors import (
    DeliveryDelayed,
    DeliveryError,
    DeliveryForbidden,
    ResultUnusable,
    TooLargeToPost,
    Undeliverable,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamIll,
    UpstreamUnreached,
)
from bot.domain.jobs import (
    ENDED,
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
from bot.worker.stages.acceptance import close_question, unpostable
from bot.worker.stages.context import StageContext, tried_before

log = logging.getLogger(__name__)

_LATE = timedelta(hours=1)
"""A task older than this was taken up again, maybe from a backup that does not know what became of it since."""


async def deliver(job: Job, tools: StageContext) -> Outcome:
    """Delivering: fetches the video and posts it, once."""
    assert job.result_url is not None  # noqa: S101 - set by the step that advanced the job to delivering
    waited = tools.clock() - job.state_since
    try:
        return await _deliver_once(job, job.result_url, tools)
    except (ResultUnusable, transcode.VideoUnusable, TooLargeToPost) as error:
        log.warning("job %s: the result is unusable: %s", job.id, error)
        return Fail(FailureReason.RESULT_UNUSABLE, FailureDetail(FailureCause.VIDEO_UNUSABLE))
    except Undeliverable as error:
        return unpostable(error)
    except DeliveryForbidden as error:
        if tools.watched(job.state_since) > tools.policy.job_timeout:
            return unpostable(error)
        return _deliver_later(job, tools, error)
    except (UpstreamBusy, UpstreamUnreached, UpstreamIll, UpstreamClosed, DeliveryDelayed) as error:
        if waited > tools.policy.task_lifetime:
            return Fail(FailureReason.UNDELIVERABLE, FailureDetail(FailureCause.NOT_DELIVERED))
        return _deliver_later(job, tools, error)


async def give_up(job: Job, tools: StageContext) -> Outcome:
    """Over this job too many workers died: it fails, unless one of them had posted its video by then."""
    if job.state in ENDED:
        return Reschedule(None)
    if job.state is JobState.DELIVERING:
        try:
            message_id = await tools.messenger.find_video(job)
        except DeliveryDelayed as error:
            return _deliver_later(job, tools, error)
        except DeliveryError as error:
            log.warning("job %s: whether it was posted can't be seen: %s", job.id, error)
            message_id = None
        if message_id is not None:
            return MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=message_id))
    return Fail(FailureReason.ABANDONED, FailureDetail(FailureCause.FAILED_REPEATEDLY))


async def announce(job: Job, tools: StageContext) -> Outcome:
    """Ended: says in the channel how it ended, and to the moderators; then nothing is due any more."""
    told = await _tell_end(job, tools)
    # Once it was handed in, its question was closed long ago.
    return told if job.submitted_at is not None else await close_question(job, tools, told)


async def _tell_end(job: Job, tools: StageContext) -> Reschedule:
    look_first = tried_before(job)
    try:
        # The telling comes first: it is what the member waits for, and it wakes a thread that fell asleep.
        if job.state is JobState.FAILED or (job.state is JobState.CANCELLED and job.failure_detail):
            await tools.messenger.tell_failure(job, look_first=look_first)
        message_id = await tools.messenger.show_status(job, look_first=look_first or job.status_message_id is None)
    except DeliveryDelayed as error:
        if tools.clock() - job.state_since <= tools.policy.task_lifetime:
            log.info("job %s: its end can't be announced yet: %s", job.id, error)
            return tools.later(tools.policy.chat_backoff, job.attempts)
        return Reschedule(None)
    except DeliveryError as error:
        log.info("job %s: its end is not announced: %s", job.id, error)
        return Reschedule(None)
    return Reschedule(None, JobUpdate(status_message_id=message_id))


async def _deliver_once(job: Job, url: str, tools: StageContext) -> Outcome:
    if _may_be_posted(job, tools):
        message_id = await tools.messenger.find_video(job)
        if message_id is not None:
            return MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=message_id))
    if job.cancel_requested:
        return MoveTo(JobState.CANCELLED)
    tools.folder.mkdir(mode=0o700, exist_ok=True)  # swept away under a bot that had nothing to do for long
    with TemporaryDirectory(dir=tools.folder) as folder:
        video = Path(folder) / "video.mp4"
        await tools.provider.download(url, video)
        fitted = await _fit(video, await tools.messenger.upload_limit_bytes(job), tools)
        now = await tools.desk.get(job.id)
        if now is not None and now.cancel_requested:  # while it was fetched
            return MoveTo(JobState.CANCELLED)
        message_id = await _post_fitting(job, video, fitted, tools)
    return MoveTo(JobState.DELIVERED, JobUpdate(result_message_id=message_id))


def _may_be_posted(job: Job, tools: StageContext) -> bool:
    """Whether its video may stand in the channel already."""
    late = job.submitted_at is not None and tools.clock() - job.submitted_at > _LATE
    taken_up_again = not job.counted  # an earlier delivery failed, by an answer that was lost maybe
    return tried_before(job) or late or taken_up_again


async def _post_fitting(job: Job, video: Path, fitted: Path, tools: StageContext) -> int:
    try:
        return await tools.messenger.post_video(job, fitted)
    except TooLargeToPost as error:
        log.info("job %s: the channel takes less than it said, %d bytes", job.id, error.limit_bytes)
        return await tools.messenger.post_video(job, await _fit(video, error.limit_bytes, tools))


async def _fit(video: Path, limit_bytes: int, tools: StageContext) -> Path:
    if await transcode.is_within_limit(video, limit_bytes):
        return video
    async with tools.encoders:
        return await transcode.transcode_to_limit(video, video.with_name("fitted.mp4"), limit_bytes)


def _deliver_later(job: Job, tools: StageContext, error: Exception) -> Reschedule:
    log.warning("job %s: not delivered yet: %s", job.id, error)
    wait_s = error.retry_after_s or 0.0 if isinstance(error, UpstreamBusy) else 0.0
    return tools.later(tools.policy.chat_backoff, job.attempts, at_least_s=wait_s)
