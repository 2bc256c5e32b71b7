"""What the stages work with: the providers, Discord, the store, and their timeouts and pauses."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from bot.domain.approvals import Decision
from bot.domain.errors import UpstreamBusy, UpstreamUnreached
from bot.domain.extensions import Clip
from bot.domain.jobs import Frame, Job, ProviderName
from bot.domain.member_settings import SettingsOf, settings_of_nobody
from bot.domain.outcomes import Outcome, Reschedule
from bot.domain.provider_limits import ProviderLimits
from bot.domain.schedule import Backoff, PollSchedule
from bot.operations.clock import Clock
from bot.providers.base import Provider
from bot.providers.delivered_videos import DeliveredVideos
from bot.store.jobs.approvals import ApprovalStore
from bot.store.jobs.extensions import ExtensionStore
from bot.store.jobs.job_store import JobStore
from bot.worker.status_cards import StatusCards

MAX_ENCODERS = 2
"""How many videos are re-encoded at the same time; each takes a core or more."""


@dataclass(frozen=True, slots=True)
class DirectMessage:
    """A message to the member alone. channel_id: of the channel between the bot and them."""

    channel_id: int
    message_id: int


class Messenger(Protocol):
    """Posts about jobs; a protocol, since the worker must not import `bot.chat`. Methods raise DeliveryError.

    check_existing: an earlier attempt may have posted already; look for its message and use it instead.
    """

    async def notify_failure(self, job: Job, *, check_existing: bool) -> None:
        """Tells the member, with a ping, that the job failed and why."""
        ...

    async def post_video(self, job: Job, video: Path, clip: Clip | None = None, *, pings: bool = True) -> int:
        """Posts the finished video; returns the message's id. Also raises TooLargeToPost.

        clip: what it is, if the job extends another one's video. pings: whether its member is notified.
        """
        ...

    async def find_video(self, job: Job) -> int | None:
        """The id of the message that already carries this job's video, if there is one."""
        ...

    async def remove_video(self, job: Job) -> None:
        """Removes the message with this job's video, if it still exists."""
        ...

    async def upload_limit_bytes(self, job: Job) -> int:
        """The largest file that the job's channel accepts, as far as is known."""
        ...

    async def send_video(self, job: Job, video: Path, clip: Clip | None = None) -> DirectMessage:
        """Sends the finished video to its member; see `post_video`. Also raises TooLargeToPost."""
        ...

    async def send_link(self, job: Job, expires_at: datetime) -> DirectMessage:
        """Sends the member a link to the finished video, which works until then."""
        ...

    async def find_sent_video(self, job: Job) -> DirectMessage | None:
        """The message to its member that already carries this job's video or a link to it, if there is one."""
        ...

    async def send_failure(self, job: Job, *, check_existing: bool) -> None:
        """Tells the member in a direct message that the job failed and why."""
        ...

    async def answer_order(self, job: Job) -> bool:
        """Says in the private answer to the order how the job ended; False if that can't be changed any more."""
        ...


class ApprovalMessenger(Protocol):
    """Asks moderators; a protocol, since the worker must not import `bot.chat`. Methods raise DeliveryError."""

    async def post(self, job: Job, frame: Frame, channel_id: int, *, check_existing: bool, count: int = 1) -> int:
        """Posts the approval request; returns the message's id. count: for how many videos."""
        ...

    async def close(self, job: Job, decision: Decision | None, channel_id: int, *, count: int = 1) -> None:
        """Replaces the request by its result, if the message still exists."""
        ...


@dataclass(frozen=True, slots=True)
class StageConfig:
    """The stages' timeouts and pauses.

    job_timeout: how long a task may run. task_lifetime: how long the upstream answers about a task and keeps its
    result. refused_polls_min: how many polls in a row must be refused before the task counts as gone.
    gone_polls_min: how many must be answered with just that.
    result_patience: how long a result may be refused or end early. upstream_backoff, chat_backoff: pauses after
    failures of one job. submission_backoff: pauses for all jobs. longest_closure: the longest pause for all jobs
    that the upstream may ask for.
    """

    job_timeout: timedelta
    task_lifetime: timedelta
    poll_schedule: PollSchedule
    refused_polls_min: int = 8
    gone_polls_min: int = 3
    result_patience: timedelta = timedelta(minutes=10)
    upstream_backoff: Backoff = Backoff(first_s=2, cap_s=120)
    chat_backoff: Backoff = Backoff(first_s=2, cap_s=120)
    submission_backoff: Backoff = Backoff(first_s=5, cap_s=300)
    longest_closure: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class StageContext:
    """What a stage works with.

    providers: all that jobs may have tasks at, also those that get no new ones. provider_limits: of those that get
    new ones, in their order. workdir: holds downloads until they are posted. jitter: random, in [0, 1).
    store_timeout_s: how long reading what a submission needs may take; then the job waits, so that a slow store is
    not mistaken for a lost response. status_timeout_s: how long the first status card may take. started_at: when
    this process started; before, nobody watched the jobs, and the clock may have been changed. encoder_slots:
    limits concurrent encoding. no_result_since: by job id, when the first of the downloads in a row was refused or
    ended early. settings_of: reads a member's settings. extensions, delivered: what jobs go on from, and how to
    fetch that; None where no job extends another.
    """

    providers: Mapping[ProviderName, Provider]
    messenger: Messenger
    status_cards: StatusCards
    store: JobStore
    config: StageConfig
    clock: Clock
    workdir: Path
    jitter: Callable[[], float] = random.random
    store_timeout_s: float = 10.0
    status_timeout_s: float = 40.0
    approval_messenger: ApprovalMessenger = field(kw_only=True)
    approvals: ApprovalStore = field(kw_only=True)
    started_at: datetime | None = None
    encoder_slots: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(MAX_ENCODERS))
    provider_limits: Sequence[ProviderLimits] = ()
    no_result_since: dict[str, datetime] = field(default_factory=dict)
    settings_of: SettingsOf = settings_of_nobody
    extensions: ExtensionStore | None = None
    delivered: DeliveredVideos | None = None

    def provider_of(self, job: Job) -> Provider:
        """Who makes this job's video. Raises: UpstreamUnreached if the bot has no key for it any more."""
        provider = None if job.provider is None else self.providers.get(job.provider)
        if provider is None:
            raise UpstreamUnreached(f"no key for {job.provider}")
        return provider

    def observed_for(self, since: datetime) -> timedelta:
        """How much of the time since then this process has been running."""
        return self.clock() - (since if self.started_at is None else max(since, self.started_at))

    def can_give_up(self, since: datetime) -> bool:
        """Whether what has kept failing since then is given up: nothing is left upstream by now.

        Not right after a start, when the network may not be up yet and the clock may have been changed.
        """
        lifetime, patience = self.config.task_lifetime, min(self.config.task_lifetime, self.config.job_timeout)
        return self.clock() - since > lifetime and self.observed_for(since) > patience

    def retry(self, backoff: Backoff, attempt: int, error: Exception | None = None) -> Reschedule:
        """The outcome of a failed attempt: try again after a growing pause, or after as long as `error` says."""
        pause_s = backoff.pause_s(attempt, jitter=self.jitter())
        if isinstance(error, UpstreamBusy):
            pause_s = max(pause_s, error.retry_after_s or 0.0)
        return Reschedule(self.clock() + timedelta(seconds=pause_s), attempt=True)


class NotSubmitted(asyncio.CancelledError):
    """A submission was cancelled before its request was sent: certainly no task exists."""


Stage = Callable[[Job, StageContext], Awaitable[Outcome]]


def tried_before(job: Job) -> bool:
    """Whether an earlier run of this stage may have had an effect: it was rescheduled, or its worker died."""
    return job.attempts > 0 or job.claim_count > 1
