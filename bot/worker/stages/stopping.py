"""Asks a job's provider to stop its task, once somebody cancelled the job.

Nothing is written before the request: stopping a task twice does no harm, so a process that dies in between asks
again at the next poll.
"""

import logging
from dataclasses import replace

from bot.domain.errors import UpstreamError
from bot.domain.jobs import Job, JobState, StopResult
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Outcome, Reschedule
from bot.providers.base import TaskRef
from bot.worker.stages.context import StageContext

log = logging.getLogger(__name__)

STOPPED = MoveTo(JobState.CANCELLED, JobUpdate(stop_result=StopResult.STOPPED), charged=False)
"""The outcome of a job whose task was stopped before it began: nothing is billed, so nothing counts."""


def is_to_be_stopped(job: Job) -> bool:
    """Whether a running job was cancelled and its provider can be asked to stop its task, and wasn't yet."""
    return job.cancel_requested and job.can_be_stopped and job.stop_result is None


async def stop(job: Job, task: TaskRef, context: StageContext) -> StopResult | None:
    """What the provider answered; None if it gave no answer, so that it is asked again at the next poll."""
    try:
        result = await context.provider_of(job).stop(task)
    except UpstreamError as error:
        log.warning("job %s: its task could not be stopped yet: %s", job.id, error)
        return None
    log.info("job %s: asked to stop its task: %s", job.id, result)
    return result


def with_stop_result(outcome: Outcome, result: StopResult | None) -> Outcome:
    """The outcome of a poll, with what the provider had answered before it."""
    match outcome:
        case MoveTo() | Reschedule() | Fail() if result is not None:
            return replace(outcome, update=replace(outcome.update, stop_result=result))
        case _:
            return outcome
