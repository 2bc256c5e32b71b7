"""Everything a single stage works with, faked, and jobs to run it on."""

import random
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import av

from bot.domain.errors import (
    DeliveryDelayed,
    DeliveryForbidden,
    Undeliverable,
    UpstreamBusy,
    UpstreamClosed,
    UpstreamIll,
    UpstreamUnreached,
)
from bot.domain.jobs import FailureReason, Job, JobState, Order, ProviderName
from bot.domain.member_settings import UNCHANGED, MemberSettings
from bot.domain.outcomes import Fail, Outcome, Reschedule
from bot.domain.provider_limits import ProviderLimits
from bot.domain.schedule import PollSchedule
from bot.worker.stages.context import StageConfig, StageContext
from tests.fake_messengers import FakeApprovalMessenger, FakeMessenger, FakeStatusCards
from tests.fakes import FRAME, NOW, FakeApprovalStore, FakeClock, FakeJobStore, FakeProvider
from tests.providers_asked import P720, VTRIX

POLL_SCHEDULE = PollSchedule(min_s=5, max_s=30)
FIRST_PAUSE_S = POLL_SCHEDULE.next_pause_s(P720, 0)
STAGE_CONFIG = StageConfig(timedelta(minutes=30), timedelta(hours=24), POLL_SCHEDULE)
CLOSED = UpstreamClosed("no balance", status=403)
KEYLESS = UpstreamClosed("no such key", status=401)
BUSY = UpstreamBusy("slow down", retry_after_s=None)
UNREACHED = UpstreamUnreached("connection refused")
ILL = UpstreamIll("502")
DELAYED = DeliveryDelayed("Discord is ill")
FORBIDDEN = DeliveryForbidden("Missing Permissions")
GONE = Undeliverable("Unknown Channel")


@dataclass
class StageHarness:
    workdir: Path
    provider: FakeProvider = field(default_factory=FakeProvider)
    messenger: FakeMessenger = field(default_factory=FakeMessenger)
    store: FakeJobStore = field(default_factory=FakeJobStore)
    approval_messenger: FakeApprovalMessenger = field(default_factory=FakeApprovalMessenger)
    approvals: FakeApprovalStore = field(default_factory=FakeApprovalStore)
    clock: FakeClock = field(default_factory=FakeClock)
    no_result_since: dict[str, datetime] = field(default_factory=dict)
    settings: MemberSettings = UNCHANGED
    asked: tuple[ProviderName, ...] = (VTRIX,)

    @property
    def context(self) -> StageContext:
        return StageContext(
            {VTRIX: self.provider},
            self.messenger,
            FakeStatusCards(self.messenger),
            self.store,
            STAGE_CONFIG,
            self.clock,
            self.workdir,
            jitter=lambda: 0.0,
            provider_limits=[ProviderLimits(name) for name in self.asked],
            approval_messenger=self.approval_messenger,
            approvals=self.approvals,
            no_result_since=self.no_result_since,
            settings_of=self.settings_of,
        )

    async def settings_of(self, user_id: int) -> MemberSettings:
        """What every member chose."""
        del user_id
        return self.settings

    def job(self, state: JobState, **changes: Any) -> Job:
        job = Job(
            "job-1", state, 10, 100, 1, Order("a fox runs"), NOW, NOW, NOW, claim_count=1, lease_token="token"
        )
        if state not in {JobState.AWAITING, JobState.QUEUED}:
            job = replace(job, provider=VTRIX)
        self.store.frames[job.id] = FRAME
        if state is JobState.RUNNING:
            job = replace(job, upstream_id="task-1", submitted_at=NOW)
        if state is JobState.DELIVERING:
            job = replace(job, upstream_id="task-1", submitted_at=NOW, result_url="https://cdn.example/v.mp4")
        return replace(job, **changes)

    async def running_job(self, **changes: Any) -> Job:
        """A running job, with its task upstream."""
        task = await self.provider.submit(Order("a fox runs"), FRAME, request_id="job")
        self.provider.calls.clear()
        return self.job(JobState.RUNNING, upstream_id=task.id, **changes)


def failure(outcome: Outcome) -> FailureReason:
    assert isinstance(outcome, Fail), outcome
    return outcome.reason


def wait_s(outcome: Outcome) -> float:
    assert isinstance(outcome, Reschedule), outcome
    assert outcome.due_at is not None
    return (outcome.due_at - NOW).total_seconds()


def noisy_video(path: Path) -> bytes:
    """A second of noise: a few hundred kilobytes that re-encoding can shrink."""
    noise = random.Random(1)  # noqa: S311 - no secret
    with av.open(str(path), "w", format="mp4") as out:
        stream = out.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.options = {"crf": "1", "preset": "ultrafast"}
        for _ in range(10):
            picture = av.VideoFrame(160, 120, "rgb24")
            picture.planes[0].update(noise.randbytes(picture.planes[0].buffer_size))
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return path.read_bytes()
