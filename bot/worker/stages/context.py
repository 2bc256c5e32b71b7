"""What the steps work with: their view of the chat, of the store and of moderators, and how patient they are."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from bot.domain.approvals import Decision
from bot.domain.jobs import Frame, Job, Outcome, Reschedule
from bot.domain.schedule import Backoff, PollSchedule
from bot.operations.clock import Clock
from bot.providers.base import Provider
from bot.store.jobs.submission_gate import Gate

ENCODERS = 2
"""How many videos are made to fit side by side; each takes a core or more."""


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


class Moderators(Protocol):
    """Where a server's moderators are asked. All methods raise `DeliveryError`'s children."""

    async def ask(self, job: Job, frame: Frame, channel_id: int, *, look_first: bool) -> int:
        """Posts the question whether the job may be made; the message's id."""
        ...

    async def close(self, job: Job, decision: Decision | None, channel_id: int) -> None:
        """Says in the question's place how it was answered, if it still stands there."""
        ...


class ReviewBook(Protocol):
    """What is written down about the moderators' answers."""

    async def channel_of(self, guild_id: int) -> int | None:
        """Where the server's moderators are asked, if it has set such a channel."""
        ...

    async def decision_on(self, job: Job) -> Decision | None:
        """How a moderator answered, if one did."""
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
    looks: PollSchedule
    refusal_pauses_s: tuple[float, ...] = (3.0, 10.0)
    upstream_backoff: Backoff = Backoff(first_s=2, cap_s=120)
    chat_backoff: Backoff = Backoff(first_s=2, cap_s=120)
    gate_backoff: Backoff = Backoff(first_s=5, cap_s=300)


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a step works with.

    folder: where downloads lie while they are posted. store_s: how long the store may take to hand out what a
    submission needs; after that the job waits, so that a hanging store is not taken for a lost answer. greet_s:
    how long the first status message may take. since: when this process began; before it nobody watched, and the
    clock may have been set. encoders: lets only so many videos be encoded side by side.
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
    moderators: Moderators = field(kw_only=True)
    reviews: ReviewBook = field(kw_only=True)
    since: datetime | None = None
    encoders: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(ENCODERS))

    def watched(self, begun_at: datetime) -> timedelta:
        """For how long this process has seen something go on that began then."""
        return self.clock() - (begun_at if self.since is None else max(begun_at, self.since))

    def later(self, backoff: Backoff, attempt: int, *, at_least_s: float = 0.0) -> Reschedule:
        """The outcome of a failed attempt: once more, after a growing pause."""
        pause_s = max(at_least_s, backoff.pause_s(attempt, chance=self.chance()))
        return Reschedule(self.clock() + timedelta(seconds=pause_s), attempt=True)


Step = Callable[[Job, StageContext], Awaitable[Outcome]]


def tried_before(job: Job) -> bool:
    """Whether this state's step may have had an effect already: it ended as "later", or its worker died."""
    return job.attempts > 0 or job.claim_count > 1
