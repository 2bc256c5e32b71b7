"""On a server, transactions that run at the same time take their locks in one order."""

import asyncio

import pytest
from sqlalchemy import select, text

from bot.domain.approvals import Verdict
from bot.domain.jobs import Job, JobState
from bot.store.engine import Connection, Database
from bot.store.guilds import guild_settings
from bot.store.jobs.job_store import JobStore
from bot.store.schema import kept_pictures
from tests.store.factories import NOW, add, bring_to, set_guild
from tests.store.jobs.test_approvals import decide

pytestmark = [pytest.mark.both_databases, pytest.mark.parametrize("kind", ["postgresql"], indirect=True)]

WAITING = text("SELECT count(*) FROM pg_locks WHERE NOT granted")


async def kept_is_unlocked(connection: Connection, job: Job) -> bool:
    """Whether nobody has locked how long the job's picture is kept."""
    kept = select(kept_pictures).where(kept_pictures.c.job_id == job.id)
    return len((await connection.execute(kept.with_for_update(nowait=True))).all()) == 1


async def test_declining_an_order_locks_its_picture_after_the_operator_state(
    database: Database, store: JobStore
) -> None:
    await set_guild(store, approval_required=True)
    job = await add(store)
    async with database.write() as deleting:  # as whoever deletes the picture that this one is a copy of
        await guild_settings.lock_operator_state(deleting)
        declining = asyncio.create_task(decide(database, job, Verdict.DECLINED))
        while not await deleting.scalar(WAITING):
            await asyncio.sleep(0.01)

        assert await kept_is_unlocked(deleting, job)

    assert (await declining).state is JobState.FAILED


async def test_removing_a_video_that_is_being_posted_locks_its_picture_after_the_operator_state(
    database: Database, store: JobStore
) -> None:
    delivering = await bring_to(store, JobState.DELIVERING)
    async with database.write() as deleting:
        await guild_settings.lock_operator_state(deleting)
        removing = asyncio.create_task(store.mark_removed(delivering.id, 2000, NOW))
        while not await deleting.scalar(WAITING):
            await asyncio.sleep(0.01)

        assert await kept_is_unlocked(deleting, delivering)

    assert await removing
