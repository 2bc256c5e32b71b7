"""A video that goes on from another one is posted as one clip with it, or alone."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import av
import pytest

from bot.domain.errors import (
    DeliveryDelayed,
    DeliveryError,
    DeliveryForbidden,
    Undeliverable,
    UpstreamUnreached,
)
from bot.domain.extensions import Clip, Extension, NotJoined
from bot.domain.jobs import Job, JobState
from bot.domain.outcomes import MoveTo
from bot.providers.delivered_videos import DeliveredVideos
from bot.store.jobs.extensions import ExtensionStore
from bot.worker.stages.context import StageContext
from bot.worker.stages.delivery import deliver
from tests.fakes import NOW, VIDEO, Faulty
from tests.media.videos import write_video
from tests.providers_asked import VTRIX
from tests.stage_harness import GONE, StageHarness, noisy_video, wait_s


class FakePostedVideos(Faulty):
    """Messages that all have the same file. data: None for messages without one."""

    def __init__(self) -> None:
        super().__init__()
        self.data: bytes | None = VIDEO

    async def fetch(self, job: Job, to: Path) -> bool:  # noqa: ARG002 - the protocol's
        async with self._call("fetch"):
            if self.data is not None:
                await asyncio.to_thread(to.write_bytes, self.data)
        return self.data is not None


class FakeExtensions(ExtensionStore):
    """Says what the jobs extend, without a database."""

    def __init__(self) -> None:
        self.known = {"job-1": Extension("parent", 2, 10)}
        self.recorded: list[int] = []

    async def of(self, job_id: str) -> Extension | None:
        return self.known.get(job_id)

    async def record_clip(self, job: Job, clip: Clip) -> None:
        self.known[job.id] = replace(self.known[job.id], pieces=clip.pieces, seconds=clip.seconds)
        self.recorded.append(clip.pieces)


class ClipHarness(StageHarness):
    """The stages, with a job that extends a video that was delivered."""

    def __init__(self, workdir: Path) -> None:
        super().__init__(workdir)
        self.posted = FakePostedVideos()
        self.extensions = FakeExtensions()
        self.parent = replace(
            self.job(JobState.DELIVERING), id="parent", state=JobState.DELIVERED, result_message_id=77
        )
        self.store.jobs["parent"] = self.parent

    @property
    def context(self) -> StageContext:
        delivered = DeliveredVideos(self.posted, {VTRIX: self.provider}, self.clock, timedelta(days=1))
        return replace(super().context, extensions=self.extensions, delivered=delivered)

    async def deliver(self, **changes: object) -> Clip | None:
        """Delivers the job's video; what was posted."""
        job = self.job(JobState.DELIVERING, **changes)
        outcome = await deliver(job, self.context)
        assert isinstance(outcome, MoveTo), outcome
        assert outcome.to is JobState.DELIVERED
        return self.messenger.clips[job.id]


@pytest.fixture
def clips(tmp_path: Path) -> ClipHarness:
    return ClipHarness(tmp_path / "work")


def frames_in(data: bytes, folder: Path) -> int:
    video = folder / "posted.mp4"
    video.write_bytes(data)
    with av.open(str(video)) as container:
        return len(list(container.decode(video=0)))


async def test_a_clip_of_both_is_posted(clips: ClipHarness, tmp_path: Path) -> None:
    assert await clips.deliver() == Clip(2, 10)
    [message] = clips.messenger.posted("video", clips.job(JobState.DELIVERING))
    assert frames_in(message.content, tmp_path) == 2 * frames_in(VIDEO, tmp_path) - 1
    assert clips.extensions.recorded == [2]
    assert list(clips.workdir.iterdir()) == []


async def test_a_clip_is_as_long_as_its_parts_together(clips: ClipHarness) -> None:
    clips.store.jobs["parent"] = replace(clips.parent, order=replace(clips.parent.order, duration_s=10))
    assert await clips.deliver() == Clip(2, 15)

    clips.extensions.known |= {"parent": Extension("its parent", 3, 25)}
    assert await clips.deliver() == Clip(4, 30)
    assert clips.extensions.known["job-1"] == Extension("parent", 4, 30)


async def test_a_clip_is_made_smaller_when_discord_takes_less_than_expected(
    clips: ClipHarness, tmp_path: Path
) -> None:
    clips.provider.video = clips.posted.data = noisy_video(tmp_path / "noise.mp4")
    clips.messenger.actual_limit_bytes = len(clips.provider.video)
    assert await clips.deliver() == Clip(2, 10)
    [message] = clips.messenger.posted("video", clips.job(JobState.DELIVERING))
    assert frames_in(message.content, tmp_path) == 19


async def test_a_clip_that_is_joined_at_a_later_try_says_how_long_it_is(clips: ClipHarness) -> None:
    clips.posted.data = VIDEO[:40] + b"no video" * 100
    clips.messenger.fail("post_video", DeliveryDelayed("a hiccup"))
    assert wait_s(await deliver(clips.job(JobState.DELIVERING), clips.context)) > 0
    clips.posted.data = VIDEO
    assert await clips.deliver(attempts=1) == Clip(2, 10)
    assert clips.extensions.recorded == [1, 2]


async def test_a_video_that_extends_no_other_is_posted_as_it_is(clips: ClipHarness) -> None:
    clips.extensions.known = {}
    assert await clips.deliver() is None
    assert clips.posted.calls == []
    assert clips.extensions.recorded == []


@pytest.mark.parametrize("error", [None, GONE])
async def test_a_part_is_posted_alone_if_the_video_before_is_gone(
    clips: ClipHarness, error: Undeliverable | None
) -> None:
    if error is None:
        clips.store.jobs["parent"] = replace(clips.parent, result_message_id=0)
    else:
        clips.posted.fail("fetch", error)
    assert await clips.deliver() == Clip(1, 5, NotJoined.PARENT_GONE)
    assert clips.extensions.recorded == [1]
    assert clips.provider.calls.count("download") == 1  # its link isn't used for what somebody deleted


@pytest.mark.parametrize("error", [DeliveryDelayed("a hiccup"), DeliveryForbidden("no history"), None])
async def test_the_video_before_comes_from_the_service_where_its_message_cannot_be_read(
    clips: ClipHarness, error: DeliveryError | None
) -> None:
    if error is None:
        clips.posted.data = None
    else:
        clips.posted.fail("fetch", error)
    assert await clips.deliver() == Clip(2, 10)


async def test_a_clip_of_several_parts_never_comes_from_the_service(clips: ClipHarness) -> None:
    clips.extensions.known |= {"parent": Extension("its parent", 2, 10)}  # the service has its last part only
    clips.posted.fail_always("fetch", DeliveryDelayed("a hiccup"))
    job = clips.job(JobState.DELIVERING)
    assert wait_s(await deliver(job, clips.context)) > 0
    clips.clock.move(minutes=11)
    assert await clips.deliver() == Clip(1, 5, NotJoined.PARENT_UNREACHED)


async def test_the_video_before_is_awaited_for_ten_minutes(clips: ClipHarness) -> None:
    clips.posted.fail_always("fetch", DeliveryDelayed("a hiccup"))
    clips.store.jobs["parent"] = replace(clips.parent, submitted_at=NOW - timedelta(days=2))
    assert wait_s(await deliver(clips.job(JobState.DELIVERING), clips.context)) > 0
    assert clips.messenger.clips == {}
    clips.posted.stop_failing()
    assert await clips.deliver(attempts=1) == Clip(2, 10)


async def test_a_part_is_posted_alone_once_the_video_before_was_awaited_for_long(clips: ClipHarness) -> None:
    clips.posted.fail_always("fetch", DeliveryDelayed("a hiccup"))
    clips.store.jobs["parent"] = replace(clips.parent, result_url=None)
    clips.clock.move(minutes=11)
    assert await clips.deliver() == Clip(1, 5, NotJoined.PARENT_UNREACHED)


async def test_a_part_is_posted_alone_if_the_two_cannot_be_joined(clips: ClipHarness) -> None:
    clips.posted.data = VIDEO[:40] + b"no video" * 100
    assert await clips.deliver() == Clip(1, 5, NotJoined.NOT_JOINABLE)
    [message] = clips.messenger.posted("video", clips.job(JobState.DELIVERING))
    assert message.content == VIDEO


async def test_a_part_whose_joining_may_have_killed_workers_is_posted_alone(clips: ClipHarness) -> None:
    assert await clips.deliver(claim_count=3) == Clip(1, 5, NotJoined.NOT_JOINABLE)


async def test_a_part_that_ended_early_is_downloaded_again(clips: ClipHarness, tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4")
    clips.provider.video = whole.read_bytes()[:-5]  # only its last frame is damaged
    assert wait_s(await deliver(clips.job(JobState.DELIVERING), clips.context)) > 0
    assert clips.messenger.clips == {}


async def test_a_clip_that_is_in_the_channel_is_not_posted_again(clips: ClipHarness) -> None:
    job = clips.job(JobState.DELIVERING, attempts=1)
    await clips.messenger.post_video(job, await a_file(clips))
    assert isinstance(await deliver(job, clips.context), MoveTo)
    assert len(clips.messenger.posted("video", job)) == 1
    assert clips.posted.calls == []


async def test_a_member_whose_channel_is_gone_gets_the_clip(clips: ClipHarness) -> None:
    clips.messenger.fail("post_video", GONE)
    assert await clips.deliver() == Clip(2, 10)
    assert len(clips.messenger.posted("sent video", clips.job(JobState.DELIVERING))) == 1


async def test_the_service_may_refuse_the_video_before(clips: ClipHarness) -> None:
    clips.posted.fail_always("fetch", DeliveryForbidden("no history"))
    clips.provider.fail("download", UpstreamUnreached("refused"))
    job = clips.job(JobState.DELIVERING)
    assert wait_s(await deliver(job, clips.context)) > 0


async def a_file(clips: ClipHarness) -> Path:
    clips.workdir.mkdir()
    video = clips.workdir / "video.mp4"
    await asyncio.to_thread(video.write_bytes, VIDEO)
    return video
