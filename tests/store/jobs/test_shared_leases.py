"""Leases of several processes on one PostgreSQL, whose own clocks are minutes apart: the server's clock judges."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from bot.chat.messages.notification_texts import render
from bot.domain.jobs import FailureReason, JobState
from bot.domain.notifications import Announcement
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.outbox.notifications import NotificationStore, post
from tests.fakes import FakeClock
from tests.harness import ROOMY, WorkerHarness, run_until_idle
from tests.providers_asked import vtrix
from tests.store.factories import LEASES, MANY, MINUTE, bring_to

pytestmark = [pytest.mark.both_databases, pytest.mark.parametrize("kind", ["postgresql"], indirect=True)]

APART = timedelta(seconds=1200)
DIRECTIONS = pytest.mark.parametrize("apart", [APART, -APART], ids=["ahead", "behind"])


@pytest.fixture
async def shared(database_url: str) -> AsyncIterator[Database]:
    """A database whose leases are judged as in production."""
    async with Database.open(database_url) as database:
        yield database


@pytest.fixture
async def first(shared: Database, tmp_path: Path) -> WorkerHarness:
    return WorkerHarness(JobStore(shared, ROOMY), tmp_path)


def another(first: WorkerHarness, apart: timedelta) -> WorkerHarness:
    """Another process with the same database, upstream and Discord, whose clock differs."""
    clock = FakeClock()
    clock.now = first.clock.now + apart
    return replace(first, clock=clock)


async def expire_leases(database: Database) -> None:
    """Ten minutes pass for the server, and nobody renews."""
    async with database.write() as connection:
        for table in ("jobs", "notifications"):
            change = f"UPDATE {table} SET lease_until = lease_until - interval '10 minutes'"  # noqa: S608 - no input
            await connection.exec_driver_sql(change)


@DIRECTIONS
async def test_workers_with_clocks_minutes_apart_leave_each_others_submissions_alone(
    first: WorkerHarness, apart: timedelta
) -> None:
    answered = first.provider.hang("submit")
    job = await first.order()
    submitting = asyncio.create_task(run_until_idle(first.worker()))
    await first.provider.wait_for_call("submit")
    await run_until_idle(another(first, apart).worker())
    state = await first.state(job)
    answered.set()
    await submitting
    assert state is JobState.SUBMITTING
    found = await first.reload(job)
    assert (found.state, found.charged) == (JobState.RUNNING, True)
    assert first.provider.submit_count == 1


@DIRECTIONS
@pytest.mark.parametrize("renewed", [False, True], ids=["claimed", "renewed"])
async def test_a_lease_lasts_as_long_as_the_server_says(
    first: WorkerHarness, shared: Database, apart: timedelta, *, renewed: bool
) -> None:
    other = another(first, apart).clock
    job = await first.order()
    [held] = await first.store.claim_due(first.clock(), MANY, LEASES)
    if renewed:
        await expire_leases(shared)
        assert await first.store.renew([held], first.clock(), LEASES) == {job.id}
    later = other() + 2 * APART  # so that the job is due by either clock
    assert await first.store.claim_due(later, MANY, LEASES) == []
    await expire_leases(shared)
    assert [one.id for one in await first.store.claim_due(later, MANY, LEASES)] == [job.id]


@DIRECTIONS
async def test_a_dead_workers_submission_is_taken_over_whatever_the_clocks_say(
    first: WorkerHarness, shared: Database, apart: timedelta
) -> None:
    job = await bring_to(first.store, JobState.SUBMITTING)
    other = another(first, apart)
    await run_until_idle(other.worker())
    assert await first.state(job) is JobState.SUBMITTING
    await expire_leases(shared)
    other.advance_clock(hours=1)
    await run_until_idle(other.worker())
    assert (await first.reload(job)).failure_reason is FailureReason.OUTCOME_UNKNOWN


@DIRECTIONS
async def test_the_end_of_a_lease_is_told_in_the_time_of_the_worker_that_asks(
    first: WorkerHarness, apart: timedelta
) -> None:
    await first.order()
    await first.store.claim_due(first.clock(), MANY, LEASES)
    now = first.clock() + apart
    ends_at = await first.store.next_due_at(now, vtrix(0))
    assert ends_at is not None
    assert now < ends_at <= now + LEASES[JobState.QUEUED]


@DIRECTIONS
async def test_a_notification_that_is_being_sent_is_left_alone(
    first: WorkerHarness, shared: Database, apart: timedelta
) -> None:
    outbox = NotificationStore(shared, render)
    async with shared.write() as connection:
        await post(connection, 10, Announcement("what happened"), first.clock(), channel_id=5)
    [sending] = await outbox.claim(first.clock(), 1, MINUTE)
    later = another(first, apart).clock() + 2 * APART
    assert await outbox.claim(later, 1, MINUTE) == []
    await expire_leases(shared)
    [again] = await outbox.claim(later, 1, MINUTE)
    assert (again.token, again.tried_before) == (sending.token, True)
