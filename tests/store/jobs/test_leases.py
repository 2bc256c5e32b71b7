"""Renewing leases; and stored times that are too far ahead because the clock was set back."""

from datetime import timedelta

import pytest

from bot.chat.messages.notification_texts import render
from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import JobState
from bot.domain.notifications import Announcement
from bot.domain.outcomes import JobUpdate, MoveTo, PauseSubmissions, Reschedule
from bot.domain.policy import Requester
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.transitions import LONGEST_PAUSE
from bot.store.outbox.notifications import NotificationStore, post
from tests.providers_asked import CATALOG, vtrix
from tests.store.factories import (
    FRAME,
    LEASES,
    MANY,
    MINUTE,
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
async def test_a_renewed_lease_is_extended_in_every_state(store: JobStore, state: JobState) -> None:
    held = await bring_to(store, state)
    assert await store.renew([held], NOW + 50 * SECOND, LEASES) == {held.id}
    assert await store.claim_due(NOW + 109 * SECOND, MANY, LEASES) == []
    assert [job.id for job in await store.claim_due(NOW + 110 * SECOND, MANY, LEASES)] == [held.id]


async def test_an_expired_lease_is_renewed_if_nobody_claimed_the_job(store: JobStore) -> None:
    held = await bring_to(store, JobState.RUNNING)
    assert await store.renew([held], NOW + HOUR, LEASES) == {held.id}
    assert await store.claim_due(NOW + HOUR, MANY, LEASES) == []


async def test_lost_leases_in_a_batch_are_not_renewed(store: JobStore) -> None:
    kept, stolen, written = [await add(store, NOW - number * SECOND) for number in (3, 2, 1)]
    held = {job.id: job for job in await store.claim_due(NOW, MANY, LEASES)}
    await store.apply(held[written.id], Reschedule(NOW + HOUR), NOW)
    await store.renew([held[kept.id]], NOW + 30 * SECOND, LEASES)
    [other_holder] = await store.claim_due(NOW + MINUTE, MANY, LEASES)
    assert await store.renew(list(held.values()), NOW + 70 * SECOND, LEASES) == {kept.id}
    assert await store.next_due_at(NOW + 70 * SECOND, vtrix(0)) == NOW + 2 * MINUTE, (
        "the other holder's, as it was"
    )
    assert await store.apply(other_holder, Reschedule(None), NOW + 70 * SECOND)
    assert (await read(store, stolen)).due_at is None


async def test_renewing_no_leases_renews_nothing(store: JobStore) -> None:
    assert await store.renew([], NOW, LEASES) == frozenset()


async def test_a_claim_can_exclude_jobs_with_expired_leases(store: JobStore) -> None:
    lost = await bring_to(store, JobState.RUNNING)
    free = await add(store)
    assert [job.id for job in await store.claim_due(NOW + HOUR, MANY, LEASES, expired=False)] == [free.id]
    assert [job.id for job in await store.claim_due(NOW + 10 * SECOND + HOUR, 1, LEASES)] == [lost.id]


async def test_jobs_with_freed_leases_are_due_at_once_and_keep_their_claim_count(store: JobStore) -> None:
    submitting = await bring_to(store, JobState.SUBMITTING)
    queued = await add(store)
    await claim(store, queued.id)
    assert await store.free_leases() == 2
    again = {job.id: job.claim_count for job in await store.claim_due(NOW, MANY, LEASES)}
    assert again == {submitting.id: 2, queued.id: 2}
    assert not await store.apply(submitting, MoveTo(JobState.RUNNING, JobUpdate(upstream_id="late")), NOW)


async def test_a_notification_with_a_freed_lease_is_marked_as_tried_before(
    store: JobStore, database: Database
) -> None:
    outbox = NotificationStore(database, render)
    async with database.write() as connection:
        await post(connection, 10, Announcement("what happened"), NOW, channel_id=5)
    [first] = await outbox.claim(NOW, 1, MINUTE)
    await store.free_leases()
    [second] = await outbox.claim(NOW, 1, MINUTE)
    assert (second.token, second.tried_before) == (first.token, True)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING, JobState.DELIVERING, JobState.FAILED])
async def test_a_job_due_soon_is_due_at_once_after_the_clock_was_set_back(
    store: JobStore, state: JobState
) -> None:
    held = await bring_to(store, state)
    await store.apply(held, Reschedule(NOW + 10 * SECOND), NOW)
    assert await store.next_due_at(NOW - HOUR, vtrix(5)) == NOW - HOUR
    assert [job.id for job in await store.claim_due(NOW - HOUR, MANY, LEASES)] == [held.id]


async def test_the_lease_of_a_dead_worker_expires_after_the_clock_was_set_back(store: JobStore) -> None:
    held = await bring_to(store, JobState.RUNNING)
    assert [job.id for job in await store.claim_due(NOW - HOUR, MANY, LEASES)] == [held.id]


async def test_a_job_awaiting_approval_can_be_due_a_day_later(store: JobStore) -> None:
    await set_guild(store, approval_required=True)
    asked = await claim(store, (await add(store)).id)
    await store.apply(asked, Reschedule(NOW + 24 * HOUR), NOW)
    assert await store.claim_due(NOW + HOUR, MANY, LEASES) == []
    assert (await read(store, asked)).due_at == NOW + 24 * HOUR


@pytest.mark.parametrize("outcome", [Reschedule(NOW + HOUR), MoveTo(JobState.DELIVERING, due_at=NOW + HOUR)])
async def test_no_job_is_due_later_than_the_longest_pause(store: JobStore, outcome: Reschedule | MoveTo) -> None:
    """A later time would be mistaken for one from before the clock was set back, and be due at once."""
    held = await bring_to(store, JobState.RUNNING)
    await store.apply(held, outcome, NOW)
    assert (await read(store, held)).due_at == NOW + LONGEST_PAUSE
    assert await store.claim_due(NOW + LONGEST_PAUSE - SECOND, MANY, LEASES) == []


async def test_the_longest_pause_is_none_too_long_for_a_worker_whose_clock_is_behind(store: JobStore) -> None:
    held = await bring_to(store, JobState.RUNNING)
    await store.apply(held, Reschedule(NOW + HOUR), NOW)
    behind = NOW - timedelta(milliseconds=5)
    assert await store.claim_due(behind, MANY, LEASES) == []
    assert await store.next_due_at(behind, vtrix(5)) == NOW + LONGEST_PAUSE


async def test_the_gate_does_not_stay_closed_after_the_clock_was_set_back(store: JobStore) -> None:
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


async def test_submissions_are_spaced_again_after_the_clock_was_set_back(store: JobStore) -> None:
    for user_id in (1, 2, 3):
        await add_waiting(store, user_id=user_id)
    assert await store.claim_queued(NOW, vtrix(5, SECOND), MINUTE)
    past = NOW - HOUR
    assert await store.claim_queued(past, vtrix(5, SECOND), MINUTE)
    assert await store.claim_queued(past, vtrix(5, SECOND), MINUTE) is None
    assert await store.claim_queued(past + SECOND, vtrix(5), MINUTE)


async def test_notifications_are_not_delayed_after_the_clock_was_set_back(database: Database) -> None:
    outbox = NotificationStore(database, render)
    async with database.write() as connection:
        await post(connection, 10, Announcement("what happened"), NOW, channel_id=5)
    [batch] = await outbox.claim(NOW, 1, MINUTE)
    assert await outbox.claim(NOW - HOUR, 1, MINUTE), "its sender died"
    [batch] = await outbox.claim(NOW + HOUR, 1, MINUTE)
    await outbox.reschedule(batch, NOW + HOUR + MINUTE)
    assert await outbox.claim(NOW, 1, MINUTE)


async def test_a_cooldown_is_not_extended_after_the_clock_was_set_back(database: Database) -> None:
    store = JobStore(
        database,
        OperatorDefaults(
            catalog=CATALOG, limits=LimitOverrides(videos_per_window=10, max_active=10, cooldown_s=60)
        ),
    )
    for moment in (NOW, NOW - HOUR):
        new = new_job()
        await store.add(new, FRAME, Requester(10, 100, 1), moment)
