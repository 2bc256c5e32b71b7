"""What is done for a job in each of its states: one function a state, an `Outcome` for an answer.

A step talks to the outside (the upstream, Discord) and decides; it writes nothing about its job. The worker
calls it under a lease and writes the outcome under that lease's guard. So each step must bear being run again
after the process died in the middle of it; where that could double an effect, the step looks first.
"""

from bot.domain.jobs import JobState
from bot.worker.stages.acceptance import GREETING_ATTEMPTS, ask, greet
from bot.worker.stages.context import Desk, Messenger, Moderators, Policy, ReviewBook, StageContext, Step
from bot.worker.stages.delivery import announce, deliver, give_up
from bot.worker.stages.generation import poll, submit

__all__ = [
    "GREETING_ATTEMPTS",
    "STEPS",
    "Desk",
    "Messenger",
    "Moderators",
    "Policy",
    "ReviewBook",
    "StageContext",
    "Step",
    "announce",
    "ask",
    "deliver",
    "give_up",
    "greet",
    "poll",
    "submit",
]

STEPS: dict[JobState, Step] = {
    JobState.AWAITING: ask,
    JobState.QUEUED: greet,
    JobState.SUBMITTING: submit,
    JobState.RUNNING: poll,
    JobState.DELIVERING: deliver,
    JobState.DELIVERED: announce,
    JobState.FAILED: announce,
    JobState.CANCELLED: announce,
}
