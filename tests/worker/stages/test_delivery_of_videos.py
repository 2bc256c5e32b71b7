"""What becomes of a result that can't be posted as it came."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from bot.domain.jobs import FailureReason, JobState
from bot.domain.outcomes import JobUpdate, MoveTo, Reschedule
from bot.worker.stages.delivery import deliver
from tests.fakes import NOW, VIDEO
from tests.media.videos import look, write_video
from tests.stage_harness import DELAYED, ILL, StageHarness, failure

CUT_OFF = VIDEO[:-100]


async def test_a_download_that_ended_early_is_repeated_with_a_fresh_link_and_never_posted(
    stages: StageHarness,
) -> None:
    await stages.running_job()
    stages.provider.finish("task-1")
    job = stages.job(JobState.DELIVERING)
    stages.provider.video = CUT_OFF
    fresh = JobUpdate(result_url="https://cdn.example/task-1.mp4", cost_usd=Decimal("0.12"))
    outcome = await deliver(job, stages.context)
    assert outcome == Reschedule(NOW + timedelta(seconds=1), fresh, attempt=True)
    assert stages.messenger.posted("video", job) == []
    stages.provider.video = VIDEO
    assert isinstance(await deliver(job, stages.context), MoveTo)
    [posted] = stages.messenger.posted("video", job)
    assert posted.content == VIDEO


async def test_a_download_that_ended_early_is_repeated_even_if_the_task_cannot_be_polled(
    stages: StageHarness,
) -> None:
    stages.provider.video = CUT_OFF
    stages.provider.fail("status", ILL)
    outcome = await deliver(stages.job(JobState.DELIVERING), stages.context)
    assert isinstance(outcome, Reschedule)
    assert outcome.update == JobUpdate()


async def test_a_result_that_stays_incomplete_fails_after_minutes(stages: StageHarness) -> None:
    job = stages.job(JobState.DELIVERING)
    stages.provider.video = CUT_OFF
    for _ in range(3):
        assert isinstance(await deliver(job, stages.context), Reschedule)
        stages.clock.move(minutes=5)
    stages.clock.move(seconds=1)
    assert failure(await deliver(job, stages.context)) is FailureReason.RESULT_UNUSABLE
    assert stages.context.no_result_since == {}


async def test_the_minutes_begin_with_the_first_incomplete_download(stages: StageHarness) -> None:
    """Not with the job's delivery: Discord may have been away for an hour, and the link stale since."""
    job = stages.job(JobState.DELIVERING)
    for _ in range(2):
        stages.clock.move(hours=1)
        stages.provider.video = CUT_OFF
        assert isinstance(await deliver(job, stages.context), Reschedule)
        stages.clock.move(hours=1)
        stages.provider.video = VIDEO
        stages.messenger.fail("post_video", DELAYED)
        assert isinstance(await deliver(job, stages.context), Reschedule)


async def test_a_result_that_is_incomplete_when_its_link_has_expired_fails(stages: StageHarness) -> None:
    stages.clock.move(hours=25)
    stages.provider.video = CUT_OFF
    assert failure(await deliver(stages.job(JobState.DELIVERING), stages.context)) is FailureReason.RESULT_UNUSABLE


async def test_a_video_that_phones_do_not_play_is_posted_as_one_that_they_do(
    stages: StageHarness, tmp_path: Path
) -> None:
    job = stages.job(JobState.DELIVERING)
    source = write_video(tmp_path / "source.mp4", "libx265", options={"x265-params": "log-level=none"})
    stages.provider.video = source.read_bytes()
    assert isinstance(await deliver(job, stages.context), MoveTo)
    [posted] = stages.messenger.posted("video", job)
    (tmp_path / "posted.mp4").write_bytes(posted.content)
    seen = look(tmp_path / "posted.mp4")
    assert (seen.codec, seen.pix_fmt, seen.times_s) == ("h264", "yuv420p", look(source).times_s)


@pytest.mark.parametrize("content", [b"\0\0\0\x18ftypisom" + bytes(12) + b"\0\0\0\x0cmeta" + bytes(4), b"<html>"])
async def test_what_is_no_video_is_not_posted(stages: StageHarness, content: bytes) -> None:
    stages.provider.video = content
    assert failure(await deliver(stages.job(JobState.DELIVERING), stages.context)) is FailureReason.RESULT_UNUSABLE
