"""What its member, a moderator or another worker did to a job's video while the stage was at work."""

import asyncio
from dataclasses import replace

import pytest

from bot.domain.errors import TooLargeToPost
from bot.domain.jobs import REMOVED, Job, JobState
from bot.domain.outcomes import JobUpdate, MoveTo, Outcome, Reschedule
from bot.worker.stages.context import Stage
from bot.worker.stages.delivery import abandon, deliver, finalise_status
from tests.fakes import NOW
from tests.stage_harness import DELAYED, GONE, StageHarness, noisy_video

MEANWHILE: list[tuple[dict[str, object], Outcome]] = [
    ({"result_message_id": REMOVED}, MoveTo(JobState.DELIVERED)),
    ({"cancel_requested": True}, MoveTo(JobState.CANCELLED)),
    ({"lease_token": "another worker's"}, Reschedule(NOW)),
]
IDS = ["removed", "cancelled", "lease lost"]


@pytest.mark.parametrize("stage", [deliver, abandon])
async def test_a_removed_video_is_neither_fetched_nor_posted(stages: StageHarness, stage: Stage) -> None:
    job = stages.job(JobState.DELIVERING, result_message_id=REMOVED, attempts=1)

    assert await stage(job, stages.context) == MoveTo(JobState.DELIVERED)

    assert stages.messenger.calls == []
    assert stages.provider.calls == []


async def change_during(stages: StageHarness, method: str, job: Job, **meanwhile: object) -> Outcome:
    """The outcome if the job changes in the database while the first such call is in progress."""
    event = stages.messenger.hang(method)
    delivering = asyncio.create_task(deliver(job, stages.context))
    await stages.messenger.wait_for_call(method)
    stages.store.jobs[job.id] = replace(job, **meanwhile)  # type: ignore[arg-type]  # any field
    event.set()
    return await delivering


@pytest.mark.parametrize(("meanwhile", "outcome"), MEANWHILE, ids=IDS)
async def test_nothing_is_posted_after_something_else_happened_to_the_video(
    stages: StageHarness, meanwhile: dict[str, object], outcome: Outcome
) -> None:
    job = stages.job(JobState.DELIVERING)

    assert await change_during(stages, "upload_limit_bytes", job, **meanwhile) == outcome

    assert "post_video" not in stages.messenger.calls


@pytest.mark.parametrize(("meanwhile", "outcome"), MEANWHILE, ids=IDS)
async def test_nothing_smaller_is_posted_either(
    stages: StageHarness, meanwhile: dict[str, object], outcome: Outcome
) -> None:
    stages.provider.video = noisy_video(stages.workdir / "noise.mp4")
    stages.messenger.actual_limit_bytes = len(stages.provider.video) // 2
    job = stages.job(JobState.DELIVERING)

    assert await change_during(stages, "post_video", job, **meanwhile) == outcome

    assert stages.messenger.calls.count("post_video") == 1


@pytest.mark.parametrize(("meanwhile", "outcome"), MEANWHILE, ids=IDS)
@pytest.mark.parametrize("error", [GONE, TooLargeToPost("too large", limit_bytes=0)], ids=["video", "link"])
async def test_nothing_is_sent_to_the_member_either(
    stages: StageHarness, error: Exception, meanwhile: dict[str, object], outcome: Outcome
) -> None:
    stages.messenger.fail("post_video", error)
    job = stages.job(JobState.DELIVERING, attempts=1)

    assert await change_during(stages, "find_sent_video", job, **meanwhile) == outcome

    assert stages.messenger.messages == {}


async def test_a_failed_job_whose_video_was_removed_pings_nobody(stages: StageHarness) -> None:
    status_id = await stages.context.status_cards.post(stages.job(JobState.RUNNING), check_existing=False)
    job = stages.job(JobState.FAILED, result_message_id=REMOVED, status_message_id=status_id)

    assert await finalise_status(job, stages.context) == Reschedule(None, JobUpdate(result_message_id=REMOVED))

    assert stages.messenger.calls == ["show_status", "remove_status"]


async def test_a_video_that_was_cancelled_while_it_was_posted_is_removed(stages: StageHarness) -> None:
    job, video = stages.job(JobState.DELIVERING), stages.workdir / "video.mp4"
    video.write_bytes(b"a video")
    video_id = await stages.messenger.post_video(job, video)
    job = stages.job(JobState.DELIVERED, result_message_id=video_id, cancel_requested=True)
    stages.messenger.fail("remove_video", DELAYED)

    retried = await finalise_status(job, stages.context)
    assert isinstance(retried, Reschedule)
    assert retried.due_at is not None
    assert await finalise_status(job, stages.context) == Reschedule(None, JobUpdate(result_message_id=REMOVED))

    assert stages.messenger.posted("video", job) == []
