"""When those who wait are told that the submission gate closed: not for moments, and not again and again."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import update

from bot.domain.jobs import Job, JobState, JobUpdate, NewJob, Order, PauseSubmissions, Reschedule, new_job_id
from bot.domain.policy import Requester
from bot.store.jobs import submission_gate, transitions
from bot.store.jobs.job_store import JobStore
from bot.store.schema import jobs
from tests.fakes import FRAME, NOW
from tests.store.factories import bring_to


@pytest.mark.parametrize(
    ("pauses_s", "told"),
    [
        ((5, 10, 20, 40, 300), [False, False, True, False, False]),
        ((900, 900, 900, 900), [True, True, True, False]),
        ((5, 900), [False, True]),
    ],
)
async def test_a_closure_is_told_when_it_is_long_or_keeps_coming_back(
    store: JobStore, pauses_s: tuple[int, ...], told: list[bool]
) -> None:
    now, news = NOW, []
    for pause_s in pauses_s:
        until = now + timedelta(seconds=pause_s)
        async with store._db.write() as connection:
            news.append(await submission_gate.close(connection, until, "busy", now))
        now = until

    assert news == told


async def test_what_fails_while_it_is_closed_is_no_news(store: JobStore) -> None:
    until = NOW + timedelta(minutes=10)
    async with store._db.write() as connection:
        assert await submission_gate.close(connection, until, "busy", NOW)
        assert not await submission_gate.close(connection, until, "busy", NOW)


async def test_an_order_waits_for_the_service_while_the_gate_is_closed_or_keeps_closing(store: JobStore) -> None:
    now, waits = NOW, []
    for _ in range(submission_gate.ALERT_AFTER):
        until = now + timedelta(seconds=5)
        async with store._db.write() as connection:
            await submission_gate.close(connection, until, "busy", now)
        gate = await store.gate()
        waits.append((gate.keeps_orders_waiting(now), gate.keeps_orders_waiting(until)))
        now = until

    assert waits == [(True, False), (True, False), (True, True)]


async def order(store: JobStore, **columns: object) -> Job:
    new = NewJob(new_job_id(), 10, 100, 1, Order("a fox"))
    job = await store.add(new, FRAME, Requester(10, 100, 1), NOW)
    async with store._db.write() as connection:
        values = {"due_at": None, "status_message_id": 5} | columns
        await connection.execute(update(jobs).where(jobs.c.id == job.id).values(values))
    return job


async def due_times(store: JobStore, *job_ids: str) -> list[datetime | None]:
    return [job.due_at for job_id in job_ids if (job := await store.get(job_id)) is not None]


@pytest.mark.parametrize("closed", [True, False])
async def test_only_queued_jobs_that_show_the_opposite_are_shown_anew(store: JobStore, *, closed: bool) -> None:
    later = NOW + timedelta(minutes=1)
    opposite = {"status_says_closed": not closed}
    expected = {
        (await order(store, **opposite)).id: later,
        (await order(store, status_says_closed=closed)).id: None,
        (await order(store, status_says_closed=None)).id: later if closed else None,
        (await order(store, status_message_id=None, **opposite)).id: None,
        (await order(store, due_at=NOW, **opposite)).id: NOW,
        (await order(store, state=JobState.SUBMITTING, **opposite)).id: None,
        (await order(store, state=JobState.FAILED, **opposite)).id: None,
    }

    async with store._db.write() as connection:
        await transitions.show_queued_anew(connection, later, service_closed=closed)

    assert await due_times(store, *expected) == list(expected.values())


@pytest.mark.parametrize("said_closed", [True, False])
async def test_a_gate_that_changed_while_a_message_was_shown_is_shown_again(
    store: JobStore, *, said_closed: bool
) -> None:
    another = await order(store, status_says_closed=said_closed)
    await order(store, due_at=NOW)
    [job] = await store.claim_due(NOW, 1, dict.fromkeys(JobState, timedelta(minutes=1)), [])
    if not said_closed:
        async with store._db.write() as connection:
            await submission_gate.close(connection, NOW + timedelta(seconds=20), "busy", NOW)

    said = JobUpdate(status_says_closed=said_closed)
    assert await store.reschedule([(job, Reschedule(None, said))], NOW) == 1
    assert await due_times(store, job.id, another.id) == [NOW, None]


async def test_a_gate_that_is_still_as_a_message_says_is_not_shown_again(store: JobStore) -> None:
    await order(store, due_at=NOW)
    [job] = await store.claim_due(NOW, 1, dict.fromkeys(JobState, timedelta(minutes=1)), [])

    await store.reschedule([(job, Reschedule(None, JobUpdate(status_says_closed=False)))], NOW)

    assert await due_times(store, job.id) == [None]


async def test_a_success_beside_a_failure_that_closed_the_gate_shows_nothing_anew(store: JobStore) -> None:
    waiting = await order(store, status_says_closed=True)
    async with store._db.write() as connection:
        await submission_gate.close(connection, NOW + timedelta(minutes=10), "busy", NOW)

    await store.open_gate(NOW + timedelta(minutes=1))
    assert await due_times(store, waiting.id) == [None]

    later = NOW + timedelta(minutes=10)
    await store.open_gate(later)
    assert await due_times(store, waiting.id) == [later]


async def test_of_those_shown_anew_the_oldest_order_comes_first(store: JobStore) -> None:
    """So that they are submitted in their order: one that is due waits for its status message."""
    seconds = [5, 0, 3, 1, 4, 2]
    ordered = [
        await order(store, due_at=NOW, created_at=NOW + timedelta(seconds=number), status_says_closed=True)
        for number in seconds
    ]

    claimed = await store.claim_due(NOW, len(seconds), dict.fromkeys(JobState, timedelta(minutes=1)), [])

    assert [job.id for job in claimed] == [ordered[seconds.index(number)].id for number in sorted(seconds)]


async def test_a_job_that_comes_back_into_a_closed_gate_says_so(store: JobStore) -> None:
    """Two submissions that are refused together: the second is no news, but its message says that it is queued."""
    held = await bring_to(store, JobState.SUBMITTING)
    async with store._db.write() as connection:
        await connection.execute(update(jobs).where(jobs.c.id == held.id).values(status_message_id=7))
        await submission_gate.close(connection, NOW + timedelta(minutes=10), "busy", NOW)

    assert await store.apply(held, PauseSubmissions(NOW + timedelta(minutes=10), "busy"), NOW)

    assert await due_times(store, held.id) == [NOW]
