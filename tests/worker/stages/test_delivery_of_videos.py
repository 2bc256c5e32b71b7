"""What becomes of a result that can't be posted as it came."""

from datetime import timedelta
from pathlib import Path

import pytest

from bot.domain.jobs import FailureReason, JobState, MoveTo, Reschedule
from bot.worker.stages.delivery import deliver
from tests.fakes import NOW, VIDEO
from tests.media.videos import look, write_video
from tests.stage_harness import StageHarness, failure


async def test_a_download_that_ended_early_is_repeated_and_never_posted(stages: StageHarness) -> None:
    job = stages.job(JobState.DELIVERING)
    stages.provider.video = VIDEO[:-100]
    assert await deliver(job, stages.context) == Reschedule(NOW + timedelta(seconds=1), attempt=True)
    assert stages.messenger.posted("video", job) == []
    stages.provider.video = VIDEO
    assert isinstance(await deliver(job, stages.context), MoveTo)
    [posted] = stages.messenger.posted("video", job)
    assert posted.content == VIDEO


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
