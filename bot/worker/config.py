"""How much the worker does at once, and for how long."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

from bot.domain.jobs import JobState
from bot.domain.provider_limits import ProviderLimits
from bot.domain.schedule import Backoff

DEFAULT_LEASE = timedelta(seconds=45)
"""How long the jobs of a dead process stay locked. A live one renews its leases three times in that time."""

LEASE_DURATIONS: Mapping[JobState, timedelta] = dict.fromkeys(JobState, DEFAULT_LEASE) | {
    # Taking over a job whose holder is alive would lose a paid video, so wait longer before doing so.
    JobState.SUBMITTING: timedelta(seconds=120),
}
STAGE_TIMEOUTS: Mapping[JobState, timedelta] = dict.fromkeys(JobState, timedelta(seconds=48)) | {
    JobState.SUBMITTING: timedelta(seconds=96),
    JobState.DELIVERING: timedelta(seconds=240),
}
"""How long a stage may take, from the claim to its outcome."""


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """How much the worker does at once.

    providers: where videos are made, in the order in which they are asked. max_concurrent_jobs: stages that run at
    the same time, besides polls. max_concurrent_polls: polls that are under way; as soon as half of that many may
    begin, more jobs are claimed. max_idle: the longest sleep, since another process may add jobs.
    batch_delay: how long a reschedule waits for others to share its transaction. poll_interval: between two claims
    of polls, so that one claim gets many. final_write_timeout: how long a cancelled stage may still write its
    outcome. takeover_delay: how long after an outage of the store others get to renew their leases.
    """

    providers: tuple[ProviderLimits, ...]
    max_concurrent_jobs: int = 32
    max_concurrent_polls: int = 512
    max_idle: timedelta = timedelta(seconds=2)
    batch_delay: timedelta = timedelta(milliseconds=50)
    poll_interval: timedelta = timedelta(milliseconds=100)
    final_write_timeout: timedelta = timedelta(seconds=5)
    lease_durations: Mapping[JobState, timedelta] = field(default_factory=lambda: LEASE_DURATIONS)
    stage_timeouts: Mapping[JobState, timedelta] = field(default_factory=lambda: STAGE_TIMEOUTS)
    renew_interval: timedelta = DEFAULT_LEASE / 3
    takeover_delay: timedelta = DEFAULT_LEASE
    write_backoff: Backoff = Backoff(first_s=0.5, cap_s=15)
