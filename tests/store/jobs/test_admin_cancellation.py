"""Jobs that an admin cancels."""

from decimal import Decimal

import pytest

from bot.domain.errors import NotPossible
from bot.domain.jobs import CancelResult, FailureCause, FailureDetail, JobState
from bot.domain.outcomes import JobUpdate, MoveTo
from bot.services.admin.jobs import JobService
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from tests.store.factories import (
    MINUTE,
    NOW,
    add,
    add_waiting,
    bring_to,
    entries,
    grant,
    new_job,
    read,
    requester_of,
    set_guild,
)
from tests.store.jobs.conftest import (
    HERE,
    IN_PROGRESS,
    audit_log_and_notifications,
    reschedule,
    usd_today,
    videos_in_window,
)


async def test_a_queued_job_is_cancelled_uncharged(
    store: JobStore, job_service: JobService, database: Database, woken: list[None]
) -> None:
    job = await add_waiting(store)

    done = await job_service.cancel(HERE, job.id, even_if_paid=False)

    assert done.result is CancelResult.CANCELLED
    assert (await read(store, job)).state is JobState.CANCELLED
    assert await videos_in_window(store, job) == 0
    assert await usd_today(database) == 0
    assert woken


async def test_a_job_awaiting_approval_is_cancelled_uncharged(
    store: JobStore, job_service: JobService, database: Database
) -> None:
    await set_guild(store, approval_required=True)
    job = await add(store)
    assert job.state is JobState.AWAITING

    done = await job_service.cancel(HERE, job.id, even_if_paid=False)

    assert done.result is CancelResult.CANCELLED
    assert await videos_in_window(store, job) == 0
    assert await usd_today(database) == 0


@pytest.mark.parametrize("state", IN_PROGRESS)
async def test_cancelling_a_paid_job_requires_confirmation(
    store: JobStore, job_service: JobService, database: Database, state: JobState
) -> None:
    job = await bring_to(store, state)
    before = await read(store, job)

    done = await job_service.cancel(HERE, job.id, even_if_paid=False)

    assert done.result is CancelResult.PAID
    assert await read(store, job) == before
    assert await audit_log_and_notifications(database) == ([], [])


@pytest.mark.parametrize("state", IN_PROGRESS)
async def test_an_admins_cancellation_charges_no_member_and_keeps_the_cost(
    store: JobStore, job_service: JobService, database: Database, state: JobState
) -> None:
    job = await bring_to(store, state)
    reserved = await usd_today(database)
    assert reserved > 0

    done = await job_service.cancel(HERE, job.id, even_if_paid=True)

    assert done.result is CancelResult.FLAGGED
    now = await read(store, job)
    assert (now.state, now.cancel_requested, now.charged) == (state, True, False)
    assert await videos_in_window(store, job) == 0
    assert await usd_today(database) == reserved


async def test_the_actual_cost_of_a_cancelled_job_is_settled_at_its_end(
    store: JobStore, job_service: JobService, database: Database
) -> None:
    job = await bring_to(store, JobState.RUNNING)
    await job_service.cancel(HERE, job.id, even_if_paid=True)

    ended = MoveTo(JobState.CANCELLED, JobUpdate(cost_usd=Decimal("0.07")))
    assert await store.apply(job, ended, NOW)

    assert await usd_today(database) == Decimal("0.07")
    assert await videos_in_window(store, job) == 0


async def test_an_admins_cancellation_returns_the_credit(store: JobStore, job_service: JobService) -> None:
    await set_guild(store, videos_per_window=0)
    await grant(store, 1)
    job = await bring_to(store, JobState.RUNNING)
    assert job.credit_grant_id is not None

    await job_service.cancel(HERE, job.id, even_if_paid=True)

    allowance = await store.allowance(requester_of(new_job()), NOW)
    assert [credit.left for credit in allowance.usage.credits] == [1]


async def test_a_running_job_that_is_cancelled_is_due_at_once(
    store: JobStore, job_service: JobService, woken: list[None]
) -> None:
    job = await reschedule(store, await bring_to(store, JobState.RUNNING))

    await job_service.cancel(HERE, job.id, even_if_paid=True)

    assert (await read(store, job)).due_at == NOW
    assert woken


async def test_a_second_cancellation_is_refused(
    store: JobStore, job_service: JobService, database: Database
) -> None:
    job = await bring_to(store, JobState.RUNNING)
    await job_service.cancel(HERE, job.id, even_if_paid=True)

    with pytest.raises(NotPossible, match="ALREADY_CANCELLED"):
        await job_service.cancel(HERE, job.id, even_if_paid=True)

    assert len((await audit_log_and_notifications(database))[0]) == 1
    assert await job_service.cancellable(HERE) == []


@pytest.mark.parametrize("state", [JobState.DELIVERED, JobState.FAILED, JobState.CANCELLED])
async def test_an_ended_job_cannot_be_cancelled(store: JobStore, job_service: JobService, state: JobState) -> None:
    job = await bring_to(store, state)

    with pytest.raises(NotPossible, match="NOTHING_TO_CANCEL"):
        await job_service.cancel(HERE, job.id, even_if_paid=True)


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.RUNNING])
async def test_a_cancellation_stores_its_cause_and_the_admin_as_the_ledger_actor(
    store: JobStore, job_service: JobService, state: JobState
) -> None:
    job = await bring_to(store, state)

    await job_service.cancel(HERE, job.id, even_if_paid=True)

    assert (await read(store, job)).failure_detail == FailureDetail(FailureCause.CANCELLED_BY_ADMIN)
    assert [entry.actor_id for entry in await entries(store, job)] == [job.user_id, HERE.user_id]


async def test_a_cancellation_is_in_the_audit_log_and_notified(
    store: JobStore, job_service: JobService, database: Database
) -> None:
    await set_guild(store, log_channel_id=5)
    job = await add_waiting(store, user_id=7)

    await job_service.cancel(HERE, job.id, even_if_paid=False)

    audit_log, texts = await audit_log_and_notifications(database)
    assert audit_log == [(10, 99, f"cancelled a video for <@7> (`{job.id}`)")]
    (text,) = texts
    assert "<@99>" in text
    assert "cancelled a video for <@7>" in text


async def test_the_cancellable_jobs_are_the_servers_active_jobs(store: JobStore, job_service: JobService) -> None:
    running = await bring_to(store, JobState.RUNNING)
    await bring_to(store, JobState.DELIVERED, NOW + MINUTE)
    queued = await add(store, NOW + 2 * MINUTE)
    await add(store, guild_id=20)

    assert [job.id for job in await job_service.cancellable(HERE)] == [running.id, queued.id]
