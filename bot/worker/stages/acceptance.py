"""The stages before anything costs money: the status card and the approval request to moderators."""

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta

from bot.domain.approvals import APPROVAL_TIMEOUT
from bot.domain.errors import DeliveryDelayed, DeliveryError, DeliveryForbidden, Undeliverable
from bot.domain.jobs import ENDED, FailureCause, FailureDetail, FailureReason, Job, JobState
from bot.domain.outcomes import Fail, JobUpdate, Outcome, Reschedule
from bot.worker.stages.context import StageContext, tried_before

log = logging.getLogger(__name__)

_UNTIL_ASKED = timedelta(seconds=10)
"""After how long a variation looks whether another one has asked the moderators."""

MAX_STATUS_ATTEMPTS = 5
"""How often posting the first status card is tried before the job continues without one."""


async def request_approval(job: Job, context: StageContext) -> Outcome:
    """Awaiting: asks the moderators and waits; their decision moves the job, and its variations with it."""
    expires_at = job.created_at + APPROVAL_TIMEOUT
    if context.clock() >= expires_at:
        return Fail(FailureReason.EXPIRED, FailureDetail(FailureCause.EXPIRED))
    if job.approval_message_id is not None:
        return Reschedule(expires_at)
    together = await context.store.ordered_with(job.id)
    waiting = [one for one in together if one.state is JobState.AWAITING]
    if waiting and waiting[0].id != job.id:
        # The first that waits asks for all of them. If it ends before it has, the next one does.
        asked = any(one.approval_message_id is not None for one in together)
        return Reschedule(expires_at if asked else min(expires_at, context.clock() + _UNTIL_ASKED))
    try:
        async with asyncio.timeout(context.status_timeout_s):
            # The status card comes first: if it can't be posted, moderators need not be asked.
            status_id = await context.status_cards.post(job, check_existing=tried_before(job))
            approval = await _post_approval_request(job, together, context)
    except (Undeliverable, DeliveryForbidden) as error:
        return unpostable(error)
    except (DeliveryError, TimeoutError) as error:
        log.warning("job %s: the moderators can't be asked yet: %s", job.id, error)
        return context.retry(context.config.chat_backoff, job.attempts)
    if isinstance(approval, FailureCause):
        return Fail(FailureReason.UNDELIVERABLE, FailureDetail(approval))
    update = JobUpdate(status_message_id=status_id, approval_message_id=approval)
    current = await context.store.get(job.id)
    if current is not None and current.state in ENDED:
        # It ended while the request was posted, so the stage that closes requests did not see this one.
        await close_approval_request(replace(current, approval_message_id=approval), context, Reschedule(None))
    return Reschedule(expires_at, update)


def unpostable(error: Undeliverable | DeliveryForbidden) -> Fail:
    """The failure of a job in whose channel the bot can't post."""
    closed = isinstance(error, Undeliverable)
    cause = FailureCause.CHANNEL_CLOSED if closed else FailureCause.PERMISSION_MISSING
    return Fail(FailureReason.UNDELIVERABLE, FailureDetail(cause, quote=str(error) or None))


async def _post_approval_request(job: Job, together: list[Job], context: StageContext) -> int | FailureCause:
    """Asks the moderators; returns the message's id, or why they can't be asked.

    together: the variations that are asked about at once; empty for a job that was ordered alone.
    """
    if (known := _asked_by(together)) is not None:
        return known
    channel_id, frame = await context.approvals.channel_of(job.guild_id), await context.store.frame(job.id)
    if frame is None:
        return FailureCause.PICTURE_GONE
    if channel_id is None:
        return FailureCause.NO_REVIEW_CHANNEL
    try:
        return await context.approval_messenger.post(
            _asked_about(job, together),
            frame,
            channel_id,
            count=len(together) or 1,
            check_existing=tried_before(job) or any(one.id != job.id and _may_have_asked(one) for one in together),
        )
    except (Undeliverable, DeliveryForbidden) as error:
        log.warning("job %s: the moderators can't be asked: %s", job.id, error)
        return FailureCause.REVIEW_CHANNEL_CLOSED


def _asked_about(job: Job, together: list[Job]) -> Job:
    """The job, with the id and the message of the one request about all of its variations."""
    if not together:
        return job
    return replace(job, id=together[0].id, approval_message_id=job.approval_message_id or _asked_by(together))


def _asked_by(together: list[Job]) -> int | None:
    """The request about these variations, if one of them knows it."""
    return next((one.approval_message_id for one in together if one.approval_message_id is not None), None)


def _may_have_asked(job: Job) -> bool:
    """Whether this variation may have asked for all, and ended since or died before that was written."""
    return tried_before(job) or job.state is not JobState.AWAITING


async def post_status(job: Job, context: StageContext) -> Outcome:
    """Queued: posts the status card. If the channel takes no messages, no money is spent on a video for it.

    Runs again after an outage of Discord's gateway. A permission that is missing then may be back in seconds.
    """
    if not job.has_channel:
        return Reschedule(None)  # the private answer stands for the card
    is_last_attempt = job.attempts + 1 >= MAX_STATUS_ATTEMPTS
    try:
        async with asyncio.timeout(context.status_timeout_s):
            # An approved job may have a status card already, posted with the request but not recorded.
            check_existing = tried_before(job) or job.approval_message_id is not None
            message_id = await context.status_cards.post(job, check_existing=check_existing)
    except Undeliverable as error:
        return unpostable(error)
    except DeliveryForbidden as error:
        if job.status_message_id is None or is_last_attempt:
            return unpostable(error)
        return context.retry(context.config.chat_backoff, job.attempts)
    except (DeliveryError, TimeoutError) as error:
        if not is_last_attempt:
            return context.retry(context.config.chat_backoff, job.attempts)
        log.warning("job %s continues without a status card: %s", job.id, error)
        return Reschedule(None)
    outcome = Reschedule(None, JobUpdate(status_message_id=message_id))
    return await close_approval_request(job, context, outcome)


async def close_approval_request(job: Job, context: StageContext, outcome: Reschedule) -> Reschedule:
    """Shows the result in the approval request, if there is one; returns the outcome to write.

    While Discord is down, or a permission is missing, this is retried a few times. Then the request stays open,
    which does no harm.
    """
    # If the job ended while the request was posted, the message may exist although the job has no id of it.
    if outcome.due_at is not None or (job.approval_message_id is None and job.state not in ENDED):
        return outcome
    together = await context.store.ordered_with(job.id)
    if any(one.state is JobState.AWAITING for one in together if one.id != job.id):
        return outcome  # the moderators are still asked about those
    try:
        channel_id = await context.approvals.channel_of(job.guild_id)
        if channel_id is not None:
            asked = _asked_about(job, together)
            decision = await context.approvals.decision_on(job)
            await context.approval_messenger.close(asked, decision, channel_id, count=len(together) or 1)
    except (DeliveryDelayed, DeliveryForbidden) as error:
        if job.attempts + 1 < MAX_STATUS_ATTEMPTS:
            return replace(context.retry(context.config.chat_backoff, job.attempts), update=outcome.update)
        log.info("job %s: its approval request stays open: %s", job.id, error)
    except DeliveryError as error:
        log.info("job %s: its approval request stays open: %s", job.id, error)
    return outcome
