"""Jobs' pictures and how long they stay, inside the caller's transaction.

A picture is deleted once its job was submitted, unless it is kept, to make the video again: then it has a row in
`kept_pictures`. That is a table of its own, since SQLite would write the whole picture again to change a column
beside it. A picture's copies, which others' videos are made from, go when its member deletes it.
"""

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime

from sqlalchemy import delete, exists, func, insert, literal, not_, or_, select, update

from bot.domain.errors import NotPossible, Problem
from bot.domain.jobs import ENDED, Frame, JobState
from bot.domain.repeats import KeptFrame
from bot.store.engine import Connection
from bot.store.guilds import guild_settings
from bot.store.schema import first_frames, kept_pictures
from bot.store.types import StorableText

BATCH = 20
"""How many pictures one transaction deletes: each takes up to 10 MB, and SQLite overwrites what it deletes."""

_NEEDED_IN = frozenset({JobState.AWAITING, JobState.QUEUED, JobState.SUBMITTING})
_COPIED = [first_frames.c.mime, first_frames.c.data, first_frames.c.thumbnail]


async def add(connection: Connection, job_id: str, frame: Frame | KeptFrame, *, keep: bool) -> None:
    """Stores the picture of a new job. keep: also after its submission.

    A kept picture is copied; the caller has locked the operator state, so that nobody deletes it meanwhile.
    Raises: NotPossible if that picture is gone.
    """
    origin_id = job_id
    if isinstance(frame, KeptFrame):
        of_source = select(kept_pictures.c.origin_id).where(kept_pictures.c.job_id == frame.job_id)
        origin_id = await connection.scalar(of_source) or frame.job_id
        columns = select(literal(job_id, StorableText), *_COPIED).where(first_frames.c.job_id == frame.job_id)
        names = ["job_id", *(column.name for column in _COPIED)]
        copied = await connection.execute(insert(first_frames).from_select(names, columns))
        if not copied.rowcount:
            raise NotPossible(Problem.PICTURE_NOT_KEPT)
    else:
        await connection.execute(insert(first_frames).values(job_id=job_id, **asdict(frame)))
    if keep:
        await connection.execute(insert(kept_pictures).values(job_id=job_id, origin_id=origin_id))


async def follow(connection: Connection, job_id: str, state: JobState, now: datetime) -> None:
    """Deletes the picture of a job that needs it no more, or notes since when it is only kept."""
    if state in _NEEDED_IN:
        return
    if state in ENDED:
        ended = update(kept_pictures).where(kept_pictures.c.job_id == job_id).values(ended_at=now)
        await connection.execute(ended)
    is_kept = exists(select(kept_pictures.c.job_id).where(kept_pictures.c.job_id == first_frames.c.job_id))
    await connection.execute(delete(first_frames).where(first_frames.c.job_id == job_id, not_(is_kept)))


async def those_with_one(connection: Connection, job_ids: Collection[str]) -> frozenset[str]:
    """Those of the jobs that still have a picture."""
    query = select(first_frames.c.job_id).where(first_frames.c.job_id.in_(list(job_ids)))
    return frozenset(await connection.scalars(query))


async def delete_with_copies(connection: Connection, job_ids: Collection[str]) -> int:
    """Deletes the pictures of these jobs, none of which needs one, and all copies; returns how many.

    A copy whose job isn't submitted yet goes with its submission. Locks the operator state, and only then what is
    kept: the caller must not have changed that before.
    """
    ids = list(job_ids)
    theirs = or_(kept_pictures.c.job_id.in_(ids), kept_pictures.c.origin_id.in_(ids))
    if await connection.scalar(select(func.count()).select_from(kept_pictures).where(theirs)):
        # No copy that is being ordered may be missed.
        await guild_settings.lock_operator_state(connection)
        query = select(kept_pictures.c.job_id, kept_pictures.c.ended_at).where(theirs)
        rows = (await connection.execute(query.order_by(kept_pictures.c.job_id).with_for_update())).all()
        ids += [row.job_id for row in rows if row.ended_at is not None]
        kept = [row.job_id for row in rows]
        await connection.execute(delete(kept_pictures).where(kept_pictures.c.job_id.in_(kept)))
    return (await connection.execute(delete(first_frames).where(first_frames.c.job_id.in_(ids)))).rowcount


async def delete_kept_since(connection: Connection, before: datetime) -> int:
    """Deletes a batch of kept pictures whose jobs ended by then; returns how many."""
    ended = select(kept_pictures.c.job_id).where(kept_pictures.c.ended_at <= before)
    batch = ended.order_by(kept_pictures.c.ended_at).limit(BATCH).with_for_update(skip_locked=True)
    ids = list(await connection.scalars(batch))
    for table in (first_frames, kept_pictures):
        await connection.execute(delete(table).where(table.c.job_id.in_(ids)))
    return len(ids)
