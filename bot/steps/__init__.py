"""What is done for a job in each of its states: one function a state, an `Outcome` for an answer.

A step talks to the outside (the upstream, Discord) and decides; it writes nothing about its job. The worker
calls it under a lease and writes the outcome under that lease's guard. So each step must bear being run again
after the process died in the middle of it; where that could double an effect, the step looks first.
"""

from bot.jobs import JobState
from bot.steps.ending import announce, deliver, give_up
from bot.steps.greeting import GREETING_ATTEMPTS, ask, greet
from bot.steps.making import poll, submit
from bot.steps.tools import Clock, Desk, Messenger, Moderators, Policy, ReviewBook, Step, Tools

__all__ = [
    "GREETING_ATTEMPTS",
    "STEPS",
    "Clock",
    "Desk",
    "Messenger",
    "Moderators",
    "Policy",
    "ReviewBook",
    "Step",
    "Tools",
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
