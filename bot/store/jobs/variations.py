"""Which jobs were ordered together as variations. Functions run inside the caller's transaction."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, Select, insert, select

from bot.domain.jobs import Job
from bot.domain.variations import Variation
from bot.store.engine import Connection
from bot.store.jobs.rows import job_of, select_jobs
from bot.store.schema import jobs, variations

_PLACE = [variations.c.group_id, variations.c.position, variations.c.size]


async def record(connection: Connection, job_ids: Sequence[str]) -> None:
    """Writes that these jobs, in this order, are variations of each other. They are named after the first."""
    rows = [
        {"job_id": job_id, "group_id": job_ids[0], "position": position, "size": len(job_ids)}
        for position, job_id in enumerate(job_ids, 1)
    ]
    await connection.execute(insert(variations), rows)


async def ordered_with(connection: Connection, job_id: str) -> list[Job]:
    """The job and its variations, in their order; nothing if it was ordered alone."""
    of_its_group = select(variations.c.group_id).where(variations.c.job_id == job_id).scalar_subquery()
    query = (
        select_jobs()
        .join(variations, variations.c.job_id == jobs.c.id)
        .where(variations.c.group_id == of_its_group)
        .order_by(variations.c.position)
    )
    return [job_of(row) for row in await connection.execute(query)]


def with_place(query: Select[Any]) -> Select[Any]:
    """A query of jobs, with the columns that `place_in` reads."""
    return query.add_columns(*_PLACE).outerjoin(variations, variations.c.job_id == jobs.c.id)


def place_in(row: Row[Any]) -> Variation | None:
    """The place of the job in this row; None if it was ordered alone."""
    return None if row.group_id is None else Variation(row.group_id, row.position, row.size)
