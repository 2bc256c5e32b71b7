"""What is said about cancelling a video: the question before, the answer, and what became of it. Pure.

A provider that can stop a task may do so before it begins; then the video is free. Otherwise it is made, paid for
and not posted.
"""

from collections.abc import Mapping

from bot.chat.messages.markdown import escaped, mention, several
from bot.domain.cancelling import Cancelled, CancelledTogether
from bot.domain.jobs import ENDED, CancelResult, Job, StopResult

_PROMPT_MAX = 60

FREE = "Cancelled. It hadn't started, so it's free and doesn't count."
PAID = "Cancelled. It won't be posted, but it was already being made, so it counts."
ASKS_PAID = (
    "This video is already being made and paid for, so it can't be stopped. "
    "If you cancel it, it still counts, and it won't be posted."
)
_IF_STOPPED = "if it hasn't begun, it costs nothing and you get it back; if it has, it counts."
ASKS_STOPPABLE = f"It's already with the video service. I'll ask it to stop: {_IF_STOPPED} It won't be posted."
STOPPING = (
    f"Cancelled. It won't be posted. I'm asking the video service to stop it: {_IF_STOPPED} `/videos show` tells "
    "you which."
)


def of_member(done: Cancelled) -> str:
    """The answer to a member who cancels their own video, or the question before it."""
    match done.result:
        case CancelResult.CANCELLED:
            return FREE
        case CancelResult.PAID:
            return ASKS_STOPPABLE if done.job.may_be_stopped else ASKS_PAID
        case _:
            return STOPPING if done.job.may_be_stopped else PAID


def of_variations(done: CancelledTogether) -> str:
    """The answer to a member who cancels all of their variations, or the question about those in progress."""
    lines = []
    if done.free:
        counts = "It hadn't started, so it's free and doesn't count." if done.free == 1 else _ALL_FREE
        lines.append(f"Cancelled {several(done.free, 'video')}. {counts}")
    for count, asks, answer in (
        (done.in_progress - done.stoppable, _ASK_PAID, _PAID),
        (done.stoppable, _ASK_STOPPABLE, _STOPPING),
    ):
        if count:
            one, more = asks if done.paid else answer
            lines.append((one if count == 1 else more).format(several(count, "video")))
    return "\n".join(lines)


_ALL_FREE = "They hadn't started, so they're free and don't count."
_IF_THEY_ARE_STOPPED = "what hasn't begun costs nothing, and you get it back; what has begun counts."
_PAID = (
    "Cancelled {} that was already being made. It won't be posted, but it was paid for, so it counts.",
    "Cancelled {} that were already being made. They won't be posted, but they were paid for, so they count.",
)
_ASK_PAID = (
    (
        "{} is already being made and paid for, so it can't be stopped. If you cancel it, it still counts, and it "
        "won't be posted."
    ),
    (
        "{} are already being made and paid for, so they can't be stopped. If you cancel them, they still count, "
        "and they won't be posted."
    ),
)
_STOPPING = (
    (
        f"Cancelled {{}}, which won't be posted. I'm asking the video service to stop it: {_IF_STOPPED} "
        "`/videos list` tells you which."
    ),
    (
        "Cancelled {}, which won't be posted. I'm asking the video service to stop them: "
        f"{_IF_THEY_ARE_STOPPED} `/videos list` tells you which."
    ),
)
_ASK_STOPPABLE = (
    f"{{}} is already with the video service. I'll ask it to stop: {_IF_STOPPED} It won't be posted.",
    (
        f"{{}} are already with the video service. I'll ask it to stop them: {_IF_THEY_ARE_STOPPED} They won't be "
        "posted."
    ),
)
"""Each for one video and for several."""


def of_admin(done: Cancelled) -> str:
    """The answer to an admin who cancels a member's video, or the question before it."""
    job, who = done.job, mention(done.job.user_id)
    limits = f"won't count against {who}'s limits"
    match done.result:
        case CancelResult.PAID if job.may_be_stopped:
            question = (
                f"{who}'s video is already with the video service. If you cancel it, I'll ask the service to "
                "stop: if it hasn't begun, it costs nothing; if it has, its cost still counts against this "
                f"server's budget. Either way it won't be posted and {limits}."
            )
            return f"{question}\n> {escaped(job.order.prompt, _PROMPT_MAX)}"
        case CancelResult.PAID:
            question = (
                f"{who}'s video is already being made and paid for, so it can't be stopped. If you cancel it, it "
                f"won't be posted and {limits}, but its cost still counts against this server's budget."
            )
            return f"{question}\n> {escaped(job.order.prompt, _PROMPT_MAX)}"
        case CancelResult.CANCELLED:
            return (
                f"🚫 Cancelled {who}'s video. It hadn't started, so it costs nothing and doesn't count against "
                "their limits."
            )
    cancelled = f"🚫 Cancelled {who}'s video. It won't be posted and doesn't count against their limits."
    if job.may_be_stopped:
        return (
            f"{cancelled} I'm asking the video service to stop it: if it hasn't begun, it costs nothing; if it "
            "has, its cost counts against this server's budget."
        )
    return f"{cancelled} It was already being made, so its cost still counts against this server's budget."


_OUTCOMES: Mapping[StopResult, str] = {
    StopResult.STOPPED: "The video service stopped it before it began.",
    StopResult.RUNNING: "The video service had begun it and couldn't stop it any more.",
    StopResult.ENDED: "The video service had already finished it.",
    StopResult.UNKNOWN: "The video service couldn't stop it.",
}


def what_became(job: Job) -> str:
    """What came of asking the provider to stop a cancelled job's task, in a sentence; empty if it wasn't asked."""
    if job.stop_result is None:
        return ""
    if job.stop_result is not StopResult.ASKED:
        return _OUTCOMES[job.stop_result]
    if job.state not in ENDED:
        return "The video service was asked to stop it."
    made = job.result_url is not None
    return f"The video service was asked to stop it, {'but made it anyway' if made else 'and made no video'}."


def counts_in_short(job: Job) -> str:
    """Whether a cancelled job counts, in a few words; while it may still be stopped, that this isn't known yet."""
    if not job.charged:
        return "stopped in time, doesn't count" if job.stop_result is StopResult.STOPPED else "doesn't count"
    return (
        "being stopped, counts if it has begun" if job.may_be_stopped else "it was already paid for, so it counts"
    )


def on_card(job: Job) -> str:
    """What the status card of a cancelled job says, as long as its task runs."""
    if not job.charged:
        return "It won't be posted, and it doesn't count."
    if job.may_be_stopped:
        return f"It won't be posted. I'm asking the video service to stop it: {_IF_STOPPED}"
    return "It was already paid for, so it counts. It won't be posted."


def stop_for_operator(job: Job) -> str:
    """What the provider answered when it was asked to stop a job's task, for the operator; empty if it wasn't."""
    return "" if job.stop_result is None else _FOR_OPERATOR[job.stop_result]


_FOR_OPERATOR: Mapping[StopResult, str] = {
    StopResult.STOPPED: "stopped before it began",
    StopResult.ASKED: "asked to stop; the bill isn't known",
    StopResult.RUNNING: "had begun and couldn't be stopped",
    StopResult.ENDED: "had ended when it was to be stopped",
    StopResult.UNKNOWN: "couldn't be stopped",
}
