"""The steps before anything costs money: the status message, and the question to the moderators."""

import asyncio
import logging
from dataclasses import replace

from bot.domain.approvals import PATIENCE
from bot.domain.errors import DeliveryDelayed, DeliveryError, DeliveryForbidden, Undeliverable
from bot.domain.jobs import (
    ENDED,
    Fail,
    FailureCause,
    FailureDetail,
    FailureReason,
    Job,
    JobUpdate,
    Outcome,
    Reschedule,
)
from bot.worker.stages.context import StageContext, tried_before

log = logging.getLogger(__name__)

GREETING_ATTEMPTS = 5
"""How often the first status message is tried before the job goes on without one."""


async def ask(job: Job, tools: StageContext) -> Outcome:
    """Awaiting: asks the moderators, and waits for their answer, which moves the job itself. Costs nothing."""
    expires_at = job.created_at + PATIENCE
    if tools.clock() >= expires_at:
        return Fail(FailureReason.EXPIRED, FailureDetail(FailureCause.EXPIRED))
    if job.review_message_id is not None:
        return Reschedule(expires_at)
    try:
        async with asyncio.timeout(tools.greet_s):
            # What the member sees comes first: no place to post means no question either.
            status_id = await tools.messenger.show_status(job, look_first=tried_before(job))
            review_id = await _ask_moderators(job, tools)
    except _Unaskable as error:
        return Fail(FailureReason.UNDELIVERABLE, FailureDetail(error.cause))
    except (Undeliverable, DeliveryForbidden) as error:
        return unpostable(error)
    except (DeliveryError, TimeoutError) as error:
        log.warning("job %s: its moderators can't be asked yet: %s", job.id, error)
        return tools.later(tools.policy.chat_backoff, job.attempts)
    asked = JobUpdate(status_message_id=status_id, review_message_id=review_id)
    now = await tools.desk.get(job.id)
    if now is not None and now.state in ENDED:
        # Given up while it was asked: whoever announced that saw no question.
        await close_question(replace(now, review_message_id=review_id), tools, Reschedule(None))
    return Reschedule(expires_at, asked)


class _Unaskable(Exception):
    """There is no way to the moderators."""

    def __init__(self, cause: FailureCause) -> None:
        super().__init__(cause)
        self.cause = cause


def unpostable(error: Undeliverable | DeliveryForbidden) -> Fail:
    """The end of a job whose channel takes no message of the bot's."""
    closed = isinstance(error, Undeliverable)
    cause = FailureCause.CHANNEL_CLOSED if closed else FailureCause.PERMISSION_MISSING
    return Fail(FailureReason.UNDELIVERABLE, FailureDetail(cause, quote=str(error) or None))


async def _ask_moderators(job: Job, tools: StageContext) -> int:
    channel_id, frame = await tools.reviews.channel_of(job.guild_id), await tools.desk.frame(job.id)
    if frame is None:
        raise _Unaskable(FailureCause.PICTURE_GONE)
    if channel_id is None:
        raise _Unaskable(FailureCause.NO_REVIEW_CHANNEL)
    try:
        return await tools.moderators.ask(job, frame, channel_id, look_first=tried_before(job))
    except (Undeliverable, DeliveryForbidden) as error:
        log.warning("job %s: the moderators can't be asked: %s", job.id, error)
        raise _Unaskable(FailureCause.REVIEW_CHANNEL_CLOSED) from error


async def greet(job: Job, tools: StageContext) -> Outcome:
    """Queued: shows the status message before anything costs money. No place to post means no video either."""
    try:
        async with asyncio.timeout(tools.greet_s):
            # One that moderators let through may have its message from when they were asked, unknown to its row.
            look_first = tried_before(job) or job.review_message_id is not None
            message_id = await tools.messenger.show_status(job, look_first=look_first)
    except (Undeliverable, DeliveryForbidden) as error:
        return unpostable(error)
    except (DeliveryError, TimeoutError) as error:
        if job.attempts + 1 < GREETING_ATTEMPTS:
            return tools.later(tools.policy.chat_backoff, job.attempts)
        log.warning("job %s goes on without a status message: %s", job.id, error)
        return Reschedule(None)
    return await close_question(job, tools, Reschedule(None, JobUpdate(status_message_id=message_id)))


async def close_question(job: Job, tools: StageContext, outcome: Reschedule) -> Reschedule:
    """Says under the moderators' question, if there is one, how it was answered; then the outcome.

    Where Discord is ill, it is tried again, some times: the question does no harm, its buttons only answer.
    """
    # Given up while it was asked, its question may stand there without its row knowing.
    if outcome.due_at is not None or (job.review_message_id is None and job.state not in ENDED):
        return outcome
    try:
        channel_id = await tools.reviews.channel_of(job.guild_id)
        if channel_id is not None:
            await tools.moderators.close(job, await tools.reviews.decision_on(job), channel_id)
    except DeliveryDelayed as error:
        if job.attempts + 1 < GREETING_ATTEMPTS:
            return replace(tools.later(tools.policy.chat_backoff, job.attempts), facts=outcome.facts)
        log.info("job %s: its question stays open: %s", job.id, error)
    except DeliveryError as error:
        log.info("job %s: its question stays open: %s", job.id, error)
    return outcome
