"""On a server, transactions that run at the same time take their locks in one order."""

import asyncio

import pytest
from sqlalchemy import select, text

from bot.domain.approvals import Verdict
from bot.domain.jobs import FailureReason, Job, JobState
from bot.domain.outcomes import Fail, PauseSubmissions
from bot.store.engine import Connection, Database
from bot.store.guilds import guild_settings
from bot.store.jobs import recovery
from bot.store.jobs.job_store import JobStore
from bot.store.money_tables import daily_totals, provider_totals
from bot.store.schema import jobs, kept_pictures
from tests.providers_asked import VTRIX
from tests.store.factories import DAY, DETAIL, MANY, MINUTE, NOW, add, add_waiting, bring_to, next_job, set_guild
from tests.store.jobs.test_approvals import decide

pytestmark = [pytest.mark.both_databases, pytest.mark.parametrize("kind", ["postgresql"], indirect=True)]

TOTALS_OF_VTRIX = select(provider_totals).where(provider_totals.c.provider == VTRIX)

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


async def test_a_job_that_is_cancelled_on_its_way_back_locks_its_providers_sum_after_the_days(
    database: Database, store: JobStore
) -> None:
    held = await bring_to(store, JobState.SUBMITTING)
    await store.cancel(held.id, NOW, even_if_paid=True)
    async with database.write() as settling:  # as whoever settles another job
        await settling.execute(select(daily_totals).with_for_update())
        returning = asyncio.create_task(store.apply(held, PauseSubmissions(NOW + MINUTE, "no balance"), NOW))
        while not await settling.scalar(WAITING):
            await asyncio.sleep(0.01)

        assert len((await settling.execute(TOTALS_OF_VTRIX.with_for_update(nowait=True))).all()) == 1

    assert await returning


async def test_costs_that_are_released_together_lock_all_days_before_the_providers_sums(
    database: Database, store: JobStore
) -> None:
    """The first was ordered on one day and made on the next, when the second was ordered."""
    for ordered_at in (NOW - DAY, NOW):
        await add_waiting(store, ordered_at)
        held = await next_job(store, NOW)
        assert held is not None
        assert await store.apply(held, Fail(FailureReason.OUTCOME_UNKNOWN, DETAIL), NOW)

    async def release() -> int:
        async with database.write() as connection:
            return await recovery.release_held_costs(connection, NOW, NOW, MANY)

    async with database.write() as settling:
        await settling.execute(select(daily_totals).where(daily_totals.c.day == NOW.date()).with_for_update())
        releasing = asyncio.create_task(release())
        while not await settling.scalar(WAITING):
            await asyncio.sleep(0.01)

        assert len((await settling.execute(TOTALS_OF_VTRIX.with_for_update(nowait=True))).all()) == 1

    assert await releasing == 2


async def test_a_job_that_is_being_cancelled_delays_no_submission_of_another(
    database: Database, store: JobStore
) -> None:
    first, second = await add_waiting(store, NOW - MINUTE), await add_waiting(store)
    async with database.write() as cancelling:
        await cancelling.execute(select(jobs).where(jobs.c.id == first.id).with_for_update())
        claimed = await next_job(store)
    assert claimed is not None
    assert claimed.id == second.id
