"""That jobs were ordered together is part of what a member gets, and goes when they are anonymised."""

from sqlalchemy import select, update

from bot.domain.jobs import JobState, NewJob, Order, new_job_id
from bot.domain.member_data import export_document
from bot.domain.policy import Requester
from bot.domain.status_cards import StatusCard
from bot.domain.variations import variations_of
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.status_cards import StatusCardStore
from bot.store.privacy import anonymise
from bot.store.privacy.member_data import MemberDataStore
from bot.store.schema import jobs, status_cards, variations
from tests.fakes import FRAME, NOW


async def test_the_export_names_the_place_of_each_variation(store: JobStore) -> None:
    news = [NewJob(new_job_id(), 10, 100, 1, order) for order in variations_of(Order("a fox"), 2)]
    first, second = await store.add_together(news, FRAME, Requester(10, 100, 1), NOW)
    alone = await store.add(NewJob(new_job_id(), 10, 100, 1, Order("a cat")), FRAME, Requester(10, 100, 1), NOW)

    exported = export_document(await MemberDataStore(store._db).read(1), NOW)

    assert {
        one["id"]: (one["variation_of"], one["variation"], one["variations"]) for one in exported["videos"]
    } == {
        first.id: (first.id, 1, 2),
        second.id: (first.id, 2, 2),
        alone.id: (None, None, None),
    }


async def test_an_anonymised_job_is_nobodys_variation(store: JobStore) -> None:
    news = [NewJob(new_job_id(), 10, 100, 1, order) for order in variations_of(Order("a fox"), 2)]
    first, second = await store.add_together(news, FRAME, Requester(10, 100, 1), NOW)
    async with store._db.write() as connection:
        await connection.execute(update(jobs).values(state=JobState.DELIVERED, due_at=None))

    assert await anonymise.anonymise_batch(store._db, jobs, jobs.c.id == first.id) == 1

    async with store._db.read() as connection:
        assert list(await connection.scalars(select(variations.c.job_id))) == [second.id]


async def test_an_anonymised_job_has_no_card_that_could_not_be_removed(store: JobStore) -> None:
    news = [NewJob(new_job_id(), 10, 100, 1, order) for order in variations_of(Order("a fox"), 2)]
    ids = [job.id for job in await store.add_together(news, FRAME, Requester(10, 100, 1), NOW)]
    await StatusCardStore(store._db).show({job_id: StatusCard(JobState.QUEUED) for job_id in ids}, NOW)
    async with store._db.write() as connection:
        await connection.execute(update(jobs).values(state=JobState.DELIVERED, due_at=None))

    assert await anonymise.anonymise_batch(store._db, jobs) == 2

    async with store._db.read() as connection:
        assert list(await connection.scalars(select(status_cards.c.job_id))) == []
