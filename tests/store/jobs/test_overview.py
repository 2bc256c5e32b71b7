from datetime import timedelta

import pytest

from bot.domain.errors import NotPossible
from bot.domain.jobs import (
    JobState,
)
from bot.services.admin.jobs import JobService
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from tests.store.factories import (
    MINUTE,
    NOW,
    add,
    add_waiting,
    bring_to,
    close_gate,
    read,
)
from tests.store.jobs.conftest import ELSEWHERE, HERE, IN_PROGRESS, add_job_in_backoff, audit_log_and_notifications


async def test_a_server_without_jobs_has_an_empty_overview(job_service: JobService) -> None:
    overview = await job_service.overview(HERE)

    assert (overview.active, overview.count, overview.failures, overview.closed_until) == ((), 0, (), None)


async def test_the_overview_lists_active_jobs_oldest_first(store: JobStore, job_service: JobService) -> None:
    running = await bring_to(store, JobState.RUNNING)
    await bring_to(store, JobState.DELIVERED, NOW + MINUTE)
    queued = await add(store, NOW + 2 * MINUTE)

    overview = await job_service.overview(HERE)

    assert [active_job.job.id for active_job in overview.active] == [running.id, queued.id]
    assert overview.count == 2


async def test_the_overview_lists_a_limited_number_of_jobs_and_counts_all(
    store: JobStore, job_service: JobService
) -> None:
    for _ in range(27):
        await add(store)

    overview = await job_service.overview(HERE)

    assert (len(overview.active), overview.count) == (25, 27)


async def test_queued_jobs_show_their_place_in_the_queue_of_all_servers(
    store: JobStore, job_service: JobService
) -> None:
    first = await add_waiting(store, NOW, user_id=1)
    await add_waiting(store, NOW + MINUTE, user_id=2, guild_id=20)
    third = await add_waiting(store, NOW + 2 * MINUTE, user_id=3)
    without_status = await add(store, NOW + 3 * MINUTE, user_id=4)

    overview = await job_service.overview(HERE)

    assert [(active_job.job.id, active_job.place) for active_job in overview.active] == [
        (first.id, 1),
        (third.id, 3),
        (without_status.id, None),
    ]


async def test_a_member_with_a_running_job_is_placed_further_back(
    store: JobStore, job_service: JobService
) -> None:
    await bring_to(store, JobState.RUNNING, user_id=1)
    busy = await add_waiting(store, NOW, user_id=1)
    idle = await add_waiting(store, NOW + MINUTE, user_id=2)

    overview = await job_service.overview(HERE)

    places = {active_job.job.id: active_job.place for active_job in overview.active}
    assert (places[idle.id], places[busy.id]) == (1, 2)


async def test_the_overview_shows_until_when_the_submission_gate_is_closed(
    store: JobStore, job_service: JobService
) -> None:
    until = NOW + 5 * MINUTE
    await close_gate(store, until, "401 key sk-secret is wrong", NOW)

    overview = await job_service.overview(HERE)

    assert overview.closed_until == until
    assert "sk-secret" not in repr(overview)


async def test_a_gate_that_has_opened_again_is_not_shown(store: JobStore, job_service: JobService) -> None:
    await close_gate(store, NOW, "busy", NOW - MINUTE)

    assert (await job_service.overview(HERE)).closed_until is None


async def test_the_overview_lists_the_latest_failures_of_a_week(store: JobStore, job_service: JobService) -> None:
    old = await bring_to(store, JobState.FAILED, NOW - timedelta(days=8))
    fresh = [await bring_to(store, JobState.FAILED, NOW - number * MINUTE) for number in range(7, 0, -1)]

    overview = await job_service.overview(HERE)

    assert [job.id for job in overview.failures] == [job.id for job in reversed(fresh)][:5]
    assert old.id not in {job.id for job in overview.failures}


async def test_the_overview_shows_no_jobs_of_other_servers(store: JobStore, job_service: JobService) -> None:
    await add_job_in_backoff(store)
    await bring_to(store, JobState.FAILED, NOW + MINUTE)
    await add_waiting(store)

    overview = await job_service.overview(ELSEWHERE)

    assert (overview.active, overview.count, overview.failures) == ((), 0, ())
    assert await job_service.cancellable(ELSEWHERE) == []
    assert await job_service.retryable(ELSEWHERE) == []


@pytest.mark.parametrize("state", [JobState.QUEUED, *IN_PROGRESS, JobState.FAILED])
async def test_a_job_of_another_server_is_treated_as_unknown(
    store: JobStore, job_service: JobService, database: Database, state: JobState
) -> None:
    job = await bring_to(store, state)
    before = await read(store, job)

    for attempt in (
        job_service.cancel(ELSEWHERE, job.id, even_if_paid=True),
        job_service.cancel(ELSEWHERE, job.id, even_if_paid=False),
        job_service.retry(ELSEWHERE, job.id),
        job_service.cancel(ELSEWHERE, "nothing", even_if_paid=True),
        job_service.retry(ELSEWHERE, "nothing"),
    ):
        with pytest.raises(NotPossible, match="UNKNOWN_JOB"):
            await attempt

    assert await read(store, job) == before
    assert await audit_log_and_notifications(database) == ([], [])
