"""What happens to a job in each of its states: one function for each, which returns an `Outcome`.

A stage talks to the video service and to Discord and decides; it writes nothing about its job. The worker calls
it under a lease and writes the outcome under that lease. After its process died halfway, a stage runs again, so
where that could repeat an effect it first checks what was already done.
"""

from bot.domain.jobs import JobState
from bot.worker.stages.acceptance import post_status, request_approval
from bot.worker.stages.context import Stage
from bot.worker.stages.delivery import deliver, finalise_status
from bot.worker.stages.generation import poll, submit

STAGES: dict[JobState, Stage] = {
    JobState.AWAITING: request_approval,
    JobState.QUEUED: post_status,
    JobState.SUBMITTING: submit,
    JobState.RUNNING: poll,
    JobState.DELIVERING: deliver,
    JobState.DELIVERED: finalise_status,
    JobState.FAILED: finalise_status,
    JobState.CANCELLED: finalise_status,
}
