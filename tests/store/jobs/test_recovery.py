import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from bot.domain.jobs import ENDED, FailureReason, Job, JobState, RecoveryProblem, StopResult
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Reschedule
from bot.domain.policy import Requester
from bot.store.jobs.job_store import JobStore
from bot.store.schema import EVERYWHERE, jobs
from tests.store.factories import (
    DETAIL,
    NOW,
    SECOND,
    add,
    bring_to,
    claim,
    entries,
    mark_lost,
    read,
    resume_failed_job,
    unreconciled,
)

SOON = NOW + 10 * SECOND
LATER = NOW + timedelta(hours=1)
DAY = timedelta(hours=24)
TIMED_OUT = Fail(FailureReason.TIMED_OUT, DETAIL)
UNKNOWN = Fail(FailureReason.OUTCOME_UNKNOWN, DETAIL)


async def add_timed_out_job(store: JobStore) -> Job:
    """Failed, and its task is known."""
    job = await bring_to(store, JobState.RUNNING)
    await store.apply(job, TIMED_OUT, SOON)
    return await read(store, job)


async def add_lost_job(store: JobStore) -> Job:
    """Failed, and nobody knows whether there is a task."""
    job = await bring_to(store, JobState.SUBMITTING)
    await store.apply(job, UNKNOWN, SOON)
    return await read(store, job)


async def entry_fields(store: JobStore, job: Job) -> list[tuple[str, int, Decimal, str, int | None]]:
    return [(row.kind, row.videos, row.usd, row.reason, row.actor_id) for row in await entries(store, job)]


async def test_a_job_that_moderation_rejected_is_not_resumed(store: JobStore) -> None:
    job = await bring_to(store, JobState.RUNNING)
    await store.apply(job, Fail(FailureReason.REJECTED, DETAIL), SOON)
    for upstream_id in (None, "another task"):
        result = await resume_failed_job(store, job.id, LATER, actor_id=None, upstream_id=upstream_id)
        assert result is RecoveryProblem.REJECTED


async def test_a_resumed_job_can_be_stopped_again_and_another_task_is_asked_about_elsewhere(
    store: JobStore,
) -> None:
    job = await bring_to(store, JobState.RUNNING)
    told = JobUpdate(upstream_urls={"stop": "https://x/1"}, can_be_stopped=True, stop_result=StopResult.UNKNOWN)
    assert await store.apply(job, Fail(FailureReason.UPSTREAM_FAILED, DETAIL, told), SOON)

    resumed = await resume_failed_job(store, job.id, LATER, actor_id=None)
    assert isinstance(resumed, Job)
    assert (resumed.stop_result, resumed.can_be_stopped) == (None, True)
    assert resumed.upstream_urls == {"stop": "https://x/1"}

    assert await store.apply(await claim(store, job.id, LATER), Fail(FailureReason.UPSTREAM_FAILED, DETAIL), LATER)
    resumed = await resume_failed_job(store, job.id, LATER, actor_id=None, upstream_id="another")
    assert isinstance(resumed, Job)
    assert (resumed.upstream_urls, resumed.can_be_stopped) == (None, False)


async def test_a_resumed_job_with_a_known_task_is_running_and_due_at_once(store: JobStore) -> None:
    failed = await add_timed_out_job(store)
    resumed = await resume_failed_job(store, failed.id, LATER, actor_id=9)
    assert isinstance(resumed, Job)
    assert resumed == await read(store, failed)
    assert (resumed.state, resumed.state_changed_at, resumed.due_at) == (JobState.RUNNING, LATER, LATER)
    assert (resumed.upstream_id, resumed.submitted_at) == ("task-1", NOW)
    assert (resumed.failure_reason, resumed.failure_detail, resumed.lease_token, resumed.attempts) == (
        None,
        None,
        None,
        0,
    )
    assert (await claim(store, failed.id, LATER)).state is JobState.RUNNING


async def test_a_resumed_job_stays_uncharged_and_reserves_its_estimated_cost(store: JobStore) -> None:
    failed = await add_timed_out_job(store)
    await mark_lost(store, failed.id, LATER, actor_id=9)
    resumed = await resume_failed_job(store, failed.id, LATER, actor_id=9)
    assert isinstance(resumed, Job)
    assert not resumed.charged
    assert (await entry_fields(store, failed))[3:] == [("reserve", 0, Decimal("0.2"), "revived", 9)]
    assert (await store.allowance(Requester(10, 100, 1), LATER)).usage.charged_at == ()


async def test_a_resumed_job_is_delivered_and_its_actual_cost_is_settled(store: JobStore) -> None:
    failed = await add_timed_out_job(store)
    await resume_failed_job(store, failed.id, LATER, actor_id=9)
    paid = JobUpdate(cost_usd=Decimal("0.15"), result_url="https://cdn.example/x.mp4")
    await store.apply(await claim(store, failed.id, LATER), MoveTo(JobState.DELIVERING, paid), LATER)
    await store.apply(await claim(store, failed.id, LATER), MoveTo(JobState.DELIVERED), LATER)
    assert (await read(store, failed)).state is JobState.DELIVERED
    assert (await entry_fields(store, failed))[2:] == [("settle", 0, Decimal("-0.05"), "delivering", None)]


async def test_a_resumed_job_whose_task_fails_returns_its_reservation(store: JobStore) -> None:
    failed = await add_timed_out_job(store)
    await resume_failed_job(store, failed.id, LATER, actor_id=9)
    task_failed = Fail(FailureReason.UPSTREAM_FAILED, DETAIL)
    await store.apply(await claim(store, failed.id, LATER), task_failed, LATER)
    assert sum((row.usd for row in await entries(store, failed)), Decimal(0)) == 0
    assert isinstance(await resume_failed_job(store, failed.id, LATER, actor_id=9), Job)


async def test_resuming_an_undelivered_job_with_a_known_cost_reserves_nothing(store: JobStore) -> None:
    job = await bring_to(store, JobState.RUNNING)
    paid = JobUpdate(cost_usd=Decimal("0.15"))
    await store.apply(job, MoveTo(JobState.DELIVERING, paid), SOON)
    await store.apply(await claim(store, job.id, SOON), Fail(FailureReason.UNDELIVERABLE, DETAIL), SOON)
    before = await entries(store, job)
    assert isinstance(await resume_failed_job(store, job.id, LATER, actor_id=9), Job)
    assert await entries(store, job) == before


async def test_resuming_a_job_withdraws_its_cancellation(store: JobStore) -> None:
    job = await bring_to(store, JobState.RUNNING)
    await store.cancel(job.id, NOW, even_if_paid=True)
    await store.apply(job, TIMED_OUT, SOON)
    resumed = await resume_failed_job(store, job.id, LATER, actor_id=9)
    assert isinstance(resumed, Job)
    assert not resumed.cancel_requested


async def test_a_job_with_an_unknown_outcome_is_resumed_only_with_a_task_id(store: JobStore) -> None:
    lost = await add_lost_job(store)
    assert await resume_failed_job(store, lost.id, LATER, actor_id=9) is RecoveryProblem.NO_TASK
    resumed = await resume_failed_job(store, lost.id, NOW + 9 * DAY, actor_id=9, upstream_id="task-found")
    assert isinstance(resumed, Job)
    assert (resumed.state, resumed.upstream_id, resumed.submitted_at) == (JobState.RUNNING, "task-found", SOON)


async def test_a_job_cannot_be_resumed_with_the_task_of_another_job(store: JobStore) -> None:
    """A mistyped id must not post one member's video as another's."""
    await bring_to(store, JobState.RUNNING)
    lost = await add_lost_job(store)
    assert (
        await resume_failed_job(store, lost.id, LATER, actor_id=9, upstream_id="task-1")
        is RecoveryProblem.TASK_TAKEN
    )


async def test_only_one_of_several_jobs_simultaneously_given_the_same_task_gets_it(store: JobStore) -> None:
    lost = [await add_lost_job(store) for _ in range(6)]
    results = await asyncio.gather(
        *(resume_failed_job(store, job.id, LATER, actor_id=9, upstream_id="task-found") for job in lost)
    )
    assert sum(isinstance(result, Job) for result in results) == 1
    assert results.count(RecoveryProblem.TASK_TAKEN) == 5


async def test_a_known_task_is_not_replaced(store: JobStore) -> None:
    failed = await add_timed_out_job(store)
    assert (
        await resume_failed_job(store, failed.id, LATER, actor_id=9, upstream_id="task-other")
        is RecoveryProblem.NO_TASK
    )
    assert isinstance(await resume_failed_job(store, failed.id, LATER, actor_id=9, upstream_id="task-1"), Job)


async def test_a_wrong_task_id_can_be_corrected(store: JobStore) -> None:
    unknown = await bring_to(store, JobState.SUBMITTING)
    await store.apply(unknown, Fail(FailureReason.OUTCOME_UNKNOWN, DETAIL), NOW)
    assert isinstance(await resume_failed_job(store, unknown.id, LATER, actor_id=9, upstream_id="task-1O"), Job)
    polling = await claim(store, unknown.id, LATER)
    await store.apply(polling, Fail(FailureReason.UPSTREAM_FAILED, DETAIL), LATER)

    resumed = await resume_failed_job(store, unknown.id, LATER, actor_id=9, upstream_id="task-10")

    assert isinstance(resumed, Job)
    assert resumed.upstream_id == "task-10"


async def test_a_job_can_be_resumed_only_within_the_lifetime_of_its_task(store: JobStore) -> None:
    failed = await add_timed_out_job(store)
    assert await resume_failed_job(store, failed.id, NOW + DAY, actor_id=9) is RecoveryProblem.TOO_OLD
    short = timedelta(minutes=5)
    assert (
        await resume_failed_job(store, failed.id, LATER, actor_id=9, task_lifetime=short)
        is RecoveryProblem.TOO_OLD
    )
    assert isinstance(await resume_failed_job(store, failed.id, NOW + DAY - SECOND, actor_id=9), Job)


async def test_a_job_of_another_server_is_treated_as_unknown(store: JobStore) -> None:
    failed = await add_timed_out_job(store)
    assert await resume_failed_job(store, failed.id, LATER, actor_id=9, guild_id=11) is RecoveryProblem.UNKNOWN
    assert await resume_failed_job(store, "no such job", LATER, actor_id=9, guild_id=10) is RecoveryProblem.UNKNOWN
    assert await mark_lost(store, failed.id, LATER, actor_id=9, guild_id=11) is RecoveryProblem.UNKNOWN
    assert await read(store, failed) == failed
    assert isinstance(await resume_failed_job(store, failed.id, LATER, actor_id=9, guild_id=10), Job)


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.FAILED}))
async def test_only_a_failed_job_can_be_resumed_or_marked_lost(store: JobStore, state: JobState) -> None:
    held = await bring_to(store, state)
    assert await resume_failed_job(store, held.id, LATER, actor_id=9) is RecoveryProblem.NOT_FAILED
    problem = RecoveryProblem.NOT_UNKNOWN if state in ENDED else RecoveryProblem.NOT_FAILED
    assert await mark_lost(store, held.id, LATER, actor_id=9) is problem
    assert await read(store, held) == held


async def test_a_refused_job_cannot_be_resumed(store: JobStore) -> None:
    held = await bring_to(store, JobState.FAILED)
    assert await resume_failed_job(store, held.id, LATER, actor_id=9) is RecoveryProblem.NO_TASK
    assert (
        await resume_failed_job(store, held.id, LATER, actor_id=9, upstream_id="task-9") is RecoveryProblem.NO_TASK
    )


async def test_resuming_a_job_ends_the_lease_of_the_worker_that_announces_its_failure(store: JobStore) -> None:
    job = await bring_to(store, JobState.RUNNING)
    await store.apply(job, TIMED_OUT, SOON)
    announcing = await claim(store, job.id, SOON)
    await resume_failed_job(store, job.id, LATER, actor_id=9)
    assert not await store.apply(announcing, Reschedule(None), LATER)
    assert (await read(store, job)).due_at == LATER


async def test_a_job_of_an_erased_member_can_be_marked_lost_but_not_resumed(store: JobStore) -> None:
    lost = await add_lost_job(store)
    async with store._db.write() as connection:
        await connection.execute(jobs.update().where(jobs.c.id == lost.id).values(user_id=EVERYWHERE))
    assert (
        await resume_failed_job(store, lost.id, LATER, actor_id=9, upstream_id="task-found")
        is RecoveryProblem.ERASED
    )
    assert await resume_failed_job(store, lost.id, LATER, actor_id=9, guild_id=10) is RecoveryProblem.UNKNOWN
    assert isinstance(await mark_lost(store, lost.id, LATER, actor_id=9), Job)


async def test_a_job_marked_lost_is_no_longer_unreconciled_and_gets_a_ledger_entry(store: JobStore) -> None:
    lost, late = await add_lost_job(store), await add_timed_out_job(store)
    await add(store)
    assert [job.id for job in await unreconciled(store, 10)] == sorted([lost.id, late.id])
    closed = await mark_lost(store, lost.id, LATER, actor_id=9)
    assert isinstance(closed, Job)
    assert closed.failure_reason is FailureReason.LOST
    assert [job.id for job in await unreconciled(store, 10)] == [late.id]
    assert (await entry_fields(store, lost))[-1] == ("adjust", 0, Decimal("-0.2"), "lost", 9)
    assert await mark_lost(store, lost.id, LATER, actor_id=9) is RecoveryProblem.NOT_UNKNOWN


async def test_a_job_marked_lost_can_still_be_resumed_with_a_task_id(store: JobStore) -> None:
    lost = await add_lost_job(store)
    await mark_lost(store, lost.id, LATER, actor_id=9)
    assert isinstance(await resume_failed_job(store, lost.id, LATER, actor_id=9, upstream_id="task-found"), Job)


async def test_a_job_that_timed_out_keeps_its_reason_when_it_is_marked_lost(store: JobStore) -> None:
    closed = await mark_lost(store, (await add_timed_out_job(store)).id, LATER, actor_id=9)
    assert isinstance(closed, Job)
    assert closed.failure_reason is FailureReason.TIMED_OUT
    assert await unreconciled(store, 10) == []


async def test_a_job_with_a_known_failure_cannot_be_marked_lost(store: JobStore) -> None:
    failed = await bring_to(store, JobState.FAILED)
    assert await mark_lost(store, failed.id, LATER, actor_id=9) is RecoveryProblem.NOT_UNKNOWN


async def test_a_cancelled_job_is_resumed_with_its_task_only_until_its_cost_is_known(store: JobStore) -> None:
    job = await bring_to(store, JobState.RUNNING)
    await store.cancel(job.id, NOW, even_if_paid=True)
    unknown = MoveTo(JobState.CANCELLED, charged=False, cost_unknown=True)
    assert await store.apply(job, unknown, SOON)
    assert await resume_failed_job(store, job.id, LATER, actor_id=9) is RecoveryProblem.NOT_FAILED
    refused = await resume_failed_job(store, job.id, LATER, actor_id=9, upstream_id="mistyped")
    assert refused is RecoveryProblem.NO_TASK

    resumed = await resume_failed_job(store, job.id, LATER, actor_id=9, upstream_id="task-1")

    assert isinstance(resumed, Job)
    assert (resumed.state, resumed.cancel_requested, resumed.charged) == (JobState.RUNNING, True, False)
    told = MoveTo(JobState.CANCELLED, JobUpdate(cost_usd=Decimal("0.15"), result_url="https://cdn/v.mp4"))
    assert await store.apply(await claim(store, job.id, LATER), told, LATER)
    assert sum((row.usd for row in await entries(store, job)), Decimal(0)) == Decimal("0.15")
    assert sum(row.videos for row in await entries(store, job)) == 0
    assert await unreconciled(store, 10) == []


async def test_a_cancelled_job_of_known_cost_cannot_be_resumed(store: JobStore) -> None:
    job = await bring_to(store, JobState.RUNNING)
    await store.cancel(job.id, NOW, even_if_paid=True)
    assert await store.apply(job, MoveTo(JobState.CANCELLED, JobUpdate(cost_usd=Decimal("0.15"))), SOON)
    resumed = await resume_failed_job(store, job.id, LATER, actor_id=9, upstream_id="task-1")
    assert resumed is RecoveryProblem.NOT_FAILED
