"""Videos of tasks that were taken up again long after they were handed in."""

from pathlib import Path

from sqlalchemy import update

from bot.domain.jobs import JobState
from bot.store.schema import jobs
from tests.harness import OperatorState, settle


async def test_a_video_that_was_posted_before_its_record_was_restored_is_adopted(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.finished(worker)
    posted = await house.messenger.post_video(job, Path(__file__))  # which the record does not know
    house.pass_time(hours=2)
    await settle(worker)
    found = await house.now(job)
    assert (found.state, found.result_message_id) == (JobState.DELIVERED, posted)
    assert len(house.messenger.of("video", job)) == 1


async def test_a_video_that_was_posted_though_its_delivery_failed_is_adopted_when_it_is_taken_up_again(
    house: OperatorState,
) -> None:
    worker = house.worker()
    job = await house.finished(worker)
    posted = await house.messenger.post_video(
        job, Path(__file__)
    )  # its answer was lost, then the channel was closed
    async with house.store._db.write() as connection:
        await connection.execute(
            update(jobs).where(jobs.c.id == job.id).values(charged=False)
        )  # as reviving leaves it
    await settle(worker)
    found = await house.now(job)
    assert (found.state, found.result_message_id) == (JobState.DELIVERED, posted)
    assert len(house.messenger.of("video", job)) == 1


async def test_a_video_in_good_time_is_posted_without_a_look(house: OperatorState) -> None:
    worker = house.worker()
    job = await house.finished(worker)
    await settle(worker)
    assert await house.state(job) is JobState.DELIVERED
    assert "find_video" not in house.messenger.calls
