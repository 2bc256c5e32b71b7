"""How long the latest tasks took, for a start and for the other workers. No row says whose task it was."""

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, and_, func, insert, select

from bot.domain.jobs import ProviderName, Resolution
from bot.domain.models import TaskKind
from bot.domain.task_durations import SAMPLES, TaskDuration
from bot.store.engine import Connection, Database
from bot.store.schema import task_durations

_KIND = [task_durations.c[name] for name in TaskKind._fields]


async def record(connection: Connection, kind: TaskKind, duration: TaskDuration) -> None:
    """Adds a duration, inside the caller's transaction; one that can't be true is left out."""
    if duration.is_plausible:
        columns = {**kind._asdict(), "over_s": duration.over_s, "within_s": duration.within_s}
        await connection.execute(insert(task_durations).values(columns))


class TaskDurationStore:
    """The durations in a database. Every method raises StoreError where the database fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest_id(self) -> int:
        """The id of the newest duration; 0 if there is none."""
        async with self._database.read() as connection:
            return await connection.scalar(select(func.max(task_durations.c.id))) or 0

    async def latest(self) -> Mapping[TaskKind, Sequence[TaskDuration]]:
        """The latest durations of each kind of task, newest first; none that can't be true."""
        async with self._database.read() as connection:
            return {kind: await _latest(connection, kind) for kind in await kinds_with_durations(connection)}


async def kinds_with_durations(connection: Connection) -> list[TaskKind]:
    """The kinds of task of which a duration is known; of a model or a provider that this version knows."""
    rows = await connection.execute(select(*_KIND).distinct())
    return [
        TaskKind(ProviderName(row.provider), row.model, Resolution(row.resolution), row.duration_s)
        for row in rows
        if row.provider in set(ProviderName) and row.resolution in set(Resolution)
    ]


def is_of(kind: TaskKind) -> ColumnElement[bool]:
    """The durations of tasks of this kind."""
    return and_(*(task_durations.c[name] == value for name, value in kind._asdict().items()))


async def _latest(connection: Connection, kind: TaskKind) -> list[TaskDuration]:
    columns = select(task_durations.c.over_s, task_durations.c.within_s)
    query = columns.where(is_of(kind)).order_by(task_durations.c.id.desc())
    found = [TaskDuration(*row) for row in await connection.execute(query.limit(SAMPLES))]
    return [duration for duration in found if duration.is_plausible]
