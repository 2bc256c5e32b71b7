"""What members may see and cancel: their own jobs."""

import pytest

from bot.domain.errors import (
    NotPossible,
    Problem,
)
from bot.domain.jobs import (
    CancelResult,
    JobState,
    NewJob,
    Order,
    new_job_id,
)
from bot.domain.policy import Requester
from bot.services.videos import VideoService
from bot.store.jobs.job_store import JobStore
from tests.fakes import FRAME, NOW
from tests.services.videos.conftest import (
    MEMBER,
    Attachment,
    WakeCounter,
    fill_quota,
    move_to_running,
    picture,
    state,
)


async def test_the_recent_jobs_are_the_members_own(service: VideoService, store: JobStore) -> None:
    [first, second] = await fill_quota(service)
    other = NewJob(new_job_id(), 10, 100, 2, Order("a hare runs"))
    await store.add(other, FRAME, Requester(10, 100, 2), NOW)
    assert {job.id for job in await service.recent(10, 1)} == {first.id, second.id}


@pytest.mark.parametrize("stranger", [Requester(10, 100, 2), Requester(11, 100, 1)])
async def test_a_job_of_another_member_or_server_is_refused_like_an_unknown_one(
    service: VideoService, store: JobStore, wakes: WakeCounter, stranger: Requester
) -> None:
    [job, _] = await fill_quota(service)
    with pytest.raises(NotPossible) as foreign:
        await service.cancel(job.id, stranger, even_if_paid=True)
    with pytest.raises(NotPossible) as unknown:
        await service.cancel("no such job", stranger, even_if_paid=True)
    assert foreign.value.reason == unknown.value.reason == Problem.NOT_YOUR_VIDEO
    assert await state(store, job) is JobState.QUEUED
    assert wakes.count == 2


async def test_a_members_own_job_is_found_from_any_channel_of_the_server(service: VideoService) -> None:
    [job, _] = await fill_quota(service)
    assert await service.own_job(job.id, Requester(10, 999, 1)) == job


async def test_cancelling_a_queued_job_is_free_and_wakes_the_worker(
    service: VideoService, store: JobStore, wakes: WakeCounter
) -> None:
    [job, _] = await fill_quota(service)
    assert (await service.cancel(job.id, MEMBER, even_if_paid=False)).result is CancelResult.CANCELLED
    assert await state(store, job) is JobState.CANCELLED
    assert len((await service.allowance(MEMBER)).usage.charged_at) == 1
    assert wakes.count == 3


async def test_a_paid_job_is_cancelled_only_if_the_member_confirms(service: VideoService, store: JobStore) -> None:
    job = (await service.accept(MEMBER, Attachment(picture()).read, prompt="a fox")).job
    await move_to_running(store, job)
    assert (await service.cancel(job.id, MEMBER, even_if_paid=False)).result is CancelResult.PAID
    assert not (await service.own_job(job.id, MEMBER)).cancel_requested
    assert (await service.cancel(job.id, MEMBER, even_if_paid=True)).result is CancelResult.FLAGGED
    assert (await service.own_job(job.id, MEMBER)).cancel_requested
    assert len((await service.allowance(MEMBER)).usage.charged_at) == 1


async def test_an_ended_job_cannot_be_cancelled(service: VideoService) -> None:
    [job, _] = await fill_quota(service)
    await service.cancel(job.id, MEMBER, even_if_paid=False)
    with pytest.raises(NotPossible) as refused:
        await service.cancel(job.id, MEMBER, even_if_paid=True)
    assert refused.value.reason == Problem.VIDEO_ENDED
