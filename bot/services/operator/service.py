"""The operator's side of the machine: budgets, access, draining, reconciling, announcing, and what all costs."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from bot.domain.errors import NotPossible
from bot.domain.guilds import Access, Budget, Change, Guild, OperatorDefaults, OperatorState
from bot.domain.jobs import CancelResult, FailureCause, Job, JobState, NotRevived, Resolution
from bot.domain.ledger import Entry, EntryKind
from bot.domain.quotas import Spent
from bot.seams import Seam
from bot.services.operator import operator_input
from bot.services.operator.audit import Operator, record
from bot.store import operator_reports
from bot.store.engine import Connection, Database
from bot.store.guilds import audit_log, guild_settings
from bot.store.jobs import recovery, transitions
from bot.store.money import ledger
from bot.store.operator_reports import KindSum, Price, ServerUse
from bot.store.outbox import notifications
from bot.store.schema import EVERYWHERE
from bot.worker.stages import Clock

TRAIL_MAX = 50
"""How many lines of the audit trail are read at once."""

OPEN_MAX = 200
"""How many jobs that need reconciling are read at once."""

_NO_TIME = timedelta(0)
"""How old a task may be that was looked up by hand: that is not asked then."""


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
    """What videos cost. settings: the prices that were set; learned: what tasks cost of late, used: what holds.

    reserved: for jobs that have not ended. unknown, unknown_usd: jobs to be reconciled, and their estimates.
    """

    settings: Mapping[Resolution, Decimal]
    learned: Mapping[Resolution, Price]
    used: Mapping[Resolution, Decimal]
    kinds: Mapping[EntryKind, KindSum]
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

    async def servers(self, known: Collection[int] = ()) -> list[ServerUse]:
        """All servers, the most expensive of this month first. known: others to be listed, where the bot is."""
        async with self._database.read() as connection:
            found = await operator_reports.servers(connection, self._clock())
        listed = {use.guild.id for use in found}
        return found + [ServerUse(Guild(guild_id)) for guild_id in sorted(set(known) - listed)]

    async def server(self, guild_id: int) -> ServerUse:
        """One server; as a new one where nothing is known of it."""
        return next(use for use in await self.servers([guild_id]) if use.guild.id == guild_id)

    async def house(self) -> HouseReport:
        """Budgets, what is used of them, and what is under way."""
        async with self._database.read() as connection:
            house = await guild_settings.look_at_house(connection)
            return HouseReport(
                house=house,
                budget=house.budget.over(self.rules.budget),
                queue_max=house.places(self.rules),
                spent=await ledger.spent(connection, EVERYWHERE, self._clock()),
                under_way=await operator_reports.under_way(connection),
            )

    async def set_budgets(
        self,
        operator: Operator,
        guild_id: int | None = None,
        *,
        usd_per_day: str | None = None,
        usd_per_month: str | None = None,
        queue_max: str | None = None,
    ) -> list[Change]:
        """Changes what holds over everything, or in one server; None leaves a part alone. Raises: NotPossible."""
        if guild_id is None:
            return await self._set_house(operator, usd_per_day, usd_per_month, queue_max)
        if queue_max is not None:
            raise NotPossible("The queue is one for all servers: leave `server` out to set `queue_max`.")
        return await self._set_server(operator, guild_id, usd_per_day, usd_per_month)

    async def _set_house(
        self, operator: Operator, usd_per_day: str | None, usd_per_month: str | None, queue_max: str | None
    ) -> list[Change]:
        rules = self.rules
        async with self._acting() as (connection, before, now):
            day, month, queued = before.budget.usd_per_day, before.budget.usd_per_month, before.queued_max
            if usd_per_day is not None:
                day = operator_input.amount(usd_per_day, rules.budget.usd_per_day)
            if usd_per_month is not None:
                month = operator_input.amount(usd_per_month, rules.budget.usd_per_month)
            if queue_max is not None:
                queued = operator_input.count(queue_max)
            after = replace(before, budget=Budget(day, month), queued_max=queued)
            await operator_reports.write_house(connection, after)
            told = [
                (_DAY, *_both(before.budget.usd_per_day, day, rules.budget.usd_per_day)),
                (_MONTH, *_both(before.budget.usd_per_month, month, rules.budget.usd_per_month)),
                (
                    "queue",
                    operator_input.queue(before.queued_max, rules.queued_max),
                    operator_input.queue(queued, rules.queued_max),
                ),
            ]
            return [await record(connection, operator, now, *line) for line in told if line[1] != line[2]]

    async def _set_server(
        self, operator: Operator, guild_id: int, usd_per_day: str | None, usd_per_month: str | None
    ) -> list[Change]:
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
            told = [
                (_DAY, *_both(before.usd_per_day, day, otherwise.usd_per_day)),
                (_MONTH, *_both(before.usd_per_month, month, otherwise.usd_per_month)),
            ]
            return [
                await record(connection, operator, now, *line, guild_id=guild_id)
                for line in told
                if line[1] != line[2]
            ]

    async def set_access(self, operator: Operator, guild_id: int, access: Access) -> tuple[Change, int]:
        """Lets a server use the bot, or not. Comes back with how many waiting jobs were cancelled, free.

        Blocked: what waits is cancelled; what is under way is paid for and is finished. Asked again, it cancels
        what a process that died in between has left.
        """
        async with self._acting() as (connection, _, now):
            before = (await guild_settings.get(connection, guild_id)).access
            await guild_settings.write(connection, guild_id, {"access": access})
            change = await record(connection, operator, now, "access", before, access, guild_id=guild_id)
        cancelled = await self._cancel_waiting(operator, guild_id) if access is Access.BLOCKED else 0
        self._wake()
        return change, cancelled

    async def _cancel_waiting(self, operator: Operator, guild_id: int) -> int:
        async with self._database.read() as connection:
            waiting = await operator_reports.waiting(connection, guild_id)
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

    async def drain(self, operator: Operator, *, on: bool) -> Change:
        """Stops or starts taking jobs, in all servers; what was accepted is finished."""
        async with self._acting() as (connection, before, now):
            await operator_reports.write_house(connection, replace(before, draining=on))
            return await record(connection, operator, now, "draining", _on(before.draining), _on(on))

    async def unreconciled(self) -> list[Job]:
        """Jobs whose submission was never answered, and of which nobody has said what became of them."""
        async with self._database.read() as connection:
            return await recovery.unreconciled(connection, OPEN_MAX)

    async def found(self, operator: Operator, job_id: str, upstream_id: str) -> Job:
        """The job's task was found: it is looked at again, delivered to its member for free, its cost settled.

        Raises: NotPossible.
        """
        task = operator_input.task_id(upstream_id)
        async with self._database.write(Seam.FOUND) as connection:
            now = self._clock()
            revived = await recovery.resume_failed_job(
                connection, job_id, now, task_lifetime=_NO_TIME, by=operator.user_id, upstream_id=task
            )
            if not isinstance(revived, Job):
                raise NotPossible(_NOT_FOUND[revived])
            await record(connection, operator, now, f"job {job_id}", "outcome unknown", f"found as task {task}")
        self._wake()
        return revived

    async def lost(self, operator: Operator, job_id: str) -> Job:
        """There is no task of the job: it is not listed any more. Raises: NotPossible."""
        async with self._database.write(Seam.LOST) as connection:
            now = self._clock()
            closed = await recovery.mark_lost(connection, job_id, now, by=operator.user_id)
            if not isinstance(closed, Job):
                raise NotPossible(_NOT_FOUND[closed])
            await record(connection, operator, now, f"job {job_id}", "outcome unknown", "lost")
        self._wake()
        return closed

    async def reach(self, system_channels: Mapping[int, int | None]) -> Announced:
        """To whom an announcement would go; see `announce`."""
        async with self._database.read() as connection:
            return _reach(await _targets(connection, system_channels))

    async def announce(
        self, operator: Operator, text: str, system_channels: Mapping[int, int | None], key: str
    ) -> Announced:
        """Has `text` told in every server's log channel or else its system channel.

        system_channels: by the ids of the servers where the bot is; None where there is none to post in. key: what
        has the same one is told once in a server.
        """
        async with self._database.write() as connection:
            now, targets = self._clock(), await _targets(connection, system_channels)
            for guild_id, channel_id in targets.items():
                if channel_id is not None:
                    once = f"announce:{key}:{guild_id}"
                    await notifications.post(connection, guild_id, text, now, channel_id=channel_id, key=once)
            reached = _reach(targets)
            await record(connection, operator, now, "announcement", None, f"to {reached.told} servers: {text}")
        self._wake()
        return reached

    async def costs(self) -> Costs:
        """What videos cost, what is reserved, and what nobody knows."""
        async with self._database.read() as connection:
            lost, lost_usd = await operator_reports.unknown(connection)
            return Costs(
                settings=self.rules.prices,
                learned=await operator_reports.learned(connection),
                used={
                    resolution: await ledger.price(connection, resolution, self.rules.prices[resolution])
                    for resolution in Resolution
                },
                kinds=await operator_reports.kinds(connection, self._clock()),
                reserved=await operator_reports.reserved(connection),
                unknown=lost,
                unknown_usd=lost_usd,
            )

    async def ledger(self, job_id: str) -> tuple[Job, list[Entry]]:
        """A job, of whichever server, and the ledger's lines about it. Raises: NotPossible for an unknown one."""
        async with self._database.read() as connection:
            found = await operator_reports.job(connection, job_id.strip())
            if found is None:
                raise NotPossible(
                    "There is no job with that id. It stands in the log and in `/operator reconcile`."
                )
            return found, await operator_reports.entries(connection, found.id)

    async def trail(self) -> list[Change]:
        """What operators changed, newest first."""
        async with self._database.read() as connection:
            return await audit_log.latest(connection, EVERYWHERE, TRAIL_MAX)

    @asynccontextmanager
    async def _acting(self) -> AsyncIterator[tuple[Connection, OperatorState, datetime]]:
        """A transaction that holds the house's row; the worker is woken when it is written."""
        async with self._database.write() as connection:
            yield connection, await guild_settings.lock(connection), self._clock()
        self._wake()


_DAY, _MONTH = "budget a day", "budget a month"

_NOT_FOUND: Mapping[NotRevived, str] = {
    NotRevived.UNKNOWN: "There is no job with that id; `/operator reconcile list` shows the open ones.",
    NotRevived.NOT_FAILED: "That job has not failed, or was taken up again: there is nothing to reconcile.",
    NotRevived.NO_TASK: "That job's task is known already; there is nothing to be found.",
    NotRevived.TOO_OLD: "That job's task is too old to be asked about.",
    NotRevived.TASK_TAKEN: "Another job has that task id already. Nothing was changed; look at the id once more.",
    NotRevived.ERASED: (
        "That job's member had their data deleted: there is nobody to make the video for. Close it with "
        "`/operator reconcile lost`."
    ),
    NotRevived.NOT_UNKNOWN: "It is known what became of that job: there is nothing to reconcile.",
}


async def _targets(connection: Connection, system_channels: Mapping[int, int | None]) -> dict[int, int | None]:
    """The channel for announcements in each of these servers."""
    logs = await operator_reports.log_channels(connection)
    return {guild_id: logs.get(guild_id, channel_id) for guild_id, channel_id in system_channels.items()}


def _reach(targets: Mapping[int, int | None]) -> Announced:
    silent = [guild_id for guild_id, channel_id in targets.items() if channel_id is None]
    return Announced(len(targets) - len(silent), tuple(sorted(silent)))


def _both(before: Decimal | None, after: Decimal | None, setting: Decimal | None) -> tuple[str, str]:
    return operator_input.limit(before, setting), operator_input.limit(after, setting)


def _on(draining: bool) -> str:  # noqa: FBT001 - the value is what is shown
    return "on" if draining else "off"
