"""What the operator's page shows, as values. Only reads, of each table no more than the page has room for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from bot.domain.guilds import Budget, OperatorDefaults
from bot.domain.job_history import JobRecord
from bot.domain.jobs import Job, JobState, ProviderName
from bot.domain.models import TaskKind, kind_of
from bot.domain.provider_limits import NO_BUDGET, ProviderLimits
from bot.domain.quotas import Spent
from bot.domain.task_durations import Remaining
from bot.domain.waiting import TellRemaining
from bot.operations.clock import Clock
from bot.operations.process_name import process_name
from bot.services.operator.reports import ProviderGate
from bot.store import operator_reports
from bot.store.engine import Connection, Database
from bot.store.guilds import guild_settings
from bot.store.job_record import job_record
from bot.store.jobs import all_servers, lease_holders, submissions
from bot.store.jobs.all_servers import ServerTotal, StateTotal
from bot.store.jobs.lease_holders import LeaseHolder, holder_of
from bot.store.jobs.rows import job_of
from bot.store.money import ledger
from bot.store.operator_reports import JobTotal
from bot.store.schema import EVERYWHERE

PAGE_SIZE = 50
"""How many jobs a page of a list has."""

PAGES_MAX = 40
"""How many pages a list has at most: the database counts through those before."""

_SERVERS = 10
_IN_LINE = 5


@dataclass(frozen=True, slots=True)
class ProviderStatus:
    """A provider: whether it takes jobs, how many of its slots are taken, and what it costs.

    gate: None for one that isn't asked any more. held: its ended jobs whose cost is unknown.
    """

    provider: ProviderName
    gate: ProviderGate | None
    taken: int
    slots: int
    spent: Spent
    budget: Budget
    held: JobTotal

    @property
    def has_anything(self) -> bool:
        """Whether it has tasks, or costs this month."""
        return bool(self.taken or self.held.jobs or self.spent.usd_month)


@dataclass(frozen=True, slots=True)
class PageOverview:
    """The present, across all servers.

    states: of active jobs, by their state. late: how many run longer than nine of ten did. servers: the busiest.
    next_jobs: the first in line. process: the one that answers. lease_now: the time by which leases end. reserved:
    for jobs in progress whose cost isn't known yet.
    """

    now: datetime
    lease_now: datetime
    process: str
    is_draining: bool
    queue_max: int
    states: Mapping[JobState, StateTotal]
    late: int
    servers: Sequence[ServerTotal]
    next_jobs: Sequence[Job]
    spent: Spent
    budget: Budget
    reserved: Decimal
    providers: Sequence[ProviderStatus]
    workers: Sequence[LeaseHolder]


@dataclass(frozen=True, slots=True)
class JobLine:
    """An active job in a list.

    usual: how long such tasks take from their submission; None if too little is known, and for jobs that aren't
    running. age_s: since then. place: in the queue. holder: the process that works on it at the moment, where that
    is known.
    """

    job: Job
    usual: Remaining | None = None
    age_s: float | None = None
    place: int | None = None
    is_held: bool = False
    holder: str | None = None

    @property
    def is_late(self) -> bool:
        """Whether it runs longer than nine of ten did."""
        return self.usual is not None and self.age_s is not None and self.age_s > self.usual.p90_s


@dataclass(frozen=True, slots=True)
class JobPage:
    """A page of a list. number: counted from 1. total: None where it isn't counted."""

    now: datetime
    lines: Sequence[JobLine]
    number: int
    has_next: bool
    total: int | None = None


class OperatorPageService:
    """Reads what the operator's page shows. Every method raises StoreError where the database fails.

    limits: what each provider takes. remaining: how much longer tasks take, as this process has learned it.
    """

    def __init__(
        self,
        database: Database,
        rules: OperatorDefaults,
        limits: Sequence[ProviderLimits],
        remaining: TellRemaining,
        clock: Clock,
    ) -> None:
        self._database = database
        self._rules = rules
        self._limits = {each.provider: each for each in limits}
        self._remaining = remaining
        self._clock = clock

    async def overview(self) -> PageOverview:
        """The present, across all servers."""
        now = self._clock()
        async with self._database.read() as connection:
            state = await guild_settings.operator_state_of(connection)
            late, _ = await all_servers.running_since(connection, await self._late_since(connection, now), limit=0)
            line = await connection.execute(submissions.next_in_line(count=_IN_LINE))
            return PageOverview(
                now=now,
                lease_now=await self._database.lease_time(connection, now),
                process=process_name(),
                is_draining=state.draining,
                queue_max=state.queue_limit(self._rules),
                states=await all_servers.by_state(connection),
                late=late,
                servers=await all_servers.by_server(connection, _SERVERS),
                next_jobs=[job_of(row) for row in line],
                spent=await ledger.spent(connection, EVERYWHERE, now),
                budget=state.budget.over(self._rules.budget),
                reserved=await operator_reports.reserved(connection),
                providers=await self._providers(connection, now),
                workers=await lease_holders.lease_holders(connection),
            )

    async def _providers(self, connection: Connection, now: datetime) -> list[ProviderStatus]:
        """Those that are asked, in their order, and then the others, as long as anything of theirs remains."""
        gates = await submissions.gates(connection, self._rules, now)
        taken = await all_servers.slots_taken(connection)
        held = await operator_reports.held_at_providers(connection)
        found = [
            ProviderStatus(
                provider,
                ProviderGate.of(gates[provider], now) if provider in gates else None,
                taken.get(provider, 0),
                self._limits[provider].max_running if provider in self._limits else 0,
                await ledger.spent_at_provider(connection, provider, now),
                self._rules.provider_budgets.get(provider, NO_BUDGET),
                held.get(provider, JobTotal(0, Decimal(0))),
            )
            for provider in (*gates, *(name for name in ProviderName if name not in gates))
        ]
        return [one for one in found if one.gate is not None or one.has_anything]

    async def in_progress(self, state: JobState, number: int = 1, *, late_only: bool = False) -> JobPage:
        """A page of the active jobs in a state, those that were ordered first. late_only: of the running ones."""
        now, number = self._clock(), _bounded(number)
        window = {"limit": PAGE_SIZE, "offset": (number - 1) * PAGE_SIZE}
        async with self._database.read() as connection:
            if late_only:
                since = await self._late_since(connection, now)
                total, found = await all_servers.running_since(connection, since, **window)
            else:
                totals = await all_servers.by_state(connection)
                total = totals[state].jobs if state in totals else 0
                found = await all_servers.in_state(connection, state, **window)
            places = await all_servers.places(connection) if state is JobState.QUEUED else {}
            leases = await all_servers.leases_of(connection, [job.id for job in found])
            lease_now = await self._database.lease_time(connection, now)
        lines = []
        for job in found:
            token, lease_until = leases.get(job.id, (None, None))
            is_held = lease_until is not None and lease_until > lease_now
            holder = holder_of(token) if is_held else None
            usual, age_s = self._usual(job), _age_s(job, now)
            lines.append(JobLine(job, usual, age_s, places.get(job.id), is_held, holder))
        return JobPage(now, lines, number, number < min(-(-total // PAGE_SIZE), PAGES_MAX), total)

    async def failures(self, number: int = 1) -> JobPage:
        """A page of the failed jobs of all servers, those that failed last first."""
        number = _bounded(number)
        async with self._database.read() as connection:
            found = await all_servers.failed(connection, limit=PAGE_SIZE + 1, offset=(number - 1) * PAGE_SIZE)
        lines = [JobLine(job) for job in found[:PAGE_SIZE]]
        return JobPage(self._clock(), lines, number, len(found) > PAGE_SIZE and number < PAGES_MAX)

    async def job(self, job_id: str) -> JobRecord | None:
        """Everything that is stored about a job of any server; None if there is no such job."""
        async with self._database.read() as connection:
            return await job_record(connection, job_id)

    async def held(self) -> JobTotal:
        """Ended jobs whose cost is unknown and still counts towards the budgets."""
        async with self._database.read() as connection:
            return await operator_reports.held(connection)

    def line(self, job: Job) -> JobLine:
        """The job as in a list, with its age and how long such tasks take."""
        return JobLine(job, self._usual(job), _age_s(job, self._clock()))

    async def _late_since(self, connection: Connection, now: datetime) -> dict[TaskKind, datetime]:
        """For each kind of running task of which enough is known: those submitted before then are late."""
        known = {kind: self._remaining(kind, 0.0) for kind in await all_servers.running_kinds(connection)}
        return {kind: now - timedelta(seconds=usual.p90_s) for kind, usual in known.items() if usual is not None}

    def _usual(self, job: Job) -> Remaining | None:
        return self._remaining(kind_of(job), 0.0) if job.state is JobState.RUNNING else None


def _age_s(job: Job, now: datetime) -> float | None:
    """How long its task runs, in seconds; None if it doesn't."""
    if job.state is not JobState.RUNNING or job.submitted_at is None:
        return None
    return max(0.0, (now - job.submitted_at).total_seconds())


def _bounded(number: int) -> int:
    return min(max(number, 1), PAGES_MAX)
