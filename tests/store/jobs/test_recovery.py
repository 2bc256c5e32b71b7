import asyncio
from datetime import timedelta
from decimal import Decimal

import pytest

from bot.domain.jobs import Fail, FailureReason, Job, JobState, JobUpdate, MoveTo, RecoveryProblem, Reschedule
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


async def a_timed_out_job(store: JobStore) -> Job:
    """Failed, and its task is known."""
    job = await bring_to(store, JobState.RUNNING)
    await store.apply(job, TIMED_OUT, SOON)
    return await read(store, job)


async def a_lost_job(store: JobStore) -> Job:
    """Failed, and nobody knows whether there is a task."""
    job = await bring_to(store, JobState.SUBMITTING)
    await store.apply(job, UNKNOWN, SOON)
    return await read(store, job)


async def kinds(store: JobStore, job: Job) -> list[tuple[str, int, Decimal, str, int | None]]:
    return [(row.kind, row.videos, row.usd, row.reason, row.actor_id) for row in await entries(store, job)]


async def test_a_job_whose_task_is_known_is_looked_at_again_at_once(store: JobStore) -> None:
    failed = await a_timed_out_job(store)
    revived = await resume_failed_job(store, failed.id, LATER, actor_id=9)
    assert isinstance(revived, Job)
    assert revived == await read(store, failed)
    assert (revived.state, revived.state_changed_at, revived.due_at) == (JobState.RUNNING, LATER, LATER)
    assert (revived.upstream_id, revived.submitted_at) == ("task-1", NOW)
    assert (revived.failure_reason, revived.failure_detail, revived.lease_token, revived.attempts) == (
        None,
        None,
        None,
        0,
    )
    assert (await claim(store, failed.id, LATER)).state is JobState.RUNNING


async def test_a_revived_job_stays_free_and_reserves_what_its_task_costs(store: JobStore) -> None:
    failed = await a_timed_out_job(store)
    revived = await resume_failed_job(store, failed.id, LATER, actor_id=9)
    assert isinstance(revived, Job)
    assert not revived.charged
    assert (await kinds(store, failed))[2:] == [("reserve", 0, Decimal("0.2"), "revived", 9)]
    assert (await store.allowance(Requester(10, 100, 1), LATER)).usage.charged_at == ()


async def test_a_revived_job_is_delivered_and_its_true_cost_settled(store: JobStore) -> None:
    failed = await a_timed_out_job(store)
    await resume_failed_job(store, failed.id, LATER, actor_id=9)
    paid = JobUpdate(cost_usd=Decimal("0.15"), result_url="https://cdn.example/x.mp4")
    await store.apply(await claim(store, failed.id, LATER), MoveTo(JobState.DELIVERING, paid), LATER)
    await store.apply(await claim(store, failed.id, LATER), MoveTo(JobState.DELIVERED), LATER)
    assert (await read(store, failed)).state is JobState.DELIVERED
    assert (await kinds(store, failed))[3:] == [("settle", 0, Decimal("-0.05"), "delivering", None)]


async def test_a_revived_job_that_fails_again_gives_its_reservation_back(store: JobStore) -> None:
    failed = await a_timed_out_job(store)
    await resume_failed_job(store, failed.id, LATER, actor_id=9)
    await store.apply(await claim(store, failed.id, LATER), TIMED_OUT, LATER)
    assert sum((row.usd for row in await entries(store, failed)), Decimal(0)) == 0
    assert isinstance(await resume_failed_job(store, failed.id, LATER, actor_id=9), Job)


async def test_what_was_paid_and_could_not_be_delivered_is_not_reserved_twice(store: JobStore) -> None:
    job = await bring_to(store, JobState.RUNNING)
    paid = JobUpdate(cost_usd=Decimal("0.15"))
    await store.apply(job, MoveTo(JobState.DELIVERING, paid), SOON)
    await store.apply(await claim(store, job.id, SOON), Fail(FailureReason.UNDELIVERABLE, DETAIL), SOON)
    before = await entries(store, job)
    assert isinstance(await resume_failed_job(store, job.id, LATER, actor_id=9), Job)
    assert await entries(store, job) == before


async def test_a_member_who_gave_it_up_gets_it_after_all(store: JobStore) -> None:
    job = await bring_to(store, JobState.RUNNING)
    await store.cancel(job.id, NOW, even_if_paid=True)
    await store.apply(job, TIMED_OUT, SOON)
    revived = await resume_failed_job(store, job.id, LATER, actor_id=9)
    assert isinstance(revived, Job)
    assert not revived.cancel_requested


async def test_a_job_of_unknown_outcome_needs_the_task_that_was_found(store: JobStore) -> None:
    lost = await a_lost_job(store)
    assert await resume_failed_job(store, lost.id, LATER, actor_id=9) is RecoveryProblem.NO_TASK
    revived = await resume_failed_job(store, lost.id, NOW + 9 * DAY, actor_id=9, upstream_id="task-found")
    assert isinstance(revived, Job)
    assert (revived.state, revived.upstream_id, revived.submitted_at) == (JobState.RUNNING, "task-found", SOON)


async def test_a_task_is_one_jobs(store: JobStore) -> None:
    """A mistyped id must not post one member's video as another's."""
    await bring_to(store, JobState.RUNNING)
    lost = await a_lost_job(store)
    assert (
        await resume_failed_job(store, lost.id, LATER, actor_id=9, upstream_id="task-1")
        is RecoveryProblem.TASK_TAKEN
    )


async def test_of_two_jobs_that_are_given_one_task_at_once_one_gets_it(store: JobStore) -> None:
    lost = [await a_lost_job(store) for _ in range(6)]
    results = await asyncio.gather(
        *(resume_failed_job(store, job.id, LATER, actor_id=9, upstream_id="task-found") for job in lost)
    )
    assert sum(isinstance(result, Job) for result in results) == 1
    assert results.count(RecoveryProblem.TASK_TAKEN) == 5


async def test_a_known_task_is_not_replaced(store: JobStore) -> None:
    failed = await a_timed_out_job(store)
    assert (
        await resume_failed_job(store, failed.id, LATER, actor_id=9, upstream_id="task-other")
        is RecoveryProblem.NO_TASK
    )
    assert isinstance(await resume_failed_job(store, failed.id, LATER, actor_id=9, upstream_id="task-1"), Job)


async def test_a_task_that_was_named_wrongly_may_be_named_again(store: JobStore) -> None:
    unknown = await bring_to(store, JobState.SUBMITTING)
    await store.apply(unknown, Fail(FailureReason.OUTCOME_UNKNOWN, DETAIL), NOW)
    assert isinstance(await resume_failed_job(store, unknown.id, LATER, actor_id=9, upstream_id="task-1O"), Job)
    looked_at = await claim(store, unknown.id, LATER)
    await store.apply(looked_at, Fail(FailureReason.UPSTREAM_FAILED, DETAIL), LATER)

    revived = await resume_failed_job(store, unknown.id, LATER, actor_id=9, upstream_id="task-10")

    assert isinstance(revived, Job)
    assert revived.upstream_id == "task-10"


async def test_a_task_is_asked_about_while_it_lives(store: JobStore) -> None:
    failed = await a_timed_out_job(store)
    assert await resume_failed_job(store, failed.id, NOW + DAY, actor_id=9) is RecoveryProblem.TOO_OLD
    short = timedelta(minutes=5)
    assert (
        await resume_failed_job(store, failed.id, LATER, actor_id=9, task_lifetime=short)
        is RecoveryProblem.TOO_OLD
    )
    assert isinstance(await resume_failed_job(store, failed.id, NOW + DAY - SECOND, actor_id=9), Job)


async def test_a_job_of_another_server_is_as_good_as_unknown(store: JobStore) -> None:
    failed = await a_timed_out_job(store)
    assert await resume_failed_job(store, failed.id, LATER, actor_id=9, guild_id=11) is RecoveryProblem.UNKNOWN
    assert await resume_failed_job(store, "no such job", LATER, actor_id=9, guild_id=10) is RecoveryProblem.UNKNOWN
    assert await mark_lost(store, failed.id, LATER, actor_id=9, guild_id=11) is RecoveryProblem.UNKNOWN
    assert await read(store, failed) == failed
    assert isinstance(await resume_failed_job(store, failed.id, LATER, actor_id=9, guild_id=10), Job)


@pytest.mark.parametrize("state", sorted(set(JobState) - {JobState.FAILED}))
async def test_only_a_failed_job_is_revived_or_lost(store: JobStore, state: JobState) -> None:
    held = await bring_to(store, state)
    assert await resume_failed_job(store, held.id, LATER, actor_id=9) is RecoveryProblem.NOT_FAILED
    assert await mark_lost(store, held.id, LATER, actor_id=9) is RecoveryProblem.NOT_FAILED
    assert await read(store, held) == held


async def test_a_job_that_was_refused_has_no_task(store: JobStore) -> None:
    held = await bring_to(store, JobState.FAILED)
    assert await resume_failed_job(store, held.id, LATER, actor_id=9) is RecoveryProblem.NO_TASK
    assert (
        await resume_failed_job(store, held.id, LATER, actor_id=9, upstream_id="task-9") is RecoveryProblem.NO_TASK
    )


async def test_a_worker_that_announced_the_failure_loses_its_lease(store: JobStore) -> None:
    job = await bring_to(store, JobState.RUNNING)
    await store.apply(job, TIMED_OUT, SOON)
    announcing = await claim(store, job.id, SOON)
    await resume_failed_job(store, job.id, LATER, actor_id=9)
    assert not await store.apply(announcing, Reschedule(None), LATER)
    assert (await read(store, job)).due_at == LATER


async def test_a_job_whose_member_was_erased_can_be_closed_but_not_revived(store: JobStore) -> None:
    lost = await a_lost_job(store)
    async with store._db.write() as connection:
        await connection.execute(jobs.update().where(jobs.c.id == lost.id).values(user_id=EVERYWHERE))
    assert (
        await resume_failed_job(store, lost.id, LATER, actor_id=9, upstream_id="task-found")
        is RecoveryProblem.ERASED
    )
    assert await resume_failed_job(store, lost.id, LATER, actor_id=9, guild_id=10) is RecoveryProblem.UNKNOWN
    assert isinstance(await mark_lost(store, lost.id, LATER, actor_id=9), Job)


async def test_what_is_judged_lost_is_listed_no_more_and_leaves_a_trace(store: JobStore) -> None:
    lost, other = await a_lost_job(store), await a_lost_job(store)
    await a_timed_out_job(store)
    await add(store)
    assert [job.id for job in await unreconciled(store, 10)] == sorted([lost.id, other.id])
    closed = await mark_lost(store, lost.id, LATER, actor_id=9)
    assert isinstance(closed, Job)
    assert closed.failure_reason is FailureReason.LOST
    assert [job.id for job in await unreconciled(store, 10)] == [other.id]
    assert (await kinds(store, lost))[-1] == ("adjust", 0, Decimal(0), "lost", 9)
    assert await mark_lost(store, lost.id, LATER, actor_id=9) is RecoveryProblem.NOT_UNKNOWN


async def test_what_was_judged_lost_may_still_be_found(store: JobStore) -> None:
    lost = await a_lost_job(store)
    await mark_lost(store, lost.id, LATER, actor_id=9)
    assert isinstance(await resume_failed_job(store, lost.id, LATER, actor_id=9, upstream_id="task-found"), Job)


async def test_a_failure_that_is_known_is_not_lost(store: JobStore) -> None:
    failed = await a_timed_out_job(store)
    assert await mark_lost(store, failed.id, LATER, actor_id=9) is RecoveryProblem.NOT_UNKNOWN
