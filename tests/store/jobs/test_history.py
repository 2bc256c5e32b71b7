"""Pages of a member's own videos."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from bot.domain.jobs import REMOVED, Job, JobState
from bot.domain.video_list import PAGE_SIZE, VideoFilter
from bot.store.engine import Database
from bot.store.jobs.job_store import JobStore
from bot.store.schema import first_frames, jobs
from tests.store.factories import NOW, add

HERE, ME = 10, 1


async def add_many(store: JobStore, number: int) -> list[Job]:
    """Jobs of the member's, the newest first."""
    made = [await add(store, now=NOW + timedelta(minutes=minute), user_id=ME) for minute in range(number)]
    return made[::-1]


async def change(database: Database, job: Job, **values: object) -> None:
    async with database.write() as connection:
        await connection.execute(update(jobs).where(jobs.c.id == job.id).values(values))


async def test_pages_show_each_video_once_the_newest_first(store: JobStore) -> None:
    made = await add_many(store, 2 * PAGE_SIZE + 1)

    pages = [await store.history.page(HERE, ME, VideoFilter.ALL, number) for number in range(3)]

    assert [job.id for page in pages for job in page.jobs] == [job.id for job in made]
    assert {page.count for page in pages} == {3}


@pytest.mark.parametrize("number", [1, 7, 10**9, -1])
async def test_a_page_that_there_is_not_shows_the_nearest(store: JobStore, number: int) -> None:
    await add_many(store, 2)

    page = await store.history.page(HERE, ME, VideoFilter.ALL, number)

    assert (page.number, page.count, len(page.jobs)) == (0, 1, 2)


async def test_each_filter_shows_its_states_only(store: JobStore, database: Database) -> None:
    ready, removed, failed, cancelled, waiting = await add_many(store, 5)
    await change(database, ready, state=JobState.DELIVERED, result_message_id=5)
    await change(database, removed, state=JobState.DELIVERED, result_message_id=REMOVED)
    await change(database, failed, state=JobState.FAILED)
    await change(database, cancelled, state=JobState.CANCELLED)

    async def shown(shows: VideoFilter) -> list[str]:
        return [job.id for job in (await store.history.page(HERE, ME, shows, 0)).jobs]

    assert len(await shown(VideoFilter.ALL)) == 5
    assert await shown(VideoFilter.READY) == [ready.id]
    assert await shown(VideoFilter.WITHOUT_VIDEO) == [failed.id, cancelled.id]
    assert await shown(VideoFilter.IN_PROGRESS) == [waiting.id]


async def test_videos_of_others_and_of_other_servers_are_not_shown(store: JobStore) -> None:
    await add(store, user_id=2)
    await add(store, user_id=ME, guild_id=11)

    page = await store.history.page(HERE, ME, VideoFilter.ALL, 0)

    assert (page.jobs, page.count) == ((), 1)


async def test_pictures_come_with_the_page_where_they_are_kept(store: JobStore, database: Database) -> None:
    kept, without = await add_many(store, 2)
    async with database.write() as connection:
        await connection.execute(
            update(first_frames).where(first_frames.c.job_id == kept.id).values(thumbnail=b"small")
        )

    page = await store.history.page(HERE, ME, VideoFilter.ALL, 0)

    assert page.thumbnails == {kept.id: b"small"}
    assert await store.history.thumbnail(kept.id) == b"small"
    assert await store.history.thumbnail(without.id) is None
