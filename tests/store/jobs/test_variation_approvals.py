"""Moderators decide about all variations of an order at once."""

import asyncio

import pytest
from sqlalchemy import select

from bot.domain.approvals import AlreadyDecided, ApprovalProblem, Decision, Verdict
from bot.domain.errors import NotPossible
from bot.domain.jobs import Job, JobState
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.jobs.job_store import JobStore
from bot.store.schema import audit_log
from tests.store.factories import MINUTE, NOW, add, notified_texts, read, set_operator_state
from tests.store.jobs.test_approvals import GUILD, LOG, MODERATOR, decide
from tests.store.jobs.test_variations import order


@pytest.fixture
async def waiting(database: Database, store: JobStore) -> list[Job]:
    """Three variations that await approval."""
    async with database.write() as connection:
        await guild_settings.write(connection, GUILD, {"approval_required": True, "log_channel_id": LOG})
    return await order(store, 3)


async def states(store: JobStore, jobs: list[Job]) -> list[JobState]:
    return [(await read(store, job)).state for job in jobs]


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize(
    ("verdict", "state"), [(Verdict.APPROVED, JobState.QUEUED), (Verdict.DECLINED, JobState.FAILED)]
)
async def test_a_decision_about_any_of_them_is_one_about_all(
    database: Database, store: JobStore, waiting: list[Job], number: int, verdict: Verdict, state: JobState
) -> None:
    await decide(database, waiting[number], verdict, card_id=5000)

    assert await states(store, waiting) == [state] * 3
    assert {(await read(store, job)).approval_message_id for job in waiting} == {5000}


async def test_it_is_recorded_for_each_and_told_once(database: Database, waiting: list[Job]) -> None:
    await decide(database, waiting[0], Verdict.APPROVED)

    async with database.read() as connection:
        found = await connection.scalars(select(audit_log.c.target_id).order_by(audit_log.c.id))
        assert list(found) == [job.id for job in waiting]
    assert len([text for text in await notified_texts(database, GUILD) if f"<@{MODERATOR}>" in text]) == 1


async def test_one_that_was_cancelled_stays_so(database: Database, store: JobStore, waiting: list[Job]) -> None:
    await store.cancel(waiting[0].id, NOW, even_if_paid=False)

    await decide(database, waiting[0], Verdict.APPROVED)

    assert await states(store, waiting) == [JobState.CANCELLED, JobState.QUEUED, JobState.QUEUED]


async def test_where_all_were_cancelled_there_is_nothing_to_decide(
    database: Database, store: JobStore, waiting: list[Job]
) -> None:
    for job in waiting:
        await store.cancel(job.id, NOW, even_if_paid=False)

    with pytest.raises(NotPossible) as caught:
        await decide(database, waiting[0], Verdict.APPROVED)
    assert caught.value.reason is ApprovalProblem.CANCELLED


async def test_the_second_moderator_learns_who_decided_even_if_the_first_one_was_cancelled(
    database: Database, store: JobStore, waiting: list[Job]
) -> None:
    await store.cancel(waiting[0].id, NOW, even_if_paid=False)
    await decide(database, waiting[0], Verdict.APPROVED)

    with pytest.raises(NotPossible) as caught:
        await decide(database, waiting[0], Verdict.DECLINED, actor_id=78)
    decision = Decision(Verdict.APPROVED, MODERATOR, NOW + MINUTE)
    assert caught.value.reason == AlreadyDecided(decision)


async def test_only_one_of_simultaneous_decisions_is_accepted(
    database: Database, store: JobStore, waiting: list[Job]
) -> None:
    results = await asyncio.gather(
        *(decide(database, job, verdict) for job in waiting for verdict in Verdict), return_exceptions=True
    )

    assert [isinstance(result, Job) for result in results].count(True) == 1
    assert len(set(await states(store, waiting))) == 1


@pytest.mark.parametrize(("places", "state"), [(2, JobState.AWAITING), (3, JobState.QUEUED)])
async def test_they_are_approved_only_if_the_queue_has_room_for_all(
    database: Database, store: JobStore, waiting: list[Job], places: int, state: JobState
) -> None:
    await add(store, user_id=2, guild_id=11)
    await set_operator_state(store, max_queued=1 + places)

    result, *_ = await asyncio.gather(decide(database, waiting[0], Verdict.APPROVED), return_exceptions=True)

    assert isinstance(result, NotPossible) is (state is JobState.AWAITING)
    assert await states(store, waiting) == [state] * 3
