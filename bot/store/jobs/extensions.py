"""Which jobs go on from another one's video."""

from collections.abc import Collection, Mapping
from dataclasses import asdict

from sqlalchemy import delete, exists, insert, select, tuple_, update

from bot.domain.extensions import Clip, Extension, ParentMessage
from bot.domain.jobs import Job
from bot.store.bulk import IDS, is_among
from bot.store.engine import Connection, Database
from bot.store.schema import extensions, jobs


class ExtensionStore:
    """The extensions in a database. Every method raises StoreError where the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def of(self, job_id: str) -> Extension | None:
        """What the job goes on from; None for a video that begins with a picture."""
        query = select(extensions.c.parent_id, extensions.c.pieces, extensions.c.seconds).where(
            extensions.c.job_id == job_id
        )
        async with self._database.read() as connection:
            row = (await connection.execute(query)).one_or_none()
        return None if row is None else Extension(row.parent_id, row.pieces, row.seconds)

    async def record_clip(self, job: Job, clip: Clip) -> None:
        """Records what the clip that is about to be posted consists of, unless the job's lease was lost."""
        is_held = exists().where(jobs.c.id == job.id, jobs.c.lease_token == job.lease_token)
        columns = extensions.c.pieces, extensions.c.seconds
        is_other = tuple_(*columns) != tuple_(clip.pieces, clip.seconds)
        changed = update(extensions).where(extensions.c.job_id == job.id, is_other, is_held)
        async with self._database.write() as connection:
            await connection.execute(changed.values(pieces=clip.pieces, seconds=clip.seconds))


async def add(connection: Connection, job_id: str, extension: Extension) -> None:
    """Writes what a new job goes on from, inside the caller's transaction."""
    await connection.execute(insert(extensions).values(asdict(extension) | {"job_id": job_id}))


async def parent_messages(connection: Connection, parent_ids: Collection[str]) -> Mapping[str, ParentMessage]:
    """The messages of these jobs' videos, by the job's id, where they are still in their channel."""
    query = select(jobs.c.id, jobs.c.guild_id, jobs.c.channel_id, jobs.c.result_message_id).where(
        is_among(jobs.c.id, connection.dialect.name),
        jobs.c.result_message_id > 0,
        jobs.c.result_channel_id.is_(None),
    )
    rows = await connection.execute(query, {IDS: list(parent_ids)})
    return {row.id: ParentMessage(row.guild_id, row.channel_id, row.result_message_id) for row in rows}


async def parents_of_member(connection: Connection, user_id: int) -> Mapping[str, str]:
    """The jobs that a member's jobs go on from, by the id of theirs."""
    query = select(extensions.c.job_id, extensions.c.parent_id).join(jobs, jobs.c.id == extensions.c.job_id)
    rows = await connection.execute(query.where(jobs.c.user_id == user_id))
    return {row.job_id: row.parent_id for row in rows}


async def forget(connection: Connection, job_ids: Collection[str]) -> None:
    """Deletes what these jobs go on from, inside the caller's transaction."""
    await connection.execute(delete(extensions).where(extensions.c.job_id.in_(job_ids)))
