"""Leases that are short because their holder renews them; and moments that a clock set back has left behind."""

from datetime import timedelta

import pytest

from bot.chat.messages.notification_texts import render
from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import JobState, JobUpdate, MoveTo, PauseSubmissions, Reschedule
from bot.domain.notifications import Announcement
from bot.domain.policy import Requester
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.transitions import LONGEST_PAUSE
from bot.store.outbox.notifications import NotificationStore, post
from tests.store.factories import (
    FRAME,
    LEASES,
    MANY,
    MINUTE,
    NO_PAUSE,
    NOW,
    SECOND,
    add,
    add_waiting,
    bring_to,
    claim,
    new_job,
    next_job,
    read,
    set_guild,
)

HOUR = timedelta(hours=1)


@pytest.mark.parametrize("state", JobState)
async def test_a_renewed_lease_holds_anew_in_every_state(store: JobStore, state: JobState) -> None:
    held = await bring_to(store, state)
    assert await store.renew([held], NOW + 50 * SECOND, LEASES) == {held.id}
    assert await store.claim_due(NOW + 109 * SECOND, MANY, LEASES) == []
    assert [job.id for job in await store.claim_due(NOW + 110 * SECOND, MANY, LEASES)] == [held.id]


async def test_a_lease_that_ran_out_is_renewed_while_nobody_took_it(store: JobStore) -> None:
    held = await bring_to(store, JobState.RUNNING)
    assert await store.renew([held], NOW + HOUR, LEASES) == {held.id}
    assert await store.claim_due(NOW + HOUR, MANY, LEASES) == []


async def test_of_many_those_that_were_lost_are_not_renewed(store: JobStore) -> None:
    kept, stolen, written = [await add(store, NOW - number * SECOND) for number in (3, 2, 1)]
    held = {job.id: job for job in await store.claim_due(NOW, MANY, LEASES)}
    await store.apply(held[written.id], Reschedule(NOW + HOUR), NOW)
    await store.renew([held[kept.id]], NOW + 30 * SECOND, LEASES)
    [other_holder] = await store.claim_due(NOW + MINUTE, MANY, LEASES)
    assert await store.renew(list(held.values()), NOW + 70 * SECOND, LEASES) == {kept.id}
    assert await store.next_due_at(NOW + 70 * SECOND, 0) == NOW + 2 * MINUTE, "the other holder's, as it was"
    assert await store.apply(other_holder, Reschedule(None), NOW + 70 * SECOND)
    assert (await read(store, stolen)).due_at is None


async def test_nothing_held_is_nothing_renewed(store: JobStore) -> None:
    assert await store.renew([], NOW, LEASES) == frozenset()


async def test_what_ran_out_may_be_left_to_its_holder_for_a_while(store: JobStore) -> None:
    lost = await bring_to(store, JobState.RUNNING)
    free = await add(store)
    assert [job.id for job in await store.claim_due(NOW + HOUR, MANY, LEASES, expired=False)] == [free.id]
    assert [job.id for job in await store.claim_due(NOW + 10 * SECOND + HOUR, 1, LEASES)] == [lost.id]


async def test_freed_leases_are_due_at_once_and_stay_counted(store: JobStore) -> None:
    submitting = await bring_to(store, JobState.SUBMITTING)
    queued = await add(store)
    await claim(store, queued.id)
    assert await store.free_leases() == 2
    again = {job.id: job.claim_count for job in await store.claim_due(NOW, MANY, LEASES)}
    assert again == {submitting.id: 2, queued.id: 2}
    assert not await store.apply(submitting, MoveTo(JobState.RUNNING, JobUpdate(upstream_id="late")), NOW)


async def test_a_freed_notice_is_looked_for_before_it_is_told_again(store: JobStore, database: Database) -> None:
    board = NotificationStore(database, render)
    async with database.write() as connection:
        await post(connection, 10, Announcement("what happened"), NOW, channel_id=5)
    [first] = await board.claim(NOW, 1, MINUTE)
    await store.free_leases()
    [second] = await board.claim(NOW, 1, MINUTE)
    assert (second.token, second.tried_before) == (first.token, True)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.DELIVERING, JobState.FAILED])
async def test_a_clock_set_back_keeps_nothing_waiting_that_was_to_come_soon(
    store: JobStore, state: JobState
) -> None:
    held = await bring_to(store, state)
    await store.apply(held, Reschedule(NOW + 10 * SECOND), NOW)
    assert await store.next_due_at(NOW - HOUR, 5) == NOW - HOUR
    assert [job.id for job in await store.claim_due(NOW - HOUR, MANY, LEASES)] == [held.id]


async def test_a_clock_set_back_keeps_no_lease_of_the_dead(store: JobStore) -> None:
    held = await bring_to(store, JobState.RUNNING)
    assert [job.id for job in await store.claim_due(NOW - HOUR, MANY, LEASES)] == [held.id]


async def test_a_question_to_moderators_waits_its_day(store: JobStore) -> None:
    await set_guild(store, approval_required=True)
    asked = await claim(store, (await add(store)).id)
    await store.apply(asked, Reschedule(NOW + 24 * HOUR), NOW)
    assert await store.claim_due(NOW + HOUR, MANY, LEASES) == []
    assert (await read(store, asked)).due_at == NOW + 24 * HOUR


@pytest.mark.parametrize("outcome", [Reschedule(NOW + HOUR), MoveTo(JobState.DELIVERING, due_at=NOW + HOUR)])
async def test_nothing_waits_longer_than_the_longest_pause(store: JobStore, outcome: Reschedule | MoveTo) -> None:
    """Or it would be taken for something from before the clock was set back, and looked after without a pause."""
    held = await bring_to(store, JobState.RUNNING)
    await store.apply(held, outcome, NOW)
    assert (await read(store, held)).due_at == NOW + LONGEST_PAUSE
    assert await store.claim_due(NOW + LONGEST_PAUSE - SECOND, MANY, LEASES) == []


async def test_a_clock_set_back_does_not_keep_the_gate_closed(store: JobStore) -> None:
    for user_id in (1, 2):
        await add_waiting(store, user_id=user_id)
    first = await next_job(store)
    assert first is not None
    await store.apply(first, PauseSubmissions(NOW + 5 * SECOND, "busy"), NOW)
    past = NOW - HOUR
    second = await next_job(store, past)
    assert second is not None
    await store.apply(second, PauseSubmissions(past + 5 * SECOND, "busy"), past)
    assert await next_job(store, past + 4 * SECOND) is None
    assert await next_job(store, past + 5 * SECOND) is not None


async def test_a_clock_set_back_keeps_the_pause_between_submissions_from_then_on(store: JobStore) -> None:
    for user_id in (1, 2, 3):
        await add_waiting(store, user_id=user_id)
    assert await store.claim_queued(NOW, 5, SECOND, MINUTE)
    past = NOW - HOUR
    assert await store.claim_queued(past, 5, SECOND, MINUTE)
    assert await store.claim_queued(past, 5, SECOND, MINUTE) is None
    assert await store.claim_queued(past + SECOND, 5, NO_PAUSE, MINUTE)


async def test_a_clock_set_back_keeps_no_notice_waiting(database: Database) -> None:
    board = NotificationStore(database, render)
    async with database.write() as connection:
        await post(connection, 10, Announcement("what happened"), NOW, channel_id=5)
    [batch] = await board.claim(NOW, 1, MINUTE)
    assert await board.claim(NOW - HOUR, 1, MINUTE), "its crier died"
    [batch] = await board.claim(NOW + HOUR, 1, MINUTE)
    await board.reschedule(batch, NOW + HOUR + MINUTE)
    assert await board.claim(NOW, 1, MINUTE)


async def test_a_clock_set_back_keeps_no_member_waiting_out_an_hour(database: Database) -> None:
    store = JobStore(
        database, OperatorDefaults(limits=LimitOverrides(videos_per_window=10, max_active=10, cooldown_s=60))
    )
    for moment in (NOW, NOW - HOUR):
        new = new_job()
        await store.add(new, FRAME, Requester(10, 100, 1), moment)
