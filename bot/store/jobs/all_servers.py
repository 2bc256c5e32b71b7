"""The jobs of all servers, as the operator looks at them; all inside the caller's transaction.

What is in progress is read by the indexes of active jobs, and failures by that of all failures, newest first: both
cost the same however many jobs have ended.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import ColumnElement, and_, false, func, or_, select

from bot.domain.jobs import Job, JobState, ProviderName, Resolution
from bot.domain.models import TaskKind
from bot.store.engine import Connection
from bot.store.jobs import submissions
from bot.store.jobs.rows import count_jobs, job_of, select_jobs
from bot.store.schema import IS_ACTIVE, IS_FAILED, jobs

_KIND = [jobs.c[name] for name in TaskKind._fields]


@dataclass(frozen=True, slots=True)
class StateTotal:
    """The active jobs in one state. oldest_at: when the oldest of them was ordered."""

    jobs: int
    oldest_at: datetime


@dataclass(frozen=True, slots=True)
class ServerTotal:
    """The active jobs of one server, by state."""

    guild_id: int
    states: Mapping[JobState, int] = field(default_factory=dict)

    @property
    def jobs(self) -> int:
        """All of them."""
        return sum(self.states.values())


async def by_state(connection: Connection) -> dict[JobState, StateTotal]:
    """How many jobs are in each active state, and since when the oldest waits."""
    query = (
        select(jobs.c.state, func.count().label("jobs"), func.min(jobs.c.created_at).label("oldest_at"))
        .where(IS_ACTIVE)
        .group_by(jobs.c.state)
    )
    return {JobState(row.state): StateTotal(row.jobs, row.oldest_at) for row in await connection.execute(query)}


async def by_server(connection: Connection, limit: int) -> list[ServerTotal]:
    """The servers with the most active jobs, the busiest first."""
    busiest = (
        select(jobs.c.guild_id)
        .where(IS_ACTIVE)
        .group_by(jobs.c.guild_id)
        .order_by(func.count().desc(), jobs.c.guild_id)
        .limit(limit)
    )
    ids = list(await connection.scalars(busiest))
    query = (
        select(jobs.c.guild_id, jobs.c.state, func.count().label("jobs"))
        .where(IS_ACTIVE, jobs.c.guild_id.in_(ids))
        .group_by(jobs.c.guild_id, jobs.c.state)
    )
    states: defaultdict[int, dict[JobState, int]] = defaultdict(dict)
    for row in await connection.execute(query):
        states[row.guild_id][JobState(row.state)] = row.jobs
    return [ServerTotal(guild_id, states[guild_id]) for guild_id in ids]


async def slots_taken(connection: Connection) -> dict[ProviderName, int]:
    """How many tasks each provider has, or is being asked for."""
    query = (
        select(jobs.c.provider, func.count().label("jobs"))
        .where(submissions.HOLDS_A_SLOT, jobs.c.provider.is_not(None))
        .group_by(jobs.c.provider)
    )
    return {ProviderName(row.provider): row.jobs for row in await connection.execute(query)}


async def in_state(connection: Connection, state: JobState, *, limit: int, offset: int = 0) -> list[Job]:
    """The active jobs in a state, those that were ordered first."""
    return await _oldest(connection, jobs.c.state == state, limit=limit, offset=offset)


async def places(connection: Connection) -> dict[str, int]:
    """The places of all queued jobs in line, by id; 1 is the next."""
    line = await connection.scalars(submissions.next_in_line().with_only_columns(jobs.c.id).limit(None))
    return {job_id: place for place, job_id in enumerate(line, start=1)}


async def running_kinds(connection: Connection) -> list[TaskKind]:
    """The kinds of task that are running."""
    query = select(*_KIND).where(IS_ACTIVE, jobs.c.state == JobState.RUNNING, jobs.c.provider.is_not(None))
    return [
        TaskKind(ProviderName(row.provider), row.model, Resolution(row.resolution), row.duration_s)
        for row in await connection.execute(query.distinct())
    ]


async def running_since(
    connection: Connection, before: Mapping[TaskKind, datetime], *, limit: int, offset: int = 0
) -> tuple[int, list[Job]]:
    """How many tasks of each kind run since before a time, and a page of them, those that were ordered first."""
    is_late = or_(false(), *(_runs_since(kind, moment) for kind, moment in before.items()))
    count = await count_jobs(connection, IS_ACTIVE, jobs.c.state == JobState.RUNNING, is_late)
    found = await _oldest(connection, jobs.c.state == JobState.RUNNING, is_late, limit=limit, offset=offset)
    return count, found


def _runs_since(kind: TaskKind, moment: datetime) -> ColumnElement[bool]:
    is_kind = (column == value for column, value in zip(_KIND, kind, strict=True))
    return and_(*is_kind, jobs.c.submitted_at < moment)


async def failed(connection: Connection, *, limit: int, offset: int = 0) -> list[Job]:
    """The failed jobs, those that failed last first."""
    query = select_jobs().where(IS_FAILED).order_by(jobs.c.state_changed_at.desc(), jobs.c.id)
    return [job_of(row) for row in await connection.execute(query.limit(limit).offset(offset))]


async def _oldest(connection: Connection, *where: ColumnElement[bool], limit: int, offset: int) -> list[Job]:
    query = select_jobs().where(IS_ACTIVE, *where).order_by(jobs.c.created_at, jobs.c.id)
    return [job_of(row) for row in await connection.execute(query.limit(limit).offset(offset))]


async def leases_of(connection: Connection, ids: Iterable[str]) -> dict[str, tuple[str | None, datetime]]:
    """Under which token, and until when, jobs are held, by id; without those that nobody holds."""
    columns = select(jobs.c.id, jobs.c.lease_token, jobs.c.lease_until)
    query = columns.where(jobs.c.id.in_(list(ids)), jobs.c.lease_until.is_not(None))
    return {row.id: (row.lease_token, row.lease_until) for row in await connection.execute(query)}
