"""How long the latest tasks took, for a start and for the other workers. No row says whose task it was."""

from collections.abc import Mapping, Sequence

from sqlalchemy import func, insert, select

from bot.domain.jobs import Resolution
from bot.domain.task_durations import SAMPLES, TaskDuration
from bot.store.engine import Connection, Database
from bot.store.schema import task_durations


async def record(connection: Connection, resolution: Resolution, duration: TaskDuration) -> None:
    """Adds a duration, inside the caller's transaction; one that can't be true is left out."""
    if duration.is_plausible:
        columns = {"resolution": resolution, "over_s": duration.over_s, "within_s": duration.within_s}
        await connection.execute(insert(task_durations).values(columns))


class TaskDurationStore:
    """The durations in a database. Every method raises StoreError where the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest_id(self) -> int:
        """The id of the newest duration; 0 if there is none."""
        async with self._database.read() as connection:
            return await connection.scalar(select(func.max(task_durations.c.id))) or 0

    async def latest(self) -> Mapping[Resolution, Sequence[TaskDuration]]:
        """The latest durations of each resolution, newest first; none that can't be true."""
        async with self._database.read() as connection:
            return {resolution: await _latest(connection, resolution) for resolution in Resolution}


async def _latest(connection: Connection, resolution: Resolution) -> list[TaskDuration]:
    columns = select(task_durations.c.over_s, task_durations.c.within_s)
    query = columns.where(task_durations.c.resolution == resolution).order_by(task_durations.c.id.desc())
    found = [TaskDuration(*row) for row in await connection.execute(query.limit(SAMPLES))]
    return [duration for duration in found if duration.is_plausible]
