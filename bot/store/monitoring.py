"""What monitoring reads of the database: every few seconds, so no query reads more rows than jobs are in progress.

It says nothing about the jobs that have ended: there may be a hundred thousand, and the workers count them as they
end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import case, func, literal, select

from bot.domain.guilds import Budget, OperatorDefaults
from bot.domain.jobs import JobState, ProviderName
from bot.domain.provider_limits import ProviderLimits
from bot.domain.quotas import Spent
from bot.operations.clock import Clock
from bot.store import operator_reports
from bot.store.engine import Connection, Database
from bot.store.guilds import guild_settings
from bot.store.jobs import due, submissions
from bot.store.jobs.due import DueFor, Times
from bot.store.jobs.submission_gate import Gate
from bot.store.money import ledger
from bot.store.operator_reports import JobTotal
from bot.store.schema import EVERYWHERE, IS_ACTIVE, jobs, notifications

_NO_TIME = timedelta(0)
_HOLD_A_SLOT = (JobState.SUBMITTING, JobState.RUNNING)


@dataclass(frozen=True, slots=True)
class JobsInProgress:
    """The jobs of one state at one provider (None: at none yet).

    oldest: how long the first of them has been in this state. leased: how many a worker has under a lease.
    """

    state: JobState
    provider: ProviderName | None
    jobs: int
    leased: int
    oldest: timedelta


@dataclass(frozen=True, slots=True)
class ProviderFigures:
    """A provider that is asked. slots_used: tasks that run there or are being submitted."""

    gate: Gate
    is_closed: bool
    slots: int
    slots_used: int
    budget: Budget
    spent: Spent


@dataclass(frozen=True, slots=True)
class Figures:
    """What the database says at one moment.

    overdue: by what waits, how long the job that was due first has waited for a worker. unknown_costs: ended jobs
    that a provider may still bill. notifications: those that are due. oldest_notification: how long the first that
    isn't sent has waited, also while it waits for another try.
    """

    in_progress: Sequence[JobsInProgress]
    overdue: Mapping[DueFor, timedelta]
    providers: Mapping[ProviderName, ProviderFigures]
    budget: Budget
    spent: Spent
    unknown_costs: JobTotal
    notifications: int
    oldest_notification: timedelta
    is_draining: bool
    queue_limit: int


class MonitoringStore:
    """Reads for health checks and metrics. limits: of the providers that are asked, in their order."""

    def __init__(
        self, database: Database, defaults: OperatorDefaults, limits: Sequence[ProviderLimits], clock: Clock
    ) -> None:
        self._database = database
        self._defaults = defaults
        self._limits = limits
        self._clock = clock

    async def ping(self) -> None:
        """Returns if the database answers. Raises: StoreError."""
        async with self._database.read() as connection:
            await connection.scalar(select(literal(1)))

    async def gates(self) -> dict[ProviderName, Gate]:
        """Whether jobs are submitted to each provider that is asked, in their order. Raises: StoreError."""
        async with self._database.read() as connection:
            return await submissions.gates(connection, self._defaults, self._clock())

    async def budget(self) -> Budget:
        """The budget for all videos together, as set by command or else by the settings. Raises: StoreError."""
        async with self._database.read() as connection:
            return (await guild_settings.operator_state_of(connection)).budget.over(self._defaults.budget)

    async def figures(self) -> Figures:
        """All of it, in one transaction. Raises: StoreError."""
        now = self._clock()
        async with self._database.read() as connection:
            times = Times(now, await self._database.lease_time(connection, now))
            in_progress = await _in_progress(connection, times)
            state = await guild_settings.operator_state_of(connection)
            due_notifications, oldest_notification = await _notifications(connection, now)
            return Figures(
                in_progress=in_progress,
                overdue={kind: await _overdue(connection, kind, times) for kind in DueFor},
                providers=await self._providers(connection, in_progress, now),
                budget=state.budget.over(self._defaults.budget),
                spent=await ledger.spent(connection, EVERYWHERE, now),
                unknown_costs=await operator_reports.held(connection),
                notifications=due_notifications,
                oldest_notification=oldest_notification,
                is_draining=state.draining,
                queue_limit=state.queue_limit(self._defaults),
            )

    async def _providers(
        self, connection: Connection, in_progress: Sequence[JobsInProgress], now: datetime
    ) -> dict[ProviderName, ProviderFigures]:
        gates = await submissions.gates(connection, self._defaults, now)
        return {
            limits.provider: ProviderFigures(
                gate=gates[limits.provider],
                is_closed=gates[limits.provider].is_closed(now),
                slots=limits.max_running,
                slots_used=sum(
                    found.jobs
                    for found in in_progress
                    if found.provider is limits.provider and found.state in _HOLD_A_SLOT
                ),
                budget=limits.budget,
                spent=await ledger.spent_at_provider(connection, limits.provider, now),
            )
            for limits in self._limits
            if limits.provider in gates
        }


async def _in_progress(connection: Connection, times: Times) -> list[JobsInProgress]:
    leased = case((jobs.c.lease_until > times.lease_now, 1))
    query = (
        select(
            jobs.c.state,
            jobs.c.provider,
            func.count().label("jobs"),
            func.count(leased).label("leased"),
            func.min(jobs.c.state_changed_at).label("since"),
        )
        .where(IS_ACTIVE)
        .group_by(jobs.c.state, jobs.c.provider)
    )
    return [
        JobsInProgress(
            JobState(row.state),
            None if row.provider is None else ProviderName(row.provider),
            row.jobs,
            row.leased,
            max(_NO_TIME, times.now - row.since),
        )
        for row in await connection.execute(query)
    ]


async def _overdue(connection: Connection, kind: DueFor, times: Times) -> timedelta:
    first = await due.first_due_at(connection, kind, times)
    return _NO_TIME if first is None else max(_NO_TIME, times.now - first)


async def _notifications(connection: Connection, now: datetime) -> tuple[int, timedelta]:
    """How many are due, and how long the first that isn't sent has waited; reads only those that aren't sent."""
    due_now = func.count(case((notifications.c.due_at <= now, 1)))
    query = select(due_now.label("due"), func.min(notifications.c.created_at).label("first")).where(
        notifications.c.due_at.is_not(None)
    )
    row = (await connection.execute(query)).one()
    return row.due, _NO_TIME if row.first is None else max(_NO_TIME, now - row.first)
