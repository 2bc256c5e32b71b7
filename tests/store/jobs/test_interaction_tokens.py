"""The tokens of orders that can still be answered where the bot isn't a member."""

from dataclasses import replace
from datetime import timedelta

from sqlalchemy import delete, update

from bot.domain.jobs import Job, JobState
from bot.domain.member_data import export_document
from bot.store.engine import Database
from bot.store.jobs.interaction_tokens import InteractionTokenStore, OpenAnswer
from bot.store.jobs.job_store import JobStore
from bot.store.privacy import anonymise
from bot.store.privacy.member_data import MemberDataStore
from bot.store.privacy.retention import RetentionStore
from bot.store.schema import jobs
from tests.store.factories import NOW, add

LATER = NOW + timedelta(minutes=15)


def answer_to(job: Job) -> OpenAnswer:
    return OpenAnswer(job.id, "a token", 70, LATER)


async def test_an_answer_is_kept_once_with_the_message_that_its_video_replaces(
    store: JobStore, database: Database
) -> None:
    tokens, job = InteractionTokenStore(database), await add(store)

    assert await tokens.add([answer_to(job)], NOW) == {job.id}
    await tokens.record_message(job.id, 71)
    assert await tokens.add([answer_to(job)], NOW) == frozenset()

    assert await tokens.of(job.id) == replace(answer_to(job), message_id=71)
    assert await tokens.count_sharing(70) == 1
    await tokens.forget(job.id)
    assert await tokens.of(job.id) is None


async def test_an_expired_token_is_deleted_by_the_next_order_and_by_retention(
    store: JobStore, database: Database
) -> None:
    tokens, old, new = InteractionTokenStore(database), await add(store), await add(store)
    await tokens.add([answer_to(old)], NOW)
    await tokens.add([replace(answer_to(new), expires_at=LATER + timedelta(seconds=1))], LATER)
    assert await tokens.of(old.id) is None

    retention = RetentionStore(database)
    assert await retention.drop_old(NOW - timedelta(days=90), LATER) == 0
    assert await retention.drop_old(NOW - timedelta(days=90), LATER + timedelta(seconds=1)) == 1
    assert await tokens.of(new.id) is None


async def test_a_token_is_in_no_export_and_no_text_and_goes_with_its_job(
    store: JobStore, database: Database
) -> None:
    tokens, job = InteractionTokenStore(database), await add(store)
    await tokens.add([answer_to(job)], NOW)

    exported = export_document(await MemberDataStore(database).read(job.user_id), NOW)
    assert job.id in repr(exported)
    assert "a token" not in repr(exported)
    assert "a token" not in repr(await tokens.of(job.id))
    async with database.write() as connection:
        await connection.execute(delete(jobs).where(jobs.c.id == job.id))
    assert await tokens.of(job.id) is None


async def test_an_anonymised_job_has_no_token(store: JobStore, database: Database) -> None:
    tokens, job = InteractionTokenStore(database), await add(store)
    await tokens.add([answer_to(job)], NOW)
    async with database.write() as connection:
        await connection.execute(update(jobs).values(state=JobState.DELIVERED, due_at=None))

    assert await anonymise.anonymise_batch(database, jobs) == 1

    assert await tokens.of(job.id) is None
