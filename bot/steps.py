"""What is done for a job in each of its states: one function a state, an `Outcome` for an answer.

A step talks to the outside (the upstream, Discord) and decides; it writes nothing about its job. The worker
calls it under a lease and writes the outcome under that lease's guard. So each step must bear being run again
after the process died in the middle of it; where that could double an effect, the step looks first.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from bot import clips
from bot.errors import (
    DeliveryDelayed,
    DeliveryError,
    DeliveryForbidden,
    OutcomeUnknown,
    ResultUnusable,
    TooLargeToPost,
    Undeliverable,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamError,
    UpstreamIll,
    UpstreamRefused,
    UpstreamUnreached,
)
from bot.jobs import Advance, Facts, Fail, FailureReason, Frame, Hold, Job, JobState, Later, Outcome
from bot.schedule import Backoff, LookPolicy
from bot.store.gate import Gate
from bot.upstream.base import Provider, Task, TaskStatus

log = logging.getLogger(__name__)

Clock = Callable[[], datetime]

ENCODERS = 2
"""How many videos are made to fit side by side; each takes a core or more."""

GREETING_ATTEMPTS = 5
"""How often the first status message is tried before the job goes on without one."""


class Messenger(Protocol):
    """What the steps need of the chat. All methods raise `DeliveryError`'s children.

    look_first: an earlier try may have posted already; look for that message and adopt it instead.
    """

    async def show_status(self, job: Job, *, look_first: bool) -> int:
        """Shows how the job stands in its status message, posted where there is none yet; the message's id."""
        ...

    async def update_status(self, job: Job) -> None:
        """Shows how the job stands in its status message, if there still is one."""
        ...

    async def tell_failure(self, job: Job, *, look_first: bool) -> None:
        """Tells the requester, with a ping, that the job failed and why."""
        ...

    async def post_video(self, job: Job, video: Path) -> int:
        """Posts the finished video; the message's id. Also raises TooLargeToPost."""
        ...

    async def find_video(self, job: Job) -> int | None:
        """The id of the message that already carries this job's video, if there is one."""
        ...

    async def upload_limit_bytes(self, job: Job) -> int:
        """The largest file that the job's channel takes."""
        ...


class Desk(Protocol):
    """What the steps need of the store."""

    async def get(self, job_id: str) -> Job | None:
        """The job as it stands now."""
        ...

    async def frame(self, job_id: str) -> Frame | None:
        """The job's first frame."""
        ...

    async def gate(self) -> Gate:
        """Whether submissions are held, and how often in a row they had to be."""
        ...


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient the steps are.

    job_timeout: how long a task may run. task_lifetime: how long the upstream can be asked about a task and
    keeps its result. looks: pauses between looks. refusal_pauses_s: pauses before a refused look is repeated,
    together well below the lease. upstream_backoff, chat_backoff, gate_backoff: pauses after
    failures of one job's look or download, of one message, of submissions as a whole.
    """

    job_timeout: timedelta
    task_lifetime: timedelta
    looks: LookPolicy
    refusal_pauses_s: tuple[float, ...] = (3.0, 10.0)
    upstream_backoff: Backoff = Backoff(first_s=2, cap_s=120)
    chat_backoff: Backoff = Backoff(first_s=2, cap_s=120)
    gate_backoff: Backoff = Backoff(first_s=5, cap_s=300)


@dataclass(frozen=True, slots=True)
class Tools:
    """What a step works with.

    folder: where downloads lie while they are posted. store_s: how long the store may take to hand out what a
    submission needs; after that the job waits, so that a hanging store is not taken for a lost answer. greet_s:
    how long the first status message may take. encoders: lets only so many videos be encoded side by side.
    """

    provider: Provider
    messenger: Messenger
    desk: Desk
    policy: Policy
    clock: Clock
    folder: Path
    chance: Callable[[], float] = random.random
    store_s: float = 10.0
    greet_s: float = 40.0
    encoders: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ENCODERS))

    def later(self, backoff: Backoff, attempt: int, *, at_least_s: float = 0.0) -> Later:
        """The outcome of a failed attempt: once more, after a growing pause."""
        pause_s = max(at_least_s, backoff.pause_s(attempt, chance=self.chance()))
        return Later(self.clock() + timedelta(seconds=pause_s), attempt=True)


Step = Callable[[Job, Tools], Awaitable[Outcome]]


async def greet(job: Job, tools: Tools) -> Outcome:
    """Queued: shows the status message before anything costs money. No place to post means no video either."""
    try:
        async with asyncio.timeout(tools.greet_s):
            message_id = await tools.messenger.show_status(job, look_first=_tried_before(job))
    except Undeliverable as error:
        return Fail(FailureReason.UNDELIVERABLE, f"I can't post in the channel: {error}")
    except DeliveryForbidden as error:
        return Fail(FailureReason.UNDELIVERABLE, f"I may not post in the channel: {error}")
    except (DeliveryError, TimeoutError) as error:
        if job.attempts + 1 < GREETING_ATTEMPTS:
            return tools.later(tools.policy.chat_backoff, job.attempts)
        log.warning("job %s goes on without a status message: %s", job.id, error)
        return Later(None)
    return Later(None, Facts(status_message_id=message_id))


async def submit(job: Job, tools: Tools) -> Outcome:
    """Submitting: makes the paid task, at most once in the life of the job."""
    if job.claims > 1:
        log.error("job %s: its worker ended while it was handed in, a paid task may exist", job.id)
        return Fail(
            FailureReason.OUTCOME_UNKNOWN,
            "I was interrupted while handing it in, and can't know whether the video service took it.",
        )
    try:
        async with asyncio.timeout(tools.store_s):
            frame = await tools.desk.frame(job.id)
            gate = await tools.desk.gate()
    except Exception as error:  # whatever the store has: nothing was sent yet, so the job can simply wait
        log.exception("job %s goes back into the queue before anything was sent", job.id)
        return _hold(error, 0, tools)
    if frame is None:
        return Fail(FailureReason.REFUSED, "Its picture is gone. Please send it once more.")
    try:
        task = await tools.provider.submit(job.order, frame)
    except UpstreamRefused as error:
        return Fail(FailureReason.REFUSED, f"The video service refused it: {error}")
    except (UpstreamClosed, UpstreamBusy, UpstreamUnreached) as error:
        return _hold(error, gate.failures, tools)
    except OutcomeUnknown as error:
        log.error("job %s: a create's answer was lost, a paid task may exist: %s", job.id, error)
        return Fail(FailureReason.OUTCOME_UNKNOWN, "The video service did not answer whether it took it.")
    # From here on nothing may fail before the outcome is back with the worker: the task exists.
    now = tools.clock()
    facts = Facts(upstream_id=task.id, submitted_at=now)
    match task.status:
        case TaskStatus.IN_PROGRESS:
            due_at = now + timedelta(seconds=tools.policy.looks.next_pause_s(0))
            return Advance(JobState.RUNNING, replace(facts, progress=task.progress, raw=task.raw), due_at=due_at)
        case TaskStatus.COMPLETED | TaskStatus.FAILED:
            return _ended(job, task, facts)


async def poll(job: Job, tools: Tools) -> Outcome:
    """Running: looks how far the task is."""
    assert job.upstream_id is not None  # noqa: S101 - a running job has one; the store's CHECK says so too
    age = tools.clock() - (job.submitted_at or job.state_since)
    try:
        task = await _look(job.upstream_id, tools)
    except UpstreamRefused as error:
        return _cancelled_or(job, Fail(FailureReason.UPSTREAM_FAILED, f"The video service lost it: {error}"))
    except UpstreamError as error:
        if age > tools.policy.task_lifetime:
            detail = "The video service could not be asked about it for too long."
            return _cancelled_or(job, Fail(FailureReason.TIMED_OUT, detail))
        # Whether the gateway takes new jobs is found out by those: one task's trouble is not theirs.
        log.warning("job %s: look failed: %s", job.id, error)
        wait_s = error.retry_after_s or 0.0 if isinstance(error, UpstreamBusy) else 0.0
        return tools.later(tools.policy.upstream_backoff, job.attempts, at_least_s=wait_s)
    match task.status:
        case TaskStatus.COMPLETED | TaskStatus.FAILED:
            return _ended(job, task, Facts())
        case TaskStatus.IN_PROGRESS if age > tools.policy.job_timeout:
            minutes = round(tools.policy.job_timeout.total_seconds() / 60)
            detail = f"It was not finished after {minutes} minutes."
            return _cancelled_or(job, Fail(FailureReason.TIMED_OUT, detail, Facts(raw=task.raw)))
        case TaskStatus.IN_PROGRESS:
            pause = timedelta(seconds=tools.policy.looks.next_pause_s(age.total_seconds()))
            return Later(tools.clock() + pause, Facts(progress=task.progress))


async def deliver(job: Job, tools: Tools) -> Outcome:
    """Delivering: fetches the video and posts it, once."""
    assert job.result_url is not None  # noqa: S101 - set by the step that advanced the job to delivering
    waited = tools.clock() - job.state_since
    try:
        return await _deliver_once(job, job.result_url, tools)
    except (ResultUnusable, clips.ClipUnfit, TooLargeToPost) as error:
        log.warning("job %s: the result is unusable: %s", job.id, error)
        return Fail(FailureReason.RESULT_UNUSABLE, "It was finished, but there is no video that I could post.")
    except Undeliverable as error:
        return Fail(FailureReason.UNDELIVERABLE, f"I can't post in the channel: {error}")
    except DeliveryForbidden as error:
        if waited > tools.policy.job_timeout:
            return Fail(FailureReason.UNDELIVERABLE, f"I may not post in the channel: {error}")
        return _deliver_later(job, tools, error)
    except (UpstreamBusy, UpstreamUnreached, UpstreamIll, UpstreamClosed, DeliveryDelayed) as error:
        if waited > tools.policy.task_lifetime:
            return Fail(FailureReason.UNDELIVERABLE, "It could not be fetched or posted for too long.")
        return _deliver_later(job, tools, error)


async def announce(job: Job, tools: Tools) -> Outcome:
    """Ended: says in the channel how it ended; then nothing is due any more."""
    look_first = _tried_before(job)
    try:
        # The telling comes first: it is what the member waits for, and it wakes a thread that fell asleep.
        if job.state is JobState.FAILED:
            await tools.messenger.tell_failure(job, look_first=look_first)
        message_id = await tools.messenger.show_status(job, look_first=look_first or job.status_message_id is None)
    except DeliveryDelayed as error:
        if tools.clock() - job.state_since <= tools.policy.task_lifetime:
            log.info("job %s: its end can't be announced yet: %s", job.id, error)
            return tools.later(tools.policy.chat_backoff, job.attempts)
        return Later(None)
    except DeliveryError as error:
        log.info("job %s: its end is not announced: %s", job.id, error)
        return Later(None)
    return Later(None, Facts(status_message_id=message_id))


STEPS: dict[JobState, Step] = {
    JobState.QUEUED: greet,
    JobState.SUBMITTING: submit,
    JobState.RUNNING: poll,
    JobState.DELIVERING: deliver,
    JobState.DELIVERED: announce,
    JobState.FAILED: announce,
    JobState.CANCELLED: announce,
}


async def _look(upstream_id: str, tools: Tools) -> Task:
    """What the upstream says of a task. A refusal may be a hiccup on the way: it counts when it is repeated."""
    for pause_s in tools.policy.refusal_pauses_s:
        try:
            return await tools.provider.status(upstream_id)
        except UpstreamRefused as error:
            log.warning("task %s: the look was refused, looking again: %s", upstream_id, error)
            await asyncio.sleep(pause_s)
    return await tools.provider.status(upstream_id)


def _tried_before(job: Job) -> bool:
    """Whether this state's step may have had an effect already: it ended as "later", or its worker died."""
    return job.attempts > 0 or job.claims > 1


def _ended(job: Job, task: Task, facts: Facts) -> Outcome:
    """The outcome for a task that is over."""
    facts = replace(facts, progress=None, result_url=task.video_url, cost_usd=task.cost_usd, raw=task.raw)
    if task.status is TaskStatus.FAILED:
        log.warning("job %s: its task failed: %s %s", job.id, task.error_code, task.error_message)
        said = task.error_message or "it gave no reason"
        return _cancelled_or(job, Fail(FailureReason.UPSTREAM_FAILED, f"The video service gave up: {said}", facts))
    if job.cancel_requested:
        return Advance(JobState.CANCELLED, facts)
    if task.video_url is None:
        return Fail(FailureReason.RESULT_UNUSABLE, "The video service finished without a video.", facts)
    return Advance(JobState.DELIVERING, facts)


def _cancelled_or(job: Job, failure: Fail) -> Outcome:
    """A failure, which for a job that its member gave up is just its end; free either way."""
    if job.cancel_requested:
        return Advance(JobState.CANCELLED, failure.facts, counted=False)
    return failure


def _hold(error: Exception, gate_failures: int, tools: Tools) -> Hold:
    """Submitting stops for as long as the upstream said, or for a pause that grows with the failures in a row."""
    pause_s = tools.policy.gate_backoff.pause_s(gate_failures, chance=tools.chance())
    if isinstance(error, UpstreamBusy) and error.retry_after_s:  # at once, from one that is busy, is no answer
        pause_s = error.retry_after_s
    level = logging.ERROR if isinstance(error, UpstreamClosed) else logging.WARNING
    log.log(level, "no job is submitted for %.0f s: %s", pause_s, error)
    return Hold(tools.clock() + timedelta(seconds=pause_s), str(error))


async def _deliver_once(job: Job, url: str, tools: Tools) -> Outcome:
    if _tried_before(job):
        message_id = await tools.messenger.find_video(job)
        if message_id is not None:
            return Advance(JobState.DELIVERED, Facts(result_message_id=message_id))
    if job.cancel_requested:
        return Advance(JobState.CANCELLED)
    tools.folder.mkdir(mode=0o700, exist_ok=True)  # swept away under a bot that had nothing to do for long
    with TemporaryDirectory(dir=tools.folder) as folder:
        video = Path(folder) / "video.mp4"
        await tools.provider.download(url, video)
        fitted = await _fit(video, await tools.messenger.upload_limit_bytes(job), tools)
        now = await tools.desk.get(job.id)
        if now is not None and now.cancel_requested:  # while it was fetched
            return Advance(JobState.CANCELLED)
        message_id = await _post_fitting(job, video, fitted, tools)
    return Advance(JobState.DELIVERED, Facts(result_message_id=message_id))


async def _post_fitting(job: Job, video: Path, fitted: Path, tools: Tools) -> int:
    try:
        return await tools.messenger.post_video(job, fitted)
    except TooLargeToPost as error:
        log.info("job %s: the channel takes less than it said, %d bytes", job.id, error.limit_bytes)
        return await tools.messenger.post_video(job, await _fit(video, error.limit_bytes, tools))


async def _fit(video: Path, limit_bytes: int, tools: Tools) -> Path:
    if await clips.fits(video, limit_bytes):
        return video
    async with tools.encoders:
        return await clips.fit(video, video.with_name("fitted.mp4"), limit_bytes)


def _deliver_later(job: Job, tools: Tools, error: Exception) -> Later:
    log.warning("job %s: not delivered yet: %s", job.id, error)
    wait_s = error.retry_after_s or 0.0 if isinstance(error, UpstreamBusy) else 0.0
    return tools.later(tools.policy.chat_backoff, job.attempts, at_least_s=wait_s)
