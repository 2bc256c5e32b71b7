import asyncio
from collections import Counter
from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from bot.domain.jobs import ENDED, Job, JobState
from bot.domain.outcomes import JobUpdate, MoveTo, Reschedule
from bot.store.engine import Database
from bot.store.jobs.due import GUILD_MAX_IN_PROGRESS, SUSPECT_CLAIMS, DueFor
from bot.store.jobs.job_store import JobStore
from bot.store.schema import jobs
from bot.worker.loop import MAX_CLAIMS
from tests.providers_asked import vtrix
from tests.store.factories import (
    LEASES,
    MANY,
    MINUTE,
    NOW,
    SECOND,
    add,
    add_waiting,
    bring_to,
    claim,
    close_gate,
    next_job,
    read,
)


async def test_nothing_is_claimed_if_nothing_is_due(store: JobStore) -> None:
    await add(store, NOW + SECOND)
    assert await store.claim_due(NOW, MANY, LEASES) == []


async def test_the_jobs_due_longest_are_claimed_first_up_to_the_limit(store: JobStore) -> None:
    late, early, middle = [await add(store, NOW - seconds * SECOND) for seconds in (1, 3, 2)]
    claimed = await store.claim_due(NOW, 2, LEASES)
    assert [job.id for job in claimed] == [early.id, middle.id]
    assert [job.id for job in await store.claim_due(NOW, 2, LEASES)] == [late.id]


async def test_a_claim_returns_the_job_as_stored(store: JobStore) -> None:
    job = await add(store)
    [claimed] = await store.claim_due(NOW, MANY, LEASES)
    assert claimed == await store.get(job.id)
    assert claimed.lease_token is not None
    assert (claimed.claim_count, claimed.due_at) == (1, NOW)


async def test_a_leased_job_is_not_claimed_until_its_lease_expires(store: JobStore) -> None:
    job = await add(store)
    leases = LEASES | {JobState.QUEUED: 3 * MINUTE}
    [first] = await store.claim_due(NOW, MANY, leases)
    assert await store.claim_due(NOW + 3 * MINUTE - SECOND, MANY, leases) == []
    [second] = await store.claim_due(NOW + 3 * MINUTE, MANY, leases)
    assert second.id == job.id
    assert second.lease_token != first.lease_token
    assert second.claim_count == 2


@pytest.mark.parametrize("state", JobState)
async def test_a_job_whose_worker_died_is_claimed_again_in_every_state(store: JobStore, state: JobState) -> None:
    dropped = await bring_to(store, state)
    [again] = await store.claim_due(NOW + MINUTE, MANY, LEASES)
    assert (again.id, again.state, again.claim_count) == (dropped.id, state, 2)
    assert not await store.apply(dropped, Reschedule(None), NOW + MINUTE)
    assert await store.apply(again, Reschedule(None), NOW + MINUTE)


async def test_simultaneous_claims_never_get_the_same_job(store: JobStore) -> None:
    added = {(await add(store)).id for _ in range(40)}
    batches = await asyncio.gather(*(store.claim_due(NOW, 7, LEASES) for _ in range(10)))
    claimed = [job.id for batch in batches for job in batch]
    assert len(claimed) == len(set(claimed))
    claimed += [job.id for job in await store.claim_due(NOW, MANY, LEASES)]
    assert Counter(claimed) == Counter(added)


async def test_servers_take_turns_however_long_the_jobs_of_one_have_been_due(store: JobStore) -> None:
    many = [await add(store, NOW - (100 - number) * SECOND, guild_id=10) for number in range(40)]
    other = [await add(store, NOW - number * SECOND, guild_id=11) for number in (2, 1)]
    claimed = await store.claim_due(NOW, 6, LEASES)
    alternating = [many[0], other[0], many[1], other[1], many[2], many[3]]
    assert [job.id for job in claimed] == [job.id for job in alternating]


async def test_no_more_jobs_of_a_server_with_many_in_progress_are_claimed_until_some_end(store: JobStore) -> None:
    """They would wait for Discord's rate limit of its channel, and occupy all of the worker's slots."""
    for number in range(GUILD_MAX_IN_PROGRESS + 5):
        await add(store, NOW - number * SECOND, guild_id=10)
    held = await store.claim_due(NOW, GUILD_MAX_IN_PROGRESS, LEASES)
    assert await store.claim_due(NOW, MANY, LEASES, held) == []
    other = await add(store, guild_id=11)
    assert [job.id for job in await store.claim_due(NOW, MANY, LEASES, held)] == [other.id]
    assert len(await store.claim_due(NOW, MANY, LEASES, held[1:])) == 5


async def test_a_single_server_can_use_all_slots(store: JobStore) -> None:
    for _ in range(32):
        await add(store)
    assert len(await store.claim_due(NOW, 32, LEASES)) == 32


async def test_simultaneous_claims_of_one_servers_jobs_each_get_a_full_batch(store: JobStore) -> None:
    for _ in range(64):
        await add(store)
    batches = await asyncio.gather(*(store.claim_due(NOW, 32, LEASES) for _ in range(2)))
    assert [len(batch) for batch in batches] == [32, 32]


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_a_claim_skips_rows_locked_by_another_transaction(store: JobStore, database: Database) -> None:
    first, second = await add(store, NOW - SECOND), await add(store)
    async with database.write() as connection:
        await connection.execute(jobs.select().where(jobs.c.id == first.id).with_for_update())
        assert [job.id for job in await store.claim_due(NOW, MANY, LEASES)] == [second.id]


async def test_released_jobs_are_due_at_once_and_count_an_interrupted_attempt(store: JobStore) -> None:
    for _ in range(3):
        await add(store)
    claimed = await store.claim_due(NOW, MANY, LEASES)
    await store.release(claimed)
    again = await store.claim_due(NOW, MANY, LEASES)
    assert {job.id for job in again} == {job.id for job in claimed}
    assert {(job.claim_count, job.attempts) for job in again} == {(1, 1)}


async def test_a_job_released_while_submitting_keeps_its_state_and_claim_count(store: JobStore) -> None:
    held = await bring_to(store, JobState.SUBMITTING)
    await store.release([held])
    [again] = await store.claim_due(NOW, MANY, LEASES)
    assert (again.state, again.claim_count) == (JobState.SUBMITTING, 2)


async def test_releasing_affects_only_leases_that_are_still_held(store: JobStore) -> None:
    await add(store)
    [lost] = await store.claim_due(NOW, MANY, LEASES)
    [held] = await store.claim_due(NOW + MINUTE, MANY, LEASES)
    await store.release([lost])
    assert await store.get(held.id) == held
    await store.release([])


async def test_claiming_a_queued_job_moves_it_to_submitting(store: JobStore) -> None:
    waiting = await add_waiting(store)
    later = NOW + MINUTE
    job = await store.claim_queued(later, vtrix(1), MINUTE)
    assert job is not None
    assert job == await store.get(waiting.id)
    assert job.lease_token is not None
    assert (job.state, job.state_changed_at, job.due_at) == (JobState.SUBMITTING, later, later)
    assert (job.claim_count, job.attempts) == (1, 0)
    assert await store.claim_due(later, MANY, LEASES) == []


async def test_a_job_is_not_submitted_before_its_status_message_is_posted(store: JobStore) -> None:
    job = await add(store)
    assert await next_job(store) is None
    held = await claim(store, job.id)
    assert await next_job(store) is None
    await store.apply(held, Reschedule(NOW + MINUTE, attempt=True), NOW)
    assert await next_job(store) is None
    await store.apply(
        await claim(store, job.id, NOW + MINUTE), Reschedule(None, JobUpdate(status_message_id=5)), NOW
    )
    following = await next_job(store)
    assert following is not None
    assert (following.id, following.status_message_id) == (job.id, 5)


async def test_a_closed_gate_keeps_all_jobs_queued_until_it_opens(store: JobStore) -> None:
    await add_waiting(store)
    await close_gate(store, NOW + MINUTE, "no balance", NOW)
    assert await next_job(store, NOW + MINUTE - SECOND) is None
    assert await next_job(store, NOW + MINUTE) is not None


async def test_submissions_are_spaced_by_the_given_pause(store: JobStore) -> None:
    for _ in range(3):
        await add_waiting(store)
    half = timedelta(milliseconds=500)
    assert await store.claim_queued(NOW, vtrix(MANY, half), MINUTE) is not None
    assert await store.claim_queued(NOW + half - timedelta(microseconds=1), vtrix(MANY, half), MINUTE) is None
    assert await store.claim_queued(NOW + half, vtrix(MANY, half), MINUTE) is not None


async def test_claiming_from_an_empty_queue_starts_no_pause(store: JobStore) -> None:
    assert await store.claim_queued(NOW, vtrix(MANY, MINUTE), MINUTE) is None
    await add_waiting(store)
    assert await store.claim_queued(NOW, vtrix(MANY, MINUTE), MINUTE) is not None


async def test_no_more_jobs_run_than_the_upstream_allows(store: JobStore) -> None:
    await bring_to(store, JobState.RUNNING)
    await bring_to(store, JobState.SUBMITTING)
    await add_waiting(store)
    assert await next_job(store, max_running=2) is None
    assert await next_job(store, max_running=3) is not None


@pytest.mark.parametrize("state", [JobState.DELIVERING, *sorted(ENDED)])
async def test_a_slot_is_free_once_the_task_has_ended(store: JobStore, state: JobState) -> None:
    await bring_to(store, state)
    await add_waiting(store)
    assert await next_job(store, max_running=1) is not None


async def test_the_next_slot_goes_to_the_member_with_the_fewest_tasks_then_to_the_oldest_job(
    store: JobStore,
) -> None:
    of_first_member = [await add_waiting(store, NOW + number * SECOND, user_id=1) for number in range(3)]
    second = await add_waiting(store, NOW + 10 * SECOND, user_id=2)
    third = await add_waiting(store, NOW + 11 * SECOND, user_id=3, guild_id=11)
    order = [await next_job(store, NOW + MINUTE) for _ in range(5)]
    expected = [of_first_member[0], second, third, of_first_member[1], of_first_member[2]]
    assert [job.id for job in order if job is not None] == [job.id for job in expected]


async def test_a_members_slots_are_counted_across_servers(store: JobStore) -> None:
    first = await add_waiting(store, user_id=1, guild_id=10)
    elsewhere = await add_waiting(store, NOW + SECOND, user_id=1, guild_id=11)
    other = await add_waiting(store, NOW + 2 * SECOND, user_id=2, guild_id=10)
    order = [await next_job(store, NOW + MINUTE) for _ in range(3)]
    assert [job.id for job in order if job is not None] == [first.id, other.id, elsewhere.id]


async def test_simultaneous_claims_never_exceed_the_upstreams_limit(store: JobStore) -> None:
    for number in range(12):
        await add_waiting(store, user_id=number)
    taken = await asyncio.gather(*(next_job(store, max_running=5) for _ in range(20)))
    claimed = [job.id for job in taken if job is not None]
    assert len(claimed) == len(set(claimed)) == 5
    everyone = [await store.recent(10, number, 5) for number in range(12)]
    assert sum(job.state is JobState.SUBMITTING for theirs in everyone for job in theirs) == 5


async def test_there_is_no_next_due_time_if_no_job_waits(store: JobStore) -> None:
    assert await store.next_due_at(NOW, vtrix(5)) is None
    held = await bring_to(store, JobState.DELIVERED)
    await store.apply(held, Reschedule(None), NOW)
    assert await store.next_due_at(NOW, vtrix(5)) is None


async def test_the_next_due_time_is_when_a_due_or_leased_job_can_be_claimed(store: JobStore) -> None:
    await add(store, NOW + 5 * SECOND)
    assert await store.next_due_at(NOW, vtrix(5)) == NOW + 5 * SECOND
    await store.claim_due(NOW + 5 * SECOND, MANY, LEASES)
    assert await store.next_due_at(NOW, vtrix(5)) == NOW + 5 * SECOND + MINUTE
    await add(store, NOW - SECOND)
    assert await store.next_due_at(NOW, vtrix(5)) == NOW - SECOND


async def test_the_next_due_time_of_a_queued_job_depends_on_pause_gate_and_slots(store: JobStore) -> None:
    await add_waiting(store)
    await add_waiting(store)
    assert await store.next_due_at(NOW, vtrix(5)) == NOW
    submitting = await store.claim_queued(NOW, vtrix(5, 2 * SECOND), MINUTE)
    assert submitting is not None
    assert await store.next_due_at(NOW, vtrix(5)) == NOW + 2 * SECOND
    taken = JobUpdate(upstream_id="task-1", submitted_at=NOW)
    assert await store.apply(submitting, MoveTo(JobState.RUNNING, taken, due_at=NOW + MINUTE), NOW)
    await close_gate(store, NOW + 3 * SECOND, "rate limit", NOW)
    assert await store.next_due_at(NOW, vtrix(5)) == NOW + 3 * SECOND
    assert await store.next_due_at(NOW + 4 * SECOND, vtrix(5)) == NOW + 4 * SECOND
    assert await store.next_due_at(NOW, vtrix(1)) == NOW + MINUTE


async def test_a_job_can_be_claimed_exactly_at_the_next_due_time(store: JobStore) -> None:
    held = await bring_to(store, JobState.RUNNING)
    await store.apply(held, Reschedule(NOW + 7 * SECOND), NOW)
    due_at = await store.next_due_at(NOW, vtrix(5))
    assert due_at is not None
    assert await store.claim_due(due_at - SECOND, MANY, LEASES) == []
    assert [job.id for job in await store.claim_due(due_at, MANY, LEASES)] == [held.id]


async def test_a_requeued_job_can_be_claimed_again(store: JobStore) -> None:
    held = await bring_to(store, JobState.SUBMITTING)
    await store.apply(held, MoveTo(JobState.QUEUED), NOW)
    assert (await read(store, held)).due_at is None
    again = await next_job(store)
    assert again is not None
    assert (again.id, again.claim_count) == (held.id, 1)


async def test_jobs_the_claimer_still_works_on_are_never_claimed_by_it_again(store: JobStore) -> None:
    await add(store)
    claimed = await store.claim_due(NOW, MANY, LEASES)
    assert await store.claim_due(NOW + 1000 * MINUTE, MANY, LEASES, claimed) == []
    assert await store.claim_due(NOW + 1000 * MINUTE, MANY, LEASES) != []


async def test_jobs_whose_workers_died_twice_are_claimed_one_at_a_time(store: JobStore) -> None:
    for _ in range(3):
        await add(store)
    now = NOW
    for _ in range(2):
        assert len(await store.claim_due(now, MANY, LEASES)) == 3
        now += 1000 * MINUTE
    fresh = await add(store, now)

    claimed = await store.claim_due(now, MANY, LEASES)

    assert sorted(job.claim_count for job in claimed) == [1, 3]
    assert fresh.id in {job.id for job in claimed}
    assert await store.claim_due(now, MANY, LEASES, claimed) == []
    await store.apply(next(job for job in claimed if job.claim_count == 3), Reschedule(None), now)
    assert [job.claim_count for job in await store.claim_due(now, MANY, LEASES)] == [3]


async def add_running(store: JobStore, count: int) -> list[str]:
    """Running jobs that are due to be polled, in that order."""
    ids = [(await add(store, NOW - (count - number) * SECOND)).id for number in range(count)]
    async with store._db.write() as connection:
        await connection.execute(update(jobs).values(state=JobState.RUNNING, upstream_id="task-1"))
    return ids


async def claim_polls(store: JobStore, now: datetime) -> list[Job]:
    return await store.claim_due(now, MANY, LEASES, kinds=(DueFor.POLL,))


async def test_polls_during_which_workers_died_are_claimed_in_ever_smaller_groups(store: JobStore) -> None:
    await add_running(store, 70)
    groups = []
    for death in range(6):
        claimed = await claim_polls(store, NOW + death * MINUTE)
        groups.append(Counter(job.claim_count for job in claimed))
    assert groups == [{1: 70}, {2: 70}, {3: 64}, {4: 8}, {5: 1}, {6: 1}]


async def test_while_a_group_of_suspected_polls_is_under_way_no_other_is_claimed(store: JobStore) -> None:
    await add_running(store, 70)
    for death in range(SUSPECT_CLAIMS):
        await claim_polls(store, NOW + death * MINUTE)
    now = NOW + SUSPECT_CLAIMS * MINUTE
    group = await claim_polls(store, now)
    assert await store.claim_due(now, MANY, LEASES, group, kinds=(DueFor.POLL,)) == []
    await store.reschedule([(job, Reschedule(now + MINUTE)) for job in group], now)
    assert len(await claim_polls(store, now)) == 6


async def test_a_poll_that_kills_its_workers_takes_no_other_with_it(store: JobStore) -> None:
    deadly = (await add_running(store, 70))[66]
    now, deaths, others = NOW, 0, [0]
    for _ in range(100):
        claimed = await claim_polls(store, now)
        if deadly in {job.id for job in claimed}:
            deaths += 1
            now += MINUTE
        else:
            await store.reschedule([(job, Reschedule(now + SECOND)) for job in claimed], now)
            now += SECOND
        others += [job.claim_count for job in claimed if job.id != deadly]
        if deaths > MAX_CLAIMS:
            break
    assert deaths > MAX_CLAIMS >= max(others)


async def test_a_job_whose_workers_died_is_still_claimed_among_many_others(store: JobStore) -> None:
    suspect = await add(store)
    for round_ in range(SUSPECT_CLAIMS):
        assert await store.claim_due(NOW + round_ * MINUTE, 1, LEASES)
    now = NOW + SUSPECT_CLAIMS * MINUTE
    for guild_id in range(20, 24):
        await add(store, now, guild_id=guild_id)
    claimed = await store.claim_due(now, 4, LEASES)
    assert len(claimed) == 4
    assert suspect.id in {job.id for job in claimed}
