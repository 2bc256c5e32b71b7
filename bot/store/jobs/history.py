"""A member's own videos in one server: pages of them, and their pictures.

All is read by the index of a member's jobs, however many others there are.
"""

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, func, or_, select

from bot.domain.jobs import ACTIVE, REMOVED, Job
from bot.domain.video_list import PAGE_SIZE, VideoFilter, VideoPage, page_count
from bot.store.engine import Connection, Database
from bot.store.jobs.rows import count_jobs, job_of, select_jobs
from bot.store.schema import first_frames, jobs


class MemberHistory:
    """Members' own jobs in a database. Every method raises StoreError where the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, guild_id: int, user_id: int, shows: VideoFilter, number: int) -> VideoPage:
        """A page of the member's videos; the last one where there aren't so many."""
        which = _which(guild_id, user_id, shows)
        async with self._database.read() as connection:
            pages = page_count(await count_jobs(connection, *which))
            number = min(max(number, 0), pages - 1)
            found = await _newest(connection, which, PAGE_SIZE, offset=number * PAGE_SIZE)
            pictures = await _thumbnails(connection, [job.id for job in found])
        return VideoPage(shows, tuple(found), number, pages, pictures)

    async def newest(self, guild_id: int, user_id: int, shows: VideoFilter, limit: int) -> list[Job]:
        """The member's newest videos."""
        async with self._database.read() as connection:
            return await _newest(connection, _which(guild_id, user_id, shows), limit)

    async def thumbnail(self, job_id: str) -> bytes | None:
        """The job's picture as a small JPEG; None if it isn't kept."""
        async with self._database.read() as connection:
            return (await _thumbnails(connection, [job_id])).get(job_id)


def _which(guild_id: int, user_id: int, shows: VideoFilter) -> list[ColumnElement[bool]]:
    which = [jobs.c.guild_id == guild_id, jobs.c.user_id == user_id]
    in_state = jobs.c.state.in_(sorted(shows.states))
    # One that was paid for before its member cancelled it is still made; to them it is cancelled.
    match shows:
        case VideoFilter.IN_PROGRESS:
            which += [in_state, ~jobs.c.cancel_requested]
        case VideoFilter.WITHOUT_VIDEO:
            which.append(or_(in_state, and_(jobs.c.state.in_(sorted(ACTIVE)), jobs.c.cancel_requested)))
        case VideoFilter.READY:
            which += [in_state, func.coalesce(jobs.c.result_message_id, -1) != REMOVED]
        case VideoFilter.ALL:
            pass
    return which


async def _newest(
    connection: Connection, which: list[ColumnElement[bool]], limit: int, offset: int = 0
) -> list[Job]:
    newest_first = select_jobs().where(*which).order_by(jobs.c.created_at.desc(), jobs.c.id.desc())
    return [job_of(row) for row in await connection.execute(newest_first.limit(limit).offset(offset))]


async def _thumbnails(connection: Connection, ids: Collection[str]) -> dict[str, bytes]:
    has_one = first_frames.c.job_id.in_(list(ids)) & first_frames.c.thumbnail.is_not(None)
    rows = await connection.execute(select(first_frames.c.job_id, first_frames.c.thumbnail).where(has_one))
    return {row.job_id: row.thumbnail for row in rows}
