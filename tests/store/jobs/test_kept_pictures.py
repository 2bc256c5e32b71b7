"""Pictures that stay after their submission: for how long, in whose orders, and how they go."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Row, Table, select

from bot.domain.errors import NotPossible, Problem, QuotaRefused
from bot.domain.guilds import LimitOverrides
from bot.domain.jobs import LINK_REMOVED, FailureReason, Job, JobState, NewJob, Order, new_job_id
from bot.domain.member_data import RetentionPolicy
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Outcome, Reschedule
from bot.domain.repeats import KeptFrame
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.privacy.member_data import MemberDataStore
from bot.store.privacy.retention import RetentionStore
from bot.store.schema import first_frames, kept_pictures
from bot.worker.retention import RetentionWorker
from tests.store.factories import (
    DAY,
    DETAIL,
    FRAME,
    MINUTE,
    NOW,
    UNLIMITED,
    bring_to,
    claim,
    entries,
    read,
    requester_of,
)

ME, OTHER = 1, 2
MESSAGE = 2000
POSTED = JobUpdate(result_message_id=MESSAGE)
ENDS: dict[str, tuple[JobState, Outcome]] = {
    "delivered": (JobState.DELIVERING, MoveTo(JobState.DELIVERED, POSTED)),
    "failed": (JobState.RUNNING, Fail(FailureReason.TIMED_OUT, DETAIL)),
    "cancelled": (JobState.RUNNING, MoveTo(JobState.CANCELLED)),
}


async def rows(database: Database, table: Table) -> Sequence[Row[Any]]:
    async with database.read() as connection:
        return (await connection.execute(select(table))).all()


async def delivered(store: JobStore) -> Job:
    """A job whose video was posted, and that nobody holds any more."""
    delivering = await bring_to(store, JobState.DELIVERING)
    update = replace(POSTED, result_url="https://x/video.mp4")
    assert await store.apply(delivering, MoveTo(JobState.DELIVERED, update), NOW)
    assert await store.apply(await claim(store, delivering.id), Reschedule(None), NOW)
    return await read(store, delivering)


async def again(store: JobStore, source: Job, *, user_id: int = OTHER, job_id: str | None = None) -> Job:
    """Another order of the same picture."""
    new = NewJob(job_id or new_job_id(), source.guild_id, source.channel_id, user_id, Order("again"))
    return await store.add(new, KeptFrame(source.id), requester_of(new), NOW)


def retention(database: Database, after: timedelta, **policy: int) -> RetentionWorker:
    terms = RetentionPolicy(**{"days": 90, "days_after_leaving": 30, "days_of_pictures": 30} | policy)
    members = MemberDataStore(database, UNLIMITED)
    return RetentionWorker(RetentionStore(database, UNLIMITED), members, terms, clock=lambda: NOW + after)


@pytest.mark.parametrize("state", JobState)
async def test_a_picture_is_kept_in_every_state(store: JobStore, state: JobState) -> None:
    job = await bring_to(store, state)

    assert await store.frame(job.id) == FRAME
    assert await store.with_pictures([job.id, "another"]) == {job.id}


@pytest.mark.parametrize("end", ENDS)
async def test_a_picture_stays_for_its_days_after_the_end_of_its_job(
    store: JobStore, database: Database, end: str
) -> None:
    before, outcome = ENDS[end]
    job = await bring_to(store, before)
    assert await store.apply(job, outcome, NOW + DAY)

    await retention(database, 31 * DAY - timedelta(microseconds=1)).run_once()
    assert await store.frame(job.id) == FRAME
    report = await retention(database, 31 * DAY).run_once()

    assert await store.frame(job.id) is None
    assert (report.pictures, await rows(database, kept_pictures)) == (1, [])


async def test_a_picture_of_a_job_in_progress_is_not_deleted_however_long_it_takes(
    store: JobStore, database: Database
) -> None:
    job = await bring_to(store, JobState.RUNNING)

    await retention(database, 1000 * DAY, days_of_pictures=0).run_once()

    assert await store.frame(job.id) == FRAME


@pytest.mark.full
async def test_more_pictures_than_fit_a_transaction_are_all_deleted(store: JobStore, database: Database) -> None:
    for number in range(45):
        job = await bring_to(store, JobState.QUEUED, user_id=number)
        await store.cancel(job.id, NOW, even_if_paid=False)

    assert (await retention(database, 30 * DAY).run_once()).pictures == 45


async def test_an_order_of_a_kept_picture_gets_a_copy_of_it(store: JobStore) -> None:
    source = await delivered(store)

    job = await again(store, source)

    assert (job.user_id, job.state) == (OTHER, JobState.QUEUED)
    assert await store.frame(job.id) == await store.frame(source.id) == FRAME
    assert len(await entries(store, job)) == 1


async def test_an_order_of_a_picture_that_is_gone_is_refused_and_leaves_nothing(
    store: JobStore, database: Database
) -> None:
    source = await delivered(store)
    await retention(database, 30 * DAY).run_once()

    with pytest.raises(NotPossible) as refused:
        await again(store, source, job_id="no-job")

    assert refused.value.reason is Problem.PICTURE_NOT_KEPT
    assert await store.get("no-job") is None


async def test_an_order_that_arrives_twice_at_once_makes_one_job(store: JobStore) -> None:
    source = await delivered(store)

    jobs = await asyncio.gather(*(again(store, source, job_id="the-same") for _ in range(5)))

    assert {job.id for job in jobs} == {"the-same"}
    assert len(await entries(store, jobs[0])) == 1


async def test_an_order_that_arrives_twice_is_the_same_one_even_at_the_limit(database: Database) -> None:
    rules = replace(UNLIMITED, limits=LimitOverrides(videos_per_window=2, max_active=5, cooldown_s=0))
    store = JobStore(database, rules)
    source = await delivered(store)
    first = await again(store, source, user_id=ME, job_id="the-same")

    assert await again(store, source, user_id=ME, job_id="the-same") == first
    with pytest.raises(QuotaRefused):
        await again(store, source, user_id=ME)


async def test_deleting_a_video_deletes_its_picture_and_the_link_to_it(
    store: JobStore, database: Database
) -> None:
    source = await delivered(store)
    spent = await entries(store, source)

    assert await store.mark_removed(source.id, MESSAGE, NOW)

    assert await store.frame(source.id) is None
    assert await rows(database, kept_pictures) == []
    assert (await read(store, source)).result_url == LINK_REMOVED
    assert await entries(store, source) == spent, "it was made, so it still counts and costs"


async def test_deleting_a_video_while_it_is_being_posted_deletes_them_as_well(store: JobStore) -> None:
    delivering = await bring_to(store, JobState.DELIVERING)

    assert await store.mark_removed(delivering.id, MESSAGE, NOW)

    assert await store.frame(delivering.id) is None


async def test_the_link_of_a_video_that_was_removed_before_it_was_resumed_is_not_kept(store: JobStore) -> None:
    running = await bring_to(store, JobState.RUNNING)
    assert await store.mark_removed(running.id, MESSAGE, NOW)
    assert await store.apply(running, MoveTo(JobState.DELIVERING, JobUpdate(result_url="https://x/y.mp4")), NOW)

    await store.apply(await claim(store, running.id), MoveTo(JobState.DELIVERED), NOW)

    assert (await read(store, running)).result_url == LINK_REMOVED


async def test_deleting_a_video_deletes_the_copies_of_its_picture_once_no_job_needs_them(
    store: JobStore, database: Database
) -> None:
    source = await delivered(store)
    ended, waiting = await again(store, source), await again(store, source)
    of_a_copy = await again(store, ended)
    for job in (ended, of_a_copy):
        await store.cancel(job.id, NOW, even_if_paid=False)

    assert await store.mark_removed(source.id, MESSAGE, NOW)

    assert [row.job_id for row in await rows(database, first_frames)] == [waiting.id]
    await store.cancel(waiting.id, NOW, even_if_paid=False)
    assert await rows(database, first_frames) == await rows(database, kept_pictures) == []


async def test_deleting_a_video_of_a_copy_leaves_the_picture_that_it_is_of(store: JobStore) -> None:
    source = await delivered(store)
    copy = await again(store, source)
    await store.cancel(copy.id, NOW, even_if_paid=False)
    await store.mark_removed(copy.id, MESSAGE, NOW)

    assert await store.frame(source.id) == FRAME


async def test_an_erasure_deletes_a_members_pictures_at_once_and_nobody_elses(
    store: JobStore, database: Database
) -> None:
    source = await delivered(store)
    copy = await again(store, source)
    await store.cancel(copy.id, NOW, even_if_paid=False)
    another = await bring_to(store, JobState.QUEUED, NOW + MINUTE, user_id=3)
    members = MemberDataStore(database, UNLIMITED)
    assert (await members.preview_erasure(ME)).pictures == 1

    await members.erase(await members.request_erasure(ME, NOW), NOW)

    assert [row.job_id for row in await rows(database, first_frames)] == [another.id]
    assert (await members.preview_erasure(ME)).pictures == 0


async def test_an_erasure_during_a_job_deletes_its_picture_after_its_end(
    store: JobStore, database: Database
) -> None:
    running = await bring_to(store, JobState.RUNNING)
    members = MemberDataStore(database, UNLIMITED)
    erasure = await members.request_erasure(ME, NOW)
    assert not (await members.erase(erasure, NOW)).done
    await store.apply(running, MoveTo(JobState.CANCELLED), NOW)

    await members.erase(erasure, NOW)

    assert await store.frame(running.id) is None


async def test_no_picture_outlives_what_is_known_of_its_job(store: JobStore, database: Database) -> None:
    source = await delivered(store)
    copy = await again(store, source)
    await store.cancel(copy.id, NOW, even_if_paid=False)

    await retention(database, 90 * DAY, days_of_pictures=3650).run_once()

    assert await rows(database, first_frames) == await rows(database, kept_pictures) == []


async def test_an_export_lists_the_members_own_pictures(store: JobStore, database: Database) -> None:
    source = await delivered(store)
    await again(store, source)

    data = await MemberDataStore(database, UNLIMITED).read(ME)

    [picture] = data.pictures
    assert (picture.job_id, picture.mime, picture.size_bytes) == (source.id, FRAME.mime, len(FRAME.data))
    assert picture.ended_at == NOW
