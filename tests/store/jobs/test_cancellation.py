"""Cancelling: what ends, what is flagged, and what a flagged job does after its step."""

from typing import Any

import pytest

from bot.domain.guilds import Access
from bot.domain.jobs import ACTIVE, CancelResult, FailureCause, FailureDetail, FailureReason, JobState
from bot.domain.outcomes import Fail, MoveTo, Outcome, PauseSubmissions, Reschedule
from bot.store.jobs import transitions
from bot.store.jobs.job_store import JobStore
from bot.store.jobs.waiting_jobs import WaitingJobs
from tests.store.factories import (
    DETAIL,
    LEASES,
    MANY,
    MINUTE,
    NOW,
    add,
    add_waiting,
    bring_to,
    claim,
    entries,
    next_job,
    read,
    set_guild,
)
from tests.store.jobs.transition_samples import A_TASK, SOON


@pytest.mark.parametrize("state", JobState)
async def test_a_cancellation_ends_flags_or_ignores_a_job_depending_on_its_state(
    store: JobStore, state: JobState
) -> None:
    held = await bring_to(store, state)
    result = await store.cancel(held.id, SOON, even_if_paid=True)
    job = await read(store, held)
    match state:
        case JobState.AWAITING | JobState.QUEUED:
            assert result is CancelResult.CANCELLED
            assert (job.state, job.charged, job.due_at, job.state_changed_at) == (
                JobState.CANCELLED,
                False,
                SOON,
                SOON,
            )
            assert not await store.apply(held, Reschedule(None), SOON)
            assert (await claim(store, job.id, SOON)).state is JobState.CANCELLED
        case _ if state in ACTIVE:
            assert result is CancelResult.FLAGGED
            assert (job.state, job.cancel_requested, job.charged) == (state, True, True)
            assert (job.lease_token, job.due_at) == (held.lease_token, held.due_at)
        case _:
            assert result is CancelResult.ENDED
            assert job == held


async def test_an_unknown_job_cannot_be_cancelled(store: JobStore) -> None:
    assert await store.cancel("no such job", NOW, even_if_paid=True) is CancelResult.ENDED


async def test_a_waiting_job_can_be_cancelled_and_is_not_submitted(store: JobStore) -> None:
    waiting = await add_waiting(store)
    assert await store.cancel(waiting.id, NOW, even_if_paid=True) is CancelResult.CANCELLED
    assert await next_job(store) is None


async def test_a_cancelled_running_job_is_due_at_once(store: JobStore) -> None:
    held = await bring_to(store, JobState.RUNNING)
    await store.apply(held, Reschedule(NOW + MINUTE), NOW)
    await store.cancel(held.id, SOON, even_if_paid=True)
    [job] = await store.claim_due(SOON, MANY, LEASES)
    assert (job.state, job.cancel_requested) == (JobState.RUNNING, True)


async def test_a_cancelled_delivering_job_keeps_its_due_time(store: JobStore) -> None:
    held = await bring_to(store, JobState.DELIVERING)
    await store.apply(held, Reschedule(NOW + MINUTE), NOW)
    await store.cancel(held.id, SOON, even_if_paid=True)
    assert (await read(store, held)).due_at == NOW + MINUTE


async def test_a_paid_job_is_not_cancelled_without_confirmation(store: JobStore) -> None:
    held = await bring_to(store, JobState.RUNNING)
    assert await store.cancel(held.id, NOW, even_if_paid=False) is CancelResult.PAID
    assert await read(store, held) == held


@pytest.mark.parametrize(
    "outcome", [Reschedule(NOW + MINUTE), MoveTo(JobState.RUNNING, A_TASK, due_at=NOW + MINUTE)]
)
async def test_a_job_cancelled_during_a_step_is_due_at_once_after_it(store: JobStore, outcome: Outcome) -> None:
    state = JobState.SUBMITTING if isinstance(outcome, MoveTo) else JobState.RUNNING
    held = await bring_to(store, state)
    assert await store.cancel(held.id, NOW, even_if_paid=True) is CancelResult.FLAGGED
    assert await store.apply(held, outcome, SOON)
    [job] = await store.claim_due(SOON, MANY, LEASES)
    assert (job.state, job.cancel_requested) == (JobState.RUNNING, True)


async def test_a_step_that_knew_of_the_cancellation_keeps_its_own_due_time(store: JobStore) -> None:
    held = await bring_to(store, JobState.RUNNING)
    await store.cancel(held.id, NOW, even_if_paid=True)
    await store.release([held])
    claimed_again = await claim(store, held.id)
    await store.apply(claimed_again, Reschedule(NOW + MINUTE), NOW)
    assert (await read(store, held)).due_at == NOW + MINUTE


async def test_a_job_cancelled_while_submitting_ends_instead_of_being_requeued(store: JobStore) -> None:
    held = await bring_to(store, JobState.SUBMITTING)
    await store.cancel(held.id, NOW, even_if_paid=True)
    assert await store.apply(held, MoveTo(JobState.QUEUED), SOON)
    job = await read(store, held)
    assert (job.state, job.charged, job.due_at) == (JobState.CANCELLED, False, SOON)


@pytest.mark.parametrize(
    ("guild", "why"),
    [
        ({"access": Access.BLOCKED}, FailureCause.SERVER_BLOCKED),
        ({"left_at": NOW}, FailureCause.BOT_REMOVED),
    ],
)
async def test_a_job_whose_server_was_blocked_or_left_while_submitting_ends_uncharged_instead_of_being_requeued(
    store: JobStore, guild: dict[str, Any], why: FailureCause
) -> None:
    held = await bring_to(store, JobState.SUBMITTING)
    await set_guild(store, **guild)
    assert await store.apply(held, PauseSubmissions(SOON, "rate limit"), NOW)
    job = await read(store, held)
    assert (job.state, job.charged, job.failure_detail) == (JobState.CANCELLED, False, FailureDetail(why))


async def test_the_cause_of_a_cancellation_by_an_admin_is_kept_until_the_job_ends(store: JobStore) -> None:
    held = await bring_to(store, JobState.RUNNING)
    async with store._db.write() as connection:
        await transitions.cancel(
            connection, held.id, NOW, even_if_paid=True, actor_id=9, why=FailureCause.CANCELLED_BY_ADMIN
        )
    await store.apply(held, MoveTo(JobState.DELIVERING), SOON)
    await store.apply(await claim(store, held.id, SOON), MoveTo(JobState.CANCELLED, charged=False), SOON)
    assert (await read(store, held)).failure_detail == FailureDetail(FailureCause.CANCELLED_BY_ADMIN)


@pytest.mark.parametrize(("actor_id", "named"), [(None, 1), (9, 9)])
async def test_a_cancellations_ledger_entry_names_its_actor(
    store: JobStore, actor_id: int | None, named: int
) -> None:
    job = await add(store)
    async with store._db.write() as connection:
        await transitions.cancel(connection, job.id, NOW, even_if_paid=False, actor_id=actor_id)
    assert [(row.kind, row.actor_id) for row in await entries(store, job)] == [("reserve", 1), ("return", named)]


async def test_a_return_by_the_bot_itself_has_no_actor(store: JobStore) -> None:
    held = await bring_to(store, JobState.SUBMITTING)
    await store.apply(held, Fail(FailureReason.REFUSED, DETAIL), SOON)
    assert [row.actor_id for row in await entries(store, held)] == [1, None]


@pytest.mark.parametrize(
    ("guild", "why"),
    [
        ({"access": Access.BLOCKED}, FailureCause.SERVER_BLOCKED),
        ({"left_at": NOW}, FailureCause.BOT_REMOVED),
    ],
)
async def test_nothing_is_submitted_for_a_server_that_is_not_served_any_more_and_a_start_cancels_it(
    store: JobStore, guild: dict[str, Any], why: FailureCause
) -> None:
    """The process died before it cancelled what was waiting."""
    queued = await add_waiting(store)
    await set_guild(store, **guild)
    assert await next_job(store) is None
    assert await WaitingJobs(store._db).cancel_where_left_or_blocked(SOON) == 1
    job = await read(store, queued)
    assert (job.state, job.charged, job.failure_detail) == (JobState.CANCELLED, False, FailureDetail(why))
