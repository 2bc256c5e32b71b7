from sqlalchemy import update

from bot.domain.jobs import JobState, NewJob, Order, PictureLabels, new_job_id
from bot.domain.policy import Requester
from bot.store.jobs.job_store import JobStore
from bot.store.privacy import anonymise
from bot.store.schema import jobs
from tests.fakes import FRAME, NOW


async def test_what_a_member_called_their_picture_is_kept_with_the_job_and_goes_when_it_is_anonymised(
    store: JobStore,
) -> None:
    new = NewJob(new_job_id(), 10, 100, 1, Order("a fox"), PictureLabels("SPOILER_fox.png", "my fox"))
    job = await store.add(new, FRAME, Requester(10, 100, 1), NOW)
    assert (job.picture_name, job.picture_alt_text) == ("SPOILER_fox.png", "my fox")

    columns = {"state": JobState.DELIVERED, "due_at": None, "result_message_id": 5, "result_channel_id": 6}
    async with store._db.write() as connection:
        await connection.execute(update(jobs).values(columns))
    assert await anonymise.anonymise_batch(store._db, jobs, jobs.c.id == job.id) == 1

    found = await store.get(job.id)
    assert found is not None
    assert (found.picture_name, found.picture_alt_text) == (None, None)
    assert (found.result_message_id, found.result_channel_id) == (None, None)
