"""The stages of a finished video and of every ended job: post the video, show how the job ended."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

from bot.domain.errors import (
    DeliveryDelayed,
    DeliveryError,
    DeliveryForbidden,
    ResultIncomplete,
    ResultRefused,
    ResultUnusable,
    ThreadLocked,
    TooLargeToPost,
    Undeliverable,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamError,
    UpstreamIll,
    UpstreamUnreached,
)
from bot.domain.extensions import Clip
from bot.domain.jobs import ENDED, REMOVED, FailureCause, FailureDetail, FailureReason, Job, JobState
from bot.domain.outcomes import NOTHING_NEW, Fail, JobUpdate, MoveTo, Outcome, Reschedule
from bot.media import transcode
from bot.providers.base import task_of
from bot.worker.stages.acceptance import close_approval_request
from bot.worker.stages.clips import DownloadedVideo, download_folder
from bot.worker.stages.context import DirectMessage, StageContext, tried_before

log = logging.getLogger(__name__)

_DIRECT_LIMIT_BYTES = 20 << 20
"""The largest file in anybody's direct message (discord-api-docs PR 8578); a refusal may name a smaller one."""

_RECHECK_AGE = timedelta(hours=1)
"""A task older than this may come from a restored backup, so its video may have been posted already."""

_LOCKED_PATIENCE = timedelta(hours=1)
"""How long a locked thread may stay locked. Moderators often lock one only until everybody has calmed down."""

_AFTER_CRASHES = timedelta(minutes=10)
"""The pause before the end of a job is told, after several workers died telling it."""

_Message = TypeVar("_Message", int, DirectMessage)
"""What names a posted message: its id, and its channel's where that isn't the job's."""


class _NotWanted(Exception):
    """The video must not be posted any more; `outcome` follows from that."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome)
        self.outcome = outcome


async def deliver(job: Job, context: StageContext) -> Outcome:
    """Delivering: downloads the video and posts it, exactly once; where its channel takes none, to its member."""
    assert job.result_url is not None  # noqa: S101 - set by the stage that moved the job to delivering
    no_result_since = context.no_result_since.pop(job.id, context.clock())
    if job.is_removed:
        return MoveTo(JobState.DELIVERED)  # an earlier delivery posted it, though it seemed to fail
    try:
        return await _deliver_once(job, job.result_url, context)
    except _NotWanted as stopped:
        return stopped.outcome
    except (ResultRefused, ResultIncomplete) as error:
        missing_for = context.clock() - no_result_since
        if missing_for > context.config.result_patience or context.can_give_up(job.state_changed_at):
            log.warning("job %s: the result stays away: %s", job.id, error)
            return Fail(FailureReason.RESULT_UNUSABLE, FailureDetail(FailureCause.VIDEO_UNUSABLE))
        context.no_result_since[job.id] = no_result_since
        return replace(_retry_delivery(job, context, error), update=await _fresh_result(job, context))
    except (ResultUnusable, transcode.VideoUnusable) as error:
        log.warning("job %s: the result is unusable: %s", job.id, error)
        return Fail(FailureReason.RESULT_UNUSABLE, FailureDetail(FailureCause.VIDEO_UNUSABLE))
    except (
        UpstreamBusy,
        UpstreamUnreached,
        UpstreamIll,
        UpstreamClosed,
        DeliveryDelayed,
        DeliveryForbidden,
    ) as error:
        if context.can_give_up(job.state_changed_at):
            return Fail(FailureReason.UNDELIVERABLE, FailureDetail(FailureCause.NOT_DELIVERED))
        return _retry_delivery(job, context, error)


async def _fresh_result(job: Job, context: StageContext) -> JobUpdate:
    """The task's result as the upstream reports it now, perhaps under another link."""
    assert job.upstream_id is not None  # noqa: S101 - a job with a result has a task
    try:
        task = await context.provider_of(job).status(task_of(job))
    except UpstreamError as error:
        log.info("job %s: no fresh link: %s", job.id, error)
        return NOTHING_NEW
    return JobUpdate(result_url=task.video_url, cost_usd=task.cost_usd)


def _why_unpostable(job: Job, error: DeliveryError, context: StageContext) -> FailureDetail | None:
    """Why the channel won't take the video; None as long as it may still."""
    waited, quote = context.observed_for(job.state_changed_at), str(error) or None
    match error:
        case Undeliverable() if not job.has_channel:
            return FailureDetail(FailureCause.NOT_ANSWERABLE)
        case Undeliverable():
            return FailureDetail(FailureCause.CHANNEL_CLOSED, quote)
        case TooLargeToPost():
            return FailureDetail(FailureCause.VIDEO_TOO_LARGE)
        case DeliveryForbidden() if waited > context.config.job_timeout:
            return FailureDetail(FailureCause.PERMISSION_MISSING, quote)
        case ThreadLocked() if waited > _LOCKED_PATIENCE:
            return FailureDetail(FailureCause.THREAD_LOCKED)
        case _:
            return None


async def abandon(job: Job, context: StageContext) -> Outcome:
    """Fails a job that crashed too many workers, unless one of them posted or sent its video first."""
    if job.state is JobState.DELIVERING:
        if job.is_removed:
            return MoveTo(JobState.DELIVERED)
        try:
            found = await _earlier(context.messenger.find_video, job)
            found = found or await _earlier(context.messenger.find_sent_video, job)
        except DeliveryDelayed as error:
            return _retry_delivery(job, context, error)
        if found is not None:
            return found
    if job.state in ENDED and not _is_old_news(job, context):
        # The member still waits to hear of it, and another worker may survive telling it.
        return Reschedule(context.clock() + _AFTER_CRASHES, attempt=True)
    return abandoned(job)


def abandoned(job: Job) -> Outcome:
    """The outcome of a job that fails again and again; one that ended long ago just isn't due any more."""
    if job.state in ENDED:
        return Reschedule(None)
    return Fail(FailureReason.ABANDONED, FailureDetail(FailureCause.FAILED_REPEATEDLY))


async def finalise_status(job: Job, context: StageContext) -> Outcome:
    """Ended: tells the member and the moderators, and removes the status card; after that nothing is due."""
    outcome = await _post_end(job, context)
    # Once a job was submitted, its approval request is closed.
    return outcome if job.submitted_at is not None else await close_approval_request(job, context, outcome)


async def _post_end(job: Job, context: StageContext) -> Reschedule:
    to_tell = False
    has_failed = job.state is JobState.FAILED or (
        job.state is JobState.CANCELLED and job.failure_detail is not None
    )
    try:
        if job.state is JobState.DELIVERED and job.cancel_requested and not job.is_removed:
            # Cancelled while it was being posted. Whoever cancelled it was told that it won't be.
            await context.messenger.remove_video(job)
            job = replace(job, result_message_id=REMOVED)
        to_tell = has_failed and not job.is_removed  # then its member has seen the video
        # The notification comes first: the member waits for it, and posting it unarchives a thread.
        if to_tell:
            await context.messenger.notify_failure(job, check_existing=tried_before(job))
            to_tell = False
        await context.status_cards.remove(job)
    except DeliveryError as error:
        return await _end_elsewhere(job, error, context, to_tell=to_tell)
    return Reschedule(None, JobUpdate(result_message_id=REMOVED) if job.is_removed else NOTHING_NEW)


async def _end_elsewhere(job: Job, error: DeliveryError, context: StageContext, *, to_tell: bool) -> Reschedule:
    """What follows if the channel doesn't take the end. to_tell: the member doesn't know of it yet."""
    log.info("job %s: its end can't be shown: %s", job.id, error)
    later = context.retry(context.config.chat_backoff, job.attempts)
    is_final = _is_old_news(job, context) or (
        _why_unpostable(job, error, context) is not None and (to_tell or not isinstance(error, ThreadLocked))
    )
    refused = isinstance(error, DeliveryForbidden | Undeliverable | ThreadLocked)
    told = to_tell and (refused or is_final) and await context.messenger.answer_order(job)
    if not is_final:
        # Without a status card, nothing in the channel is wrong.
        return Reschedule(None) if told and job.status_message_id is None else later
    if to_tell and not told:
        try:
            await context.messenger.send_failure(job, check_existing=tried_before(job))
            told = True
        except DeliveryDelayed as delayed:
            log.info("job %s: its end can't be told yet: %s", job.id, delayed)
            if not _is_old_news(job, context):
                return later
        except DeliveryError as refusal:
            log.warning("job %s: its member can't be told of its end: %s", job.id, refusal)
    with suppress(DeliveryError):
        await (context.status_cards.remove(job) if told or not to_tell else context.status_cards.close(job))
    return Reschedule(None)


def _is_old_news(job: Job, context: StageContext) -> bool:
    return context.can_give_up(job.state_changed_at)


async def _deliver_once(job: Job, url: str, context: StageContext) -> Outcome:
    settings = await context.settings_of(job.user_id)
    if settings.direct:
        sent = await _deliver_as_chosen(job, url, context)
        if sent is not None:
            return sent
    try:
        # If the member has just changed their mind, an earlier attempt may have sent it to them; also if they had
        # their data erased, which cancels their videos and forgets what they chose.
        perhaps_sent = settings.was_changed_since(job.created_at) or job.cancel_requested
        return await _deliver_to_channel(job, url, context, perhaps_sent=perhaps_sent)
    except DeliveryError as error:
        why = _why_unpostable(job, error, context)
        if why is None:
            raise
        log.warning("job %s: its channel doesn't take the video, so its member gets it: %s", job.id, error)
        return await _deliver_to_member(job, url, why, context)


async def _deliver_as_chosen(job: Job, url: str, context: StageContext) -> Outcome | None:
    """Sends the video to its member, who wants all of theirs so; None if they take no direct messages."""
    try:
        if _might_be_posted(job, context):
            # In the channel: before the member chose this, or because they took none.
            earlier = await _earlier(context.messenger.find_video, job)
            if earlier is not None:
                return earlier
        return await _send_once(job, url, context)
    except (DeliveryForbidden, Undeliverable) as error:
        log.info("job %s: its member takes no direct messages, so its channel gets it: %s", job.id, error)
        return None


async def _deliver_to_channel(job: Job, url: str, context: StageContext, *, perhaps_sent: bool) -> Outcome:
    if _might_be_posted(job, context):
        message_id = await context.messenger.find_video(job)
        if message_id is not None:
            return _delivered(message_id)
        is_late = context.clock() - job.state_changed_at > min(context.config.job_timeout, _LOCKED_PATIENCE)
        if is_late or perhaps_sent:
            # An earlier attempt, perhaps of a process that died, may have sent it to the member.
            sent = await _earlier(context.messenger.find_sent_video, job)
            if sent is not None:
                return sent
    if job.cancel_requested:
        return MoveTo(JobState.CANCELLED)
    with download_folder(context) as folder:
        video = DownloadedVideo(job, folder, context)
        await video.download(url)
        limit_bytes = await context.messenger.upload_limit_bytes(job)
        post = partial(context.messenger.post_video, pings=await _is_first(job, context))
        return _delivered(await _post_fitting(job, post, video, limit_bytes, context))


async def _is_first(job: Job, context: StageContext) -> bool:
    """Whether none of the job's variations is delivered yet. Its member is called only once."""
    together = await context.store.ordered_with(job.id)
    return not any(one.state is JobState.DELIVERED for one in together if one.id != job.id)


async def _deliver_to_member(job: Job, url: str, why: FailureDetail, context: StageContext) -> Outcome:
    """Sends the video to its member. If that is refused too, `/videos list` links to it while the link lives."""
    try:
        return await _send_once(job, url, context, shrink=why.cause is not FailureCause.VIDEO_TOO_LARGE)
    except (DeliveryForbidden, Undeliverable) as error:
        log.warning("job %s: its member takes no direct messages: %s", job.id, error)
        return Fail(FailureReason.UNDELIVERABLE, why)


async def _send_once(job: Job, url: str, context: StageContext, *, shrink: bool = True) -> Outcome:
    """Sends the video, unless an earlier attempt did. shrink: see `_send`."""
    if _might_be_posted(job, context):
        sent = await _earlier(context.messenger.find_sent_video, job)
        if sent is not None:
            return sent
    if job.cancel_requested:
        return MoveTo(JobState.CANCELLED)
    with download_folder(context) as folder:
        video = DownloadedVideo(job, folder, context)
        await video.download(url)
        return _delivered(await _send(job, video, context, shrink=shrink))


async def _send(job: Job, video: DownloadedVideo, context: StageContext, *, shrink: bool) -> DirectMessage:
    """Sends the video, or a link to it. shrink: not after all smaller sizes were tried in the channel."""
    try:
        if shrink:
            return await _post_fitting(job, context.messenger.send_video, video, _DIRECT_LIMIT_BYTES, context)
        fitted = await video.fit(_DIRECT_LIMIT_BYTES)
        await _check_wanted(job, context)
        return await context.messenger.send_video(job, fitted, video.clip)
    except (TooLargeToPost, transcode.VideoUnusable) as error:
        log.info("job %s: the video is too large for a direct message: %s", job.id, error)
    expires_at = (job.submitted_at or job.state_changed_at) + context.config.task_lifetime
    await _check_wanted(job, context)
    return await context.messenger.send_link(job, expires_at)


async def _earlier(find: Callable[[Job], Awaitable[int | DirectMessage | None]], job: Job) -> MoveTo | None:
    """The outcome if `find` finds what an earlier attempt posted or sent. None also where it can't look."""
    try:
        message = await find(job)
    except (DeliveryForbidden, Undeliverable) as error:
        log.info("job %s: can't check for an earlier message: %s", job.id, error)
        return None
    return None if message is None else _delivered(message)


def _delivered(message: int | DirectMessage) -> MoveTo:
    if isinstance(message, DirectMessage):
        update = JobUpdate(result_message_id=message.message_id, result_channel_id=message.channel_id)
    else:
        update = JobUpdate(result_message_id=message)
    return MoveTo(JobState.DELIVERED, update)


async def _check_wanted(job: Job, context: StageContext) -> None:
    """Raises _NotWanted if meanwhile the job was cancelled, or its video seen and removed, or its lease lost.

    Right before each post, because downloading and encoding take minutes.
    """
    current = await context.store.get(job.id)
    if current is None:
        return
    if current.lease_token != job.lease_token:
        # Whoever has it now goes on; this changes nothing.
        raise _NotWanted(Reschedule(context.clock()))
    if current.is_removed:
        raise _NotWanted(MoveTo(JobState.DELIVERED))
    if current.cancel_requested:
        raise _NotWanted(MoveTo(JobState.CANCELLED))


def _might_be_posted(job: Job, context: StageContext) -> bool:
    """Whether the video may have been posted already."""
    is_old = job.submitted_at is not None and context.clock() - job.submitted_at > _RECHECK_AGE
    resumed = not job.charged  # an earlier delivery failed, perhaps only because its response was lost
    return tried_before(job) or is_old or resumed


async def _post_fitting(
    job: Job,
    post: Callable[[Job, Path, Clip | None], Awaitable[_Message]],
    video: DownloadedVideo,
    limit_bytes: int,
    context: StageContext,
) -> _Message:
    """Posts the video within the limit, and a smaller one each time that Discord refuses its size."""
    fitted = await video.fit(limit_bytes)
    while True:
        await _check_wanted(job, context)
        try:
            return await post(job, fitted, video.clip)
        except TooLargeToPost as error:
            if not error.limit_bytes or await transcode.is_postable(fitted, error.limit_bytes):
                raise  # nothing smaller is left to try
            log.info("job %s: Discord accepts less than expected, %d bytes", job.id, error.limit_bytes)
            fitted = await video.fit(error.limit_bytes)


def _retry_delivery(job: Job, context: StageContext, error: Exception) -> Reschedule:
    log.warning("job %s: not delivered yet: %s", job.id, error)
    return context.retry(context.config.chat_backoff, job.attempts, error)
