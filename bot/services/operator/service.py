"""The operator's side of the machine: budgets, access, draining, reconciling, announcing, and what all costs."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind, usd
from bot.domain.errors import NotPossible, Reason
from bot.domain.guilds import Access, Budget, Guild, OperatorDefaults, OperatorState
from bot.domain.jobs import CancelResult, FailureCause, Job, JobState, RecoveryProblem, Resolution
from bot.domain.ledger import Entry, EntryKind
from bot.domain.notifications import Announcement
from bot.domain.quotas import Spent
from bot.operations.clock import Clock
from bot.services.operator import operator_input
from bot.services.operator.audit import Operator, record
from bot.store import operator_reports
from bot.store.engine import Connection, Database
from bot.store.guilds import audit_log, guild_settings
from bot.store.jobs import recovery, transitions
from bot.store.money import ledger
from bot.store.operator_reports import GuildUsage, KindTotal, Price
from bot.store.outbox import notifications
from bot.store.schema import EVERYWHERE

TRAIL_MAX = 50
"""How many entries of the audit log are read at once."""

OPEN_MAX = 200
"""How many jobs that need reconciling are read at once."""

_NO_TIME = timedelta(0)
"""How old a task may be that was looked up by hand: that is not asked then."""


@dataclass(frozen=True, slots=True)
class QueueIsOne(Reason):
    """The length of the queue can't be set for a single server."""


@dataclass(frozen=True, slots=True)
class CannotReconcile(Reason):
    """It can't be said of this job what became of its task."""

    why: RecoveryProblem


@dataclass(frozen=True, slots=True)
class UnknownJob(Reason):
    """No job, of whichever server, has that id."""


@dataclass(frozen=True, slots=True)
class HouseReport:
    """The house as it stands. house: what commands set. budget, queue_max: what holds. waiting: jobs that wait."""

    house: OperatorState
    budget: Budget
    queue_max: int
    spent: Spent
    under_way: Mapping[JobState, int]

    @property
    def waiting(self) -> int:
        """Jobs of which nothing has cost anything yet."""
        return sum(self.under_way.get(state, 0) for state in operator_reports.WAITING)

    @property
    def left(self) -> int:
        """Jobs that have not ended."""
        return sum(self.under_way.values())


@dataclass(frozen=True, slots=True)
class Costs:
    """What videos cost. settings: the prices that were set; learned: what recent tasks cost, used: what holds.

    reserved: for jobs that have not ended. unknown, unknown_usd: jobs to be reconciled, and their estimates.
    """

    settings: Mapping[Resolution, Decimal]
    learned: Mapping[Resolution, Price]
    used: Mapping[Resolution, Decimal]
    kinds: Mapping[EntryKind, KindTotal]
    reserved: Decimal
    unknown: int
    unknown_usd: Decimal


@dataclass(frozen=True, slots=True)
class Announced:
    """To how many servers an announcement goes, and which have no channel for it."""

    told: int
    unreached: tuple[int, ...]


class OperatorService:
    """The operator's side of the machine. guild_id, user_ids: where it may be asked, and by whom."""

    def __init__(
        self,
        database: Database,
        rules: OperatorDefaults,
        *,
        guild_id: int,
        user_ids: Collection[int],
        wake: Callable[[], None],
        clock: Clock,
    ) -> None:
        self.guild_id = guild_id
        self.user_ids = frozenset(user_ids)
        self.rules = rules
        self._database = database
        self._wake = wake
        self._clock = clock

    async def servers(self, known: Collection[int] = ()) -> list[GuildUsage]:
        """All servers, the most expensive of this month first. known: others to be listed, where the bot is."""
        async with self._database.read() as connection:
            found = await operator_reports.guild_usage(connection, self._clock())
        listed = {use.guild.id for use in found}
        return found + [GuildUsage(Guild(guild_id)) for guild_id in sorted(set(known) - listed)]

    async def server(self, guild_id: int) -> GuildUsage:
        """One server; as a new one where nothing is known of it."""
        return next(use for use in await self.servers([guild_id]) if use.guild.id == guild_id)

    async def house(self) -> HouseReport:
        """Budgets, what is used of them, and what is under way."""
        async with self._database.read() as connection:
            house = await guild_settings.operator_state_of(connection)
            return HouseReport(
                house=house,
                budget=house.budget.over(self.rules.budget),
                queue_max=house.places(self.rules),
                spent=await ledger.spent(connection, EVERYWHERE, self._clock()),
                under_way=await operator_reports.active_by_state(connection),
            )

    async def set_budgets(
        self,
        operator: Operator,
        guild_id: int | None = None,
        *,
        usd_per_day: str | None = None,
        usd_per_month: str | None = None,
        queue_max: str | None = None,
    ) -> list[AuditEntry]:
        """Changes what holds over everything, or in one server; None leaves a part alone. Raises: NotPossible.

        Comes back with what was asked for, changed or not.
        """
        if guild_id is None:
            return await self._set_house(operator, usd_per_day, usd_per_month, queue_max)
        if queue_max is not None:
            raise NotPossible(QueueIsOne())
        return await self._set_server(operator, guild_id, usd_per_day, usd_per_month)

    async def _set_house(
        self, operator: Operator, usd_per_day: str | None, usd_per_month: str | None, queue_max: str | None
    ) -> list[AuditEntry]:
        rules = self.rules
        async with self._acting() as (connection, before, now):
            day, month, queued = before.budget.usd_per_day, before.budget.usd_per_month, before.max_queued
            if usd_per_day is not None:
                day = operator_input.amount(usd_per_day, rules.budget.usd_per_day)
            if usd_per_month is not None:
                month = operator_input.amount(usd_per_month, rules.budget.usd_per_month)
            if queue_max is not None:
                queued = operator_input.count(queue_max)
            after = replace(before, budget=Budget(day, month), max_queued=queued)
            await operator_reports.write_operator_state(connection, after)
            changes = [
                AuditedChange(
                    Action.BUDGET_SET,
                    before=_budget(before.budget, rules.budget),
                    after=_budget(after.budget, rules.budget),
                ),
                AuditedChange(
                    Action.QUEUE_MAX_SET,
                    before={"videos": _holds(before.max_queued, rules.max_queued)},
                    after={"videos": _holds(queued, rules.max_queued)},
                ),
            ]
            return [await record(connection, operator, now, it) for it in changes]

    async def _set_server(
        self, operator: Operator, guild_id: int, usd_per_day: str | None, usd_per_month: str | None
    ) -> list[AuditEntry]:
        otherwise = self.rules.guild_budget
        async with self._acting() as (connection, _, now):
            before = (await guild_settings.get(connection, guild_id)).budget
            day, month = before.usd_per_day, before.usd_per_month
            if usd_per_day is not None:
                day = operator_input.amount(usd_per_day, otherwise.usd_per_day)
            if usd_per_month is not None:
                month = operator_input.amount(usd_per_month, otherwise.usd_per_month)
            await guild_settings.write(
                connection, guild_id, {"granted_usd_per_day": day, "granted_usd_per_month": month}
            )
            change = _about(
                guild_id, Action.BUDGET_SET, _budget(before, otherwise), _budget(Budget(day, month), otherwise)
            )
            return [await record(connection, operator, now, change, guild_id=guild_id)]

    async def set_access(self, operator: Operator, guild_id: int, access: Access) -> tuple[AuditEntry, int]:
        """Lets a server use the bot, or not. Comes back with how many waiting jobs were cancelled, free.

        Blocked: what waits is cancelled; what is under way is paid for and is finished. Asked again, it cancels
        what a process that died in between has left.
        """
        async with self._acting() as (connection, _, now):
            before = (await guild_settings.get(connection, guild_id)).access
            await guild_settings.write(connection, guild_id, {"access": access})
            change = _about(guild_id, Action.ACCESS_SET, {"access": before.value}, {"access": access.value})
            entry = await record(connection, operator, now, change, guild_id=guild_id)
        cancelled = await self._cancel_waiting(operator, guild_id) if access is Access.BLOCKED else 0
        self._wake()
        return entry, cancelled

    async def _cancel_waiting(self, operator: Operator, guild_id: int) -> int:
        async with self._database.read() as connection:
            waiting = await operator_reports.waiting_job_ids(connection, guild_id)
        cancelled = 0
        for job_id in waiting:  # each by itself: a job's row is never locked behind the house's
            async with self._database.write() as connection:
                result = await transitions.cancel(
                    connection,
                    job_id,
                    self._clock(),
                    paid_too=False,
                    by=operator.user_id,
                    why=FailureCause.SERVER_BLOCKED,
                )
            cancelled += result is CancelResult.CANCELLED
        return cancelled

    async def drain(self, operator: Operator, *, on: bool) -> AuditEntry:
        """Stops or starts taking jobs, in all servers; what was accepted is finished."""
        async with self._acting() as (connection, before, now):
            await operator_reports.write_operator_state(connection, replace(before, draining=on))
            change = AuditedChange(
                Action.DRAINING_SET, before={"draining": before.draining}, after={"draining": on}
            )
            return await record(connection, operator, now, change)

    async def unreconciled(self) -> list[Job]:
        """Jobs whose submission was never answered, and of which nobody has said what became of them."""
        async with self._database.read() as connection:
            return await recovery.unreconciled(connection, OPEN_MAX)

    async def found(self, operator: Operator, job_id: str, upstream_id: str) -> Job:
        """The job's task was found: it is looked at again, delivered to its member for free, its cost settled.

        Raises: NotPossible.
        """
        task = operator_input.task_id(upstream_id)
        async with self._database.write() as connection:
            now = self._clock()
            revived = await recovery.resume_failed_job(
                connection, job_id, now, task_lifetime=_NO_TIME, by=operator.user_id, upstream_id=task
            )
            if not isinstance(revived, Job):
                raise NotPossible(CannotReconcile(revived))
            change = AuditedChange(Action.TASK_FOUND, TargetKind.JOB, job_id, None, {"upstream_id": task})
            await record(connection, operator, now, change)
        self._wake()
        return revived

    async def lost(self, operator: Operator, job_id: str) -> Job:
        """There is no task of the job: it is no longer listed. Raises: NotPossible."""
        async with self._database.write() as connection:
            now = self._clock()
            closed = await recovery.mark_lost(connection, job_id, now, by=operator.user_id)
            if not isinstance(closed, Job):
                raise NotPossible(CannotReconcile(closed))
            change = AuditedChange(Action.TASK_LOST, TargetKind.JOB, job_id, None, {})
            await record(connection, operator, now, change)
        self._wake()
        return closed

    async def reach(self, system_channels: Mapping[int, int | None]) -> Announced:
        """To whom an announcement would go; see `announce`."""
        async with self._database.read() as connection:
            return _reach(await _targets(connection, system_channels))

    async def announce(
        self, operator: Operator, text: str, system_channels: Mapping[int, int | None], key: str
    ) -> Announced:
        """Has `text` posted in every server's log channel or else its system channel.

        system_channels: by the ids of the servers where the bot is; None where there is none to post in. key: what
        has the same one is posted once in a server.
        """
        async with self._database.write() as connection:
            now, targets = self._clock(), await _targets(connection, system_channels)
            said = Announcement(text)
            for guild_id, channel_id in targets.items():
                if channel_id is not None:
                    once = f"announce:{key}:{guild_id}"
                    await notifications.post(connection, guild_id, said, now, channel_id=channel_id, key=once)
            reached = _reach(targets)
            change = AuditedChange(Action.ANNOUNCED, after={"servers": reached.told, "text": text})
            await record(connection, operator, now, change)
        self._wake()
        return reached

    async def costs(self) -> Costs:
        """What videos cost, what is reserved, and what nobody knows."""
        async with self._database.read() as connection:
            lost, lost_usd = await operator_reports.outcome_unknown(connection)
            return Costs(
                settings=self.rules.prices,
                learned=await operator_reports.learned_prices(connection),
                used={
                    resolution: await ledger.expected_price(connection, resolution, self.rules.prices[resolution])
                    for resolution in Resolution
                },
                kinds=await operator_reports.totals_by_kind(connection, self._clock()),
                reserved=await operator_reports.reserved(connection),
                unknown=lost,
                unknown_usd=lost_usd,
            )

    async def ledger(self, job_id: str) -> tuple[Job, list[Entry]]:
        """A job, of whichever server, and the ledger's lines about it. Raises: NotPossible for an unknown one."""
        async with self._database.read() as connection:
            found = await operator_reports.job(connection, job_id.strip())
            if found is None:
                raise NotPossible(UnknownJob())
            return found, await operator_reports.entries(connection, found.id)

    async def trail(self) -> list[AuditEntry]:
        """What operators changed, newest first."""
        async with self._database.read() as connection:
            return await audit_log.latest(connection, EVERYWHERE, TRAIL_MAX)

    @asynccontextmanager
    async def _acting(self) -> AsyncIterator[tuple[Connection, OperatorState, datetime]]:
        """A transaction that holds the house's row; the worker is woken when it is written."""
        async with self._database.write() as connection:
            yield connection, await guild_settings.lock_operator_state(connection), self._clock()
        self._wake()


async def _targets(connection: Connection, system_channels: Mapping[int, int | None]) -> dict[int, int | None]:
    """The channel for announcements in each of these servers."""
    logs = await operator_reports.log_channels(connection)
    return {guild_id: logs.get(guild_id, channel_id) for guild_id, channel_id in system_channels.items()}


def _reach(targets: Mapping[int, int | None]) -> Announced:
    silent = [guild_id for guild_id, channel_id in targets.items() if channel_id is None]
    return Announced(len(targets) - len(silent), tuple(sorted(silent)))


def _about(guild_id: int, action: Action, before: dict[str, Any], after: dict[str, Any]) -> AuditedChange:
    return AuditedChange(action, TargetKind.SERVER, str(guild_id), before, after)


def _budget(own: Budget, setting: Budget) -> dict[str, Any]:
    return {
        "usd_per_day": _holds(usd(own.usd_per_day), usd(setting.usd_per_day)),
        "usd_per_month": _holds(usd(own.usd_per_month), usd(setting.usd_per_month)),
    }


def _holds(own: str | int | None, setting: str | int | None) -> dict[str, Any]:
    """What holds, and whether that is what the setting says."""
    return {"value": setting, "default": True} if own is None else {"value": own}
