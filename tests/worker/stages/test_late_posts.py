"""Videos of jobs that were resumed long after their submission."""

from pathlib import Path

from sqlalchemy import update

from bot.domain.jobs import JobState
from bot.store.schema import jobs
from tests.harness import WorkerHarness, run_until_idle


async def test_a_video_that_was_posted_before_its_record_was_restored_is_adopted(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.finished_job(worker)
    posted = await harness.messenger.post_video(job, Path(__file__))  # which the record does not know
    harness.advance_clock(hours=2)
    await run_until_idle(worker)
    found = await harness.reload(job)
    assert (found.state, found.result_message_id) == (JobState.DELIVERED, posted)
    assert len(harness.messenger.posted("video", job)) == 1


async def test_a_video_that_was_posted_though_its_delivery_failed_is_adopted_when_the_job_is_retried(
    harness: WorkerHarness,
) -> None:
    worker = harness.worker()
    job = await harness.finished_job(worker)
    posted = await harness.messenger.post_video(
        job, Path(__file__)
    )  # its answer was lost, then the channel was closed
    async with harness.store._db.write() as connection:
        await connection.execute(
            update(jobs).where(jobs.c.id == job.id).values(charged=False)
        )  # as reviving leaves it
    await run_until_idle(worker)
    found = await harness.reload(job)
    assert (found.state, found.result_message_id) == (JobState.DELIVERED, posted)
    assert len(harness.messenger.posted("video", job)) == 1


async def test_a_video_on_time_is_posted_without_searching_first(harness: WorkerHarness) -> None:
    worker = harness.worker()
    job = await harness.finished_job(worker)
    await run_until_idle(worker)
    assert await harness.state(job) is JobState.DELIVERED
    assert "find_video" not in harness.messenger.calls
