import asyncio
import re
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event

from bot.domain.jobs import ENDED, JobState, JobUpdate, MoveTo, Reschedule
from bot.domain.policy import Requester
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.leasing import GUILD_MAX_IN_PROGRESS, SUSPECT_CLAIMS
from bot.store.schema import jobs
from tests.store.factories import (
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
    close_gate,
    next_job,
    read,
)

pytestmark = pytest.mark.both_databases


async def test_nothing_is_claimed_where_nothing_is_due(store: JobStore) -> None:
    await add(store, NOW + SECOND)
    assert await store.claim_due(NOW, MANY, LEASES) == []


async def test_the_longest_due_come_first_and_no_more_than_asked_for(store: JobStore) -> None:
    late, early, middle = [await add(store, NOW - seconds * SECOND) for seconds in (1, 3, 2)]
    claimed = await store.claim_due(NOW, 2, LEASES)
    assert [job.id for job in claimed] == [early.id, middle.id]
    assert [job.id for job in await store.claim_due(NOW, 2, LEASES)] == [late.id]


async def test_a_claim_says_what_the_row_holds(store: JobStore) -> None:
    job = await add(store)
    [claimed] = await store.claim_due(NOW, MANY, LEASES)
    assert claimed == await store.get(job.id)
    assert claimed.lease_token is not None
    assert (claimed.claim_count, claimed.due_at) == (1, NOW)


async def test_a_held_row_is_not_claimed_until_its_lease_is_over(store: JobStore) -> None:
    job = await add(store)
    leases = LEASES | {JobState.QUEUED: 3 * MINUTE}
    [first] = await store.claim_due(NOW, MANY, leases)
    assert await store.claim_due(NOW + 3 * MINUTE - SECOND, MANY, leases) == []
    [second] = await store.claim_due(NOW + 3 * MINUTE, MANY, leases)
    assert second.id == job.id
    assert second.lease_token != first.lease_token
    assert second.claim_count == 2


@pytest.mark.parametrize("state", JobState)
async def test_a_row_whose_worker_died_is_due_again_in_every_state(store: JobStore, state: JobState) -> None:
    dropped = await bring_to(store, state)
    [again] = await store.claim_due(NOW + MINUTE, MANY, LEASES)
    assert (again.id, again.state, again.claim_count) == (dropped.id, state, 2)
    assert not await store.apply(dropped, Reschedule(None), NOW + MINUTE)
    assert await store.apply(again, Reschedule(None), NOW + MINUTE)


async def test_simultaneous_claimers_never_get_the_same_row(store: JobStore) -> None:
    added = {(await add(store)).id for _ in range(40)}
    batches = await asyncio.gather(*(store.claim_due(NOW, 7, LEASES) for _ in range(10)))
    claimed = [job.id for batch in batches for job in batch]
    assert len(claimed) == len(set(claimed))
    claimed += [job.id for job in await store.claim_due(NOW, MANY, LEASES)]
    assert Counter(claimed) == Counter(added)


async def test_servers_take_turns_however_long_one_of_them_waits(store: JobStore) -> None:
    many = [await add(store, NOW - (100 - number) * SECOND, guild_id=10) for number in range(40)]
    other = [await add(store, NOW - number * SECOND, guild_id=11) for number in (2, 1)]
    claimed = await store.claim_due(NOW, 6, LEASES)
    in_turn = [many[0], other[0], many[1], other[1], many[2], many[3]]
    assert [job.id for job in claimed] == [job.id for job in in_turn]


async def test_a_server_with_many_steps_under_way_is_given_no_more_until_they_end(store: JobStore) -> None:
    """Its channel takes a message a second: its steps would wait there, one in each place that there is."""
    for number in range(GUILD_MAX_IN_PROGRESS + 5):
        await add(store, NOW - number * SECOND, guild_id=10)
    held = await store.claim_due(NOW, GUILD_MAX_IN_PROGRESS, LEASES)
    assert await store.claim_due(NOW, MANY, LEASES, held) == []
    other = await add(store, guild_id=11)
    assert [job.id for job in await store.claim_due(NOW, MANY, LEASES, held)] == [other.id]
    assert len(await store.claim_due(NOW, MANY, LEASES, held[1:])) == 5


async def test_a_server_alone_gets_all_the_places(store: JobStore) -> None:
    for _ in range(32):
        await add(store)
    assert len(await store.claim_due(NOW, 32, LEASES)) == 32


async def test_simultaneous_claimers_leave_nothing_of_one_servers(store: JobStore) -> None:
    for _ in range(64):
        await add(store)
    batches = await asyncio.gather(*(store.claim_due(NOW, 32, LEASES) for _ in range(2)))
    assert [len(batch) for batch in batches] == [32, 32]


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
async def test_a_claimer_steps_over_rows_that_another_is_at(store: JobStore, database: Database) -> None:
    first, second = await add(store, NOW - SECOND), await add(store)
    async with database.write() as connection:
        await connection.execute(jobs.select().where(jobs.c.id == first.id).with_for_update())
        assert [job.id for job in await store.claim_due(NOW, MANY, LEASES)] == [second.id]


async def test_rows_given_back_are_due_at_once_as_an_attempt_that_was_broken_off(store: JobStore) -> None:
    for _ in range(3):
        await add(store)
    claimed = await store.claim_due(NOW, MANY, LEASES)
    await store.release(claimed)
    again = await store.claim_due(NOW, MANY, LEASES)
    assert {job.id for job in again} == {job.id for job in claimed}
    assert {(job.claim_count, job.attempts) for job in again} == {(1, 1)}


async def test_a_job_given_back_while_it_was_handed_in_still_says_so(store: JobStore) -> None:
    held = await bring_to(store, JobState.SUBMITTING)
    await store.release([held])
    [again] = await store.claim_due(NOW, MANY, LEASES)
    assert (again.state, again.claim_count) == (JobState.SUBMITTING, 2)


async def test_giving_back_touches_only_what_is_still_held(store: JobStore) -> None:
    await add(store)
    [lost] = await store.claim_due(NOW, MANY, LEASES)
    [held] = await store.claim_due(NOW + MINUTE, MANY, LEASES)
    await store.release([lost])
    assert await store.get(held.id) == held
    await store.release([])


async def test_the_next_job_is_moved_before_it_is_handed_over(store: JobStore) -> None:
    waiting = await add_waiting(store)
    later = NOW + MINUTE
    job = await store.claim_queued(later, 1, NO_PAUSE, MINUTE)
    assert job is not None
    assert job == await store.get(waiting.id)
    assert job.lease_token is not None
    assert (job.state, job.state_changed_at, job.due_at) == (JobState.SUBMITTING, later, later)
    assert (job.claim_count, job.attempts) == (1, 0)
    assert await store.claim_due(later, MANY, LEASES) == []


async def test_a_job_whose_status_is_not_shown_yet_is_not_handed_in(store: JobStore) -> None:
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


async def test_submissions_keep_their_pause(store: JobStore) -> None:
    for _ in range(3):
        await add_waiting(store)
    half = timedelta(milliseconds=500)
    assert await store.claim_queued(NOW, MANY, half, MINUTE) is not None
    assert await store.claim_queued(NOW + half - timedelta(microseconds=1), MANY, half, MINUTE) is None
    assert await store.claim_queued(NOW + half, MANY, half, MINUTE) is not None


async def test_an_empty_queue_costs_no_pause(store: JobStore) -> None:
    assert await store.claim_queued(NOW, MANY, MINUTE, MINUTE) is None
    await add_waiting(store)
    assert await store.claim_queued(NOW, MANY, MINUTE, MINUTE) is not None


async def test_no_more_run_than_the_upstream_takes(store: JobStore) -> None:
    await bring_to(store, JobState.RUNNING)
    await bring_to(store, JobState.SUBMITTING)
    await add_waiting(store)
    assert await next_job(store, max_running=2) is None
    assert await next_job(store, max_running=3) is not None


@pytest.mark.parametrize("state", [JobState.DELIVERING, *sorted(ENDED)])
async def test_a_slot_is_free_once_the_task_is_over(store: JobStore, state: JobState) -> None:
    await bring_to(store, state)
    await add_waiting(store)
    assert await next_job(store, max_running=1) is not None


async def test_the_next_slot_goes_to_the_member_with_the_fewest_then_to_the_oldest(store: JobStore) -> None:
    eager = [await add_waiting(store, NOW + number * SECOND, user_id=1) for number in range(3)]
    second = await add_waiting(store, NOW + 10 * SECOND, user_id=2)
    third = await add_waiting(store, NOW + 11 * SECOND, user_id=3, guild_id=11)
    order = [await next_job(store, NOW + MINUTE) for _ in range(5)]
    expected = [eager[0], second, third, eager[1], eager[2]]
    assert [job.id for job in order if job is not None] == [job.id for job in expected]


async def test_a_member_is_one_across_servers(store: JobStore) -> None:
    first = await add_waiting(store, user_id=1, guild_id=10)
    elsewhere = await add_waiting(store, NOW + SECOND, user_id=1, guild_id=11)
    other = await add_waiting(store, NOW + 2 * SECOND, user_id=2, guild_id=10)
    order = [await next_job(store, NOW + MINUTE) for _ in range(3)]
    assert [job.id for job in order if job is not None] == [first.id, other.id, elsewhere.id]


async def test_simultaneous_claimers_never_pass_the_upstreams_limit(store: JobStore) -> None:
    for number in range(12):
        await add_waiting(store, user_id=number)
    taken = await asyncio.gather(*(next_job(store, max_running=5) for _ in range(20)))
    claimed = [job.id for job in taken if job is not None]
    assert len(claimed) == len(set(claimed)) == 5
    everyone = [await store.recent(10, number, 5) for number in range(12)]
    assert sum(job.state is JobState.SUBMITTING for theirs in everyone for job in theirs) == 5


async def test_nothing_is_next_where_nothing_waits(store: JobStore) -> None:
    assert await store.next_due_at(NOW, 5) is None
    held = await bring_to(store, JobState.DELIVERED)
    await store.apply(held, Reschedule(None), NOW)
    assert await store.next_due_at(NOW, 5) is None


async def test_what_is_due_or_held_is_next_when_it_can_be_claimed(store: JobStore) -> None:
    await add(store, NOW + 5 * SECOND)
    assert await store.next_due_at(NOW, 5) == NOW + 5 * SECOND
    await store.claim_due(NOW + 5 * SECOND, MANY, LEASES)
    assert await store.next_due_at(NOW, 5) == NOW + 5 * SECOND + MINUTE
    await add(store, NOW - SECOND)
    assert await store.next_due_at(NOW, 5) == NOW - SECOND


async def test_a_waiting_job_is_next_when_it_may_pass(store: JobStore) -> None:
    await add_waiting(store)
    await add_waiting(store)
    assert await store.next_due_at(NOW, 5) == NOW
    submitting = await store.claim_queued(NOW, 5, 2 * SECOND, MINUTE)
    assert submitting is not None
    assert await store.next_due_at(NOW, 5) == NOW + 2 * SECOND
    taken = JobUpdate(upstream_id="task-1", submitted_at=NOW)
    assert await store.apply(submitting, MoveTo(JobState.RUNNING, taken, due_at=NOW + MINUTE), NOW)
    await close_gate(store, NOW + 3 * SECOND, "rate limit", NOW)
    assert await store.next_due_at(NOW, 5) == NOW + 3 * SECOND
    assert await store.next_due_at(NOW + 4 * SECOND, 5) == NOW + 4 * SECOND
    assert await store.next_due_at(NOW, 1) == NOW + MINUTE


async def test_what_next_due_at_promises_can_be_claimed_then(store: JobStore) -> None:
    held = await bring_to(store, JobState.RUNNING)
    await store.apply(held, Reschedule(NOW + 7 * SECOND), NOW)
    due_at = await store.next_due_at(NOW, 5)
    assert due_at is not None
    assert await store.claim_due(due_at - SECOND, MANY, LEASES) == []
    assert [job.id for job in await store.claim_due(due_at, MANY, LEASES)] == [held.id]


FILL = """
    INSERT INTO jobs (id, state, guild_id, channel_id, user_id, prompt, resolution, prompt_extend, watermark,
                      created_at, state_changed_at, charged, cancel_requested, attempts, claim_count)
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count})
    SELECT 'old-' || n, 'delivered', n % 7, 100, n % 1000, 'a fox', '720P', {yes}, {no},
           {at}, {at}, {yes}, {no}, 0, 0
    FROM numbers
"""


@pytest.fixture
def statements(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """Whatever is sent to the database, with its values."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        sent.append((statement, parameters))

    event.listen(database._engine.sync_engine, "before_cursor_execute", note)
    yield sent
    event.remove(database._engine.sync_engine, "before_cursor_execute", note)


async def test_the_loop_never_reads_the_many_rows_that_are_over(
    store: JobStore, database: Database, kind: str, statements: list[tuple[str, Any]]
) -> None:
    yes, no = ("1", "0") if kind == "sqlite" else ("TRUE", "FALSE")
    fill = FILL.format(count=20_000, at="'2026-01-01T00:00:00.000000Z'", yes=yes, no=no)
    async with database.write() as connection:
        await connection.exec_driver_sql(fill)
    for number in range(20):
        await add(store, user_id=number)
    greeted = await store.claim_due(NOW, 15, LEASES)
    await store.reschedule([(job, Reschedule(None)) for job in greeted], NOW)
    async with database.write() as connection:
        await connection.exec_driver_sql("ANALYZE")

    statements.clear()
    [*_, job] = await store.claim_due(NOW, 32, LEASES)
    await store.claim_queued(NOW, 5, NO_PAUSE, MINUTE)
    await store.next_due_at(NOW, 5)
    await store.apply(job, Reschedule(None), NOW)
    await store.allowance(Requester(10, 100, 1), NOW)
    await store.recent(10, 1, 10)
    asked = [sent for sent in statements if re.match(r"(SELECT|UPDATE) .*\bjobs\b", sent[0], re.DOTALL)]
    assert len(asked) >= 10

    explain = "EXPLAIN QUERY PLAN" if kind == "sqlite" else "EXPLAIN"
    for statement, parameters in asked:
        async with database.read() as connection:
            plan = "\n".join(
                str(row) for row in await connection.exec_driver_sql(f"{explain} {statement}", parameters)
            )
        # A partial index may be read from end to end: it holds only what is alive.
        assert not re.search(
            r"Seq Scan on jobs|SCAN jobs(?! USING (COVERING )?INDEX ix_jobs_(due_at|active))", plan
        ), f"{statement}\n{plan}"


async def test_a_job_back_in_the_queue_waits_for_its_turn_again(store: JobStore) -> None:
    held = await bring_to(store, JobState.SUBMITTING)
    await store.apply(held, MoveTo(JobState.QUEUED), NOW)
    assert (await read(store, held)).due_at is None
    again = await next_job(store)
    assert again is not None
    assert (again.id, again.claim_count) == (held.id, 1)


async def test_what_the_claimer_still_works_on_is_left_to_it_whatever_the_clock_says(store: JobStore) -> None:
    await add(store)
    claimed = await store.claim_due(NOW, MANY, LEASES)
    assert await store.claim_due(NOW + 1000 * MINUTE, MANY, LEASES, claimed) == []
    assert await store.claim_due(NOW + 1000 * MINUTE, MANY, LEASES) != []


async def test_jobs_that_workers_died_over_twice_are_tried_one_at_a_time(store: JobStore) -> None:
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


async def test_a_job_that_workers_died_over_has_its_turn_among_many_others(store: JobStore) -> None:
    suspect = await add(store)
    for round_ in range(SUSPECT_CLAIMS):
        assert await store.claim_due(NOW + round_ * MINUTE, 1, LEASES)
    now = NOW + SUSPECT_CLAIMS * MINUTE
    for guild_id in range(20, 24):
        await add(store, now, guild_id=guild_id)
    claimed = await store.claim_due(now, 4, LEASES)
    assert len(claimed) == 4
    assert suspect.id in {job.id for job in claimed}
