"""What is written about a cancelled job whose provider was asked to stop its task."""

from decimal import Decimal

import pytest

from bot.domain.jobs import CancelResult, FailureCause, FailureDetail, FailureReason, Job, JobState, StopResult
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Reschedule
from bot.services.admin.jobs import JobService
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.worker.stages.stopping import STOPPED
from tests.store.factories import LEASES, MANY, MINUTE, NOW, SECOND, bring_to, claim, read, unreconciled
from tests.store.jobs.conftest import HERE, usd_today, videos_in_window

SOON = NOW + 10 * SECOND
STOPPABLE = JobUpdate(
    upstream_id="task-1", submitted_at=NOW, upstream_urls={"stop": "https://x/stop"}, can_be_stopped=True
)


async def a_cancelled_job(store: JobStore) -> Job:
    """Running, and claimed for the poll that is due because of the cancellation."""
    submitting = await bring_to(store, JobState.SUBMITTING)
    running = MoveTo(JobState.RUNNING, STOPPABLE, due_at=NOW + MINUTE)
    assert await store.apply(submitting, running, NOW)
    assert await store.cancel(submitting.id, NOW, even_if_paid=True) is CancelResult.FLAGGED
    return await claim(store, submitting.id)


async def test_a_job_that_was_cancelled_while_it_was_submitted_is_stopped_by_a_poll_that_is_due_at_once(
    store: JobStore,
) -> None:
    submitting = await bring_to(store, JobState.SUBMITTING)
    await store.cancel(submitting.id, NOW, even_if_paid=True)

    assert await store.apply(submitting, MoveTo(JobState.RUNNING, STOPPABLE, due_at=NOW + MINUTE), SOON)

    [job] = await store.claim_due(SOON, MANY, LEASES)
    assert (job.cancel_requested, job.can_be_stopped, job.stop_result) == (True, True, None)
    assert job.upstream_urls == {"stop": "https://x/stop"}


async def test_a_task_that_was_stopped_costs_nothing_and_counts_for_nobody(
    store: JobStore, database: Database
) -> None:
    job = await a_cancelled_job(store)
    assert await usd_today(database) > 0

    assert await store.apply(job, STOPPED, SOON)

    ended = await read(store, job)
    assert (ended.state, ended.charged, ended.stop_result) == (JobState.CANCELLED, False, StopResult.STOPPED)
    assert ended.cost_unknown_since is None
    assert await videos_in_window(store, job) == 0
    assert await usd_today(database) == 0
    assert await unreconciled(store, MANY) == []


@pytest.mark.parametrize("result", StopResult)
async def test_what_the_provider_answered_is_kept_while_the_task_is_polled_on(
    store: JobStore, result: StopResult
) -> None:
    job = await a_cancelled_job(store)
    update = JobUpdate(progress=0.5, seen_running_at=SOON, stop_result=result)

    assert await store.apply(job, Reschedule(SOON + MINUTE, update), SOON)

    polled = await read(store, job)
    assert polled.stop_result is result
    assert (polled.state, polled.progress, polled.due_at) == (JobState.RUNNING, 0.5, SOON + MINUTE)


@pytest.mark.parametrize("may_be_billed", [True, False])
async def test_the_cost_of_a_task_that_was_stopped_on_request_is_held_if_it_may_be_billed(
    store: JobStore, database: Database, *, may_be_billed: bool
) -> None:
    job = await a_cancelled_job(store)
    reserved = await usd_today(database)
    ended = JobUpdate(stop_result=StopResult.ASKED)

    outcome = MoveTo(JobState.CANCELLED, ended, charged=False, cost_unknown=may_be_billed)
    assert await store.apply(job, outcome, SOON)

    assert await videos_in_window(store, job) == 0
    assert await usd_today(database) == (reserved if may_be_billed else 0)
    assert [one.id for one in await unreconciled(store, MANY)] == ([job.id] if may_be_billed else [])


async def test_a_task_that_could_not_be_stopped_counts_and_its_cost_is_settled(
    store: JobStore, database: Database
) -> None:
    job = await a_cancelled_job(store)
    learned = JobUpdate(cost_usd=Decimal("0.07"), result_url="https://x/v.mp4", stop_result=StopResult.RUNNING)

    assert await store.apply(job, MoveTo(JobState.CANCELLED, learned), SOON)

    assert await videos_in_window(store, job) == 1
    assert await usd_today(database) == Decimal("0.07")


@pytest.mark.parametrize("may_be_billed", [True, False])
async def test_a_task_that_was_cancelled_by_nobody_here_is_held_only_if_it_may_be_billed(
    store: JobStore, database: Database, *, may_be_billed: bool
) -> None:
    job = await bring_to(store, JobState.RUNNING)
    reserved = await usd_today(database)
    detail = FailureDetail(FailureCause.TASK_CANCELLED)

    failed = Fail(FailureReason.UPSTREAM_FAILED, detail, may_be_billed=may_be_billed)
    assert await store.apply(job, failed, SOON)

    assert await usd_today(database) == (reserved if may_be_billed else 0)
    assert await videos_in_window(store, job) == 0


async def test_an_admin_who_cancels_is_told_whether_it_may_be_stopped(
    store: JobStore, job_service: JobService
) -> None:
    submitting = await bring_to(store, JobState.SUBMITTING)
    assert await store.apply(submitting, MoveTo(JobState.RUNNING, STOPPABLE, due_at=NOW + MINUTE), NOW)

    done = await job_service.cancel(HERE, submitting.id, even_if_paid=False)

    assert done.result is CancelResult.PAID
    assert done.job.may_be_stopped
