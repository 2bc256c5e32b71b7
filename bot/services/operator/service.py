"""The service behind `/operator`: budgets, access, draining, reconciling, announcements and costs."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cached_property

from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind, Values
from bot.domain.errors import NotPossible, Reason
from bot.domain.guilds import Access, Guild, OperatorDefaults
from bot.domain.jobs import FailureCause, Job, JobState, ProviderName, RecoveryProblem
from bot.domain.notifications import ActionLogged, Announcement
from bot.operations.clock import Clock
from bot.services.operator import operator_input
from bot.services.operator.changes import budget_change, queue_change
from bot.services.operator.cost_history import CostHistoryService
from bot.services.operator.operator_input import OperatorProblem, OperatorRefused
from bot.services.operator.reports import (
    AnnouncementReach,
    Costs,
    GateReport,
    KindPrice,
    OperatorOverview,
    ProviderGate,
)
from bot.store import operator_reports
from bot.store.engine import Connection, Database
from bot.store.guilds import audit_log as audit_log_store
from bot.store.guilds import guild_settings
from bot.store.guilds.membership import Description, MembershipStore
from bot.store.jobs import all_servers, recovery, submission_gate, submissions, transitions
from bot.store.money import ledger
from bot.store.operator_reports import GuildUsage, JobLedger
from bot.store.outbox import notifications
from bot.store.schema import EVERYWHERE, jobs

AUDIT_LOG_MAX = 50
"""The most audit log entries that are shown."""

OPEN_MAX = 200
"""The most jobs to reconcile that are listed."""

_NO_TIME = timedelta(0)
"""A task that the operator looked up may have any age."""


@dataclass(frozen=True, slots=True)
class Operator:
    """Who acts as the operator. Whoever creates one has checked it."""

    user_id: int


@dataclass(frozen=True, slots=True)
class CannotReconcile(Reason):
    """The job can't be reconciled."""

    why: RecoveryProblem


@dataclass(frozen=True)
class _Transaction:
    """What an operator does within one transaction."""

    connection: Connection
    operator: Operator
    clock: Clock

    @cached_property
    def now(self) -> datetime:
        """The time of all that is done, read when it is first needed: after the locks, which may take a while."""
        return self.clock()

    async def record(self, change: AuditedChange, guild_id: int | None = None) -> AuditEntry:
        """Logs the change and queues its notification; does nothing if nothing is different.

        guild_id: the one server that it is about, whose own log doesn't name the operator.
        """
        if guild_id is not None:
            change = replace(change, target_kind=TargetKind.SERVER, target_id=str(guild_id))
        entry = AuditEntry(EVERYWHERE, self.now, self.operator.user_id, change)
        if not change.is_change:
            return entry
        entries = {notifications.TO_OPERATOR: entry}
        if guild_id is not None:
            entries[guild_id] = AuditEntry(guild_id, self.now, None, change)
        for log, logged in entries.items():
            await audit_log_store.record(self.connection, logged)
            await notifications.post(
                self.connection, log, ActionLogged(logged.guild_id, logged.actor_id, change), self.now
            )
        return entry


class OperatorService:
    """The service behind `/operator`. guild_id, user_ids: where it can be used, and by whom."""

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
        self._membership = MembershipStore(database)
        self.guild_id = guild_id
        self.user_ids = frozenset(user_ids)
        self.rules = rules
        self._database = database
        self._wake = wake
        self._clock = clock
        self.cost_history = CostHistoryService(database, rules, clock)

    async def servers(self, known: Collection[int] = ()) -> list[GuildUsage]:
        """All servers, this month's most expensive first. known: the servers the bot is in, listed too."""
        async with self._database.read() as connection:
            found = await operator_reports.guild_usage(connection, self._clock())
        listed = {use.guild.id for use in found}
        return found + [GuildUsage(Guild(guild_id)) for guild_id in sorted(set(known) - listed)]

    async def server_ids(self, known: Collection[int] = ()) -> list[int]:
        """The ids of all servers, in the same order. known: see `servers`."""
        async with self._database.read() as connection:
            found = await operator_reports.guild_ids(connection, self._clock())
        return found + sorted(set(known) - set(found))

    async def server(self, guild_id: int) -> GuildUsage:
        """One server, even if nothing is stored about it."""
        async with self._database.read() as connection:
            found = await operator_reports.guild_usage(connection, self._clock(), guild_id)
        return next(iter(found), GuildUsage(Guild(guild_id)))

    async def overview(self) -> OperatorOverview:
        """Budgets, how much of them is used, and active jobs."""
        async with self._database.read() as connection:
            state = await guild_settings.operator_state_of(connection)
            return OperatorOverview(
                state=state,
                budget=state.budget.over(self.rules.budget),
                queue_max=state.queue_limit(self.rules),
                spent=await ledger.spent(connection, EVERYWHERE, self._clock()),
                active=await _active(connection),
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
        """Sets budgets across all servers or of one; None keeps a value. Raises: NotPossible.

        Returns an entry for each value that could change, whether it did or not.
        """
        if guild_id is not None and queue_max is not None:
            raise NotPossible(OperatorRefused(OperatorProblem.QUEUE_IS_SHARED))
        async with self._transaction(operator) as tx:
            state = await guild_settings.lock_operator_state(tx.connection)
            if guild_id is not None:
                before, default = (
                    (await guild_settings.get(tx.connection, guild_id)).budget,
                    self.rules.within(guild_id).guild_budget,
                )
                after = operator_input.budget(before, default, usd_per_day, usd_per_month)
                columns = {"granted_usd_per_day": after.usd_per_day, "granted_usd_per_month": after.usd_per_month}
                await guild_settings.write(tx.connection, guild_id, columns)
                return [await tx.record(budget_change(before, after, default), guild_id)]
            before, default = state.budget, self.rules.budget
            after = operator_input.budget(before, default, usd_per_day, usd_per_month)
            queued = state.max_queued if queue_max is None else operator_input.count(queue_max)
            changed = replace(state, budget=after, max_queued=queued)
            await operator_reports.write_operator_state(tx.connection, changed)
            changes = (
                budget_change(before, after, default),
                queue_change(state.max_queued, queued, self.rules.max_queued),
            )
            return [await tx.record(change) for change in changes]

    async def set_access(self, operator: Operator, guild_id: int, access: Access) -> tuple[AuditEntry, int]:
        """Sets whether a server can use the bot. Returns how many waiting jobs were cancelled.

        Blocking cancels waiting jobs at no cost; jobs that are paid for are finished. After a crash,
        blocking again cancels the rest.
        """
        async with self._transaction(operator) as tx:
            await guild_settings.lock_operator_state(tx.connection)
            before = (await guild_settings.get(tx.connection, guild_id)).access
            await guild_settings.write(tx.connection, guild_id, {"access": access})
            was, now = {"access": before.value}, {"access": access.value}
            entry = await tx.record(AuditedChange(Action.ACCESS_SET, before=was, after=now), guild_id)
        if access is not Access.BLOCKED:
            return entry, 0
        here, why = jobs.c.guild_id == guild_id, FailureCause.SERVER_BLOCKED
        cancelled = await transitions.cancel_waiting(
            self._database, here, self._clock(), actor_id=operator.user_id, why=why
        )
        self._wake()
        return entry, cancelled

    async def drain(self, operator: Operator, *, on: bool) -> AuditEntry:
        """Stops or starts accepting jobs in all servers; accepted ones are finished."""
        async with self._transaction(operator) as tx:
            state = await guild_settings.lock_operator_state(tx.connection)
            await operator_reports.write_operator_state(tx.connection, replace(state, draining=on))
            was, now = {"draining": state.draining}, {"draining": on}
            return await tx.record(AuditedChange(Action.DRAINING_SET, before=was, after=now))

    async def gate(self) -> GateReport:
        """Whether jobs are submitted to each provider, and why not."""
        async with self._database.read() as connection:
            now = self._clock()
            gates = await submissions.gates(connection, self.rules, now)
            active = await _active(connection)
            taken = await all_servers.slots_taken(connection)
        reports = {provider: ProviderGate.of(gate, now) for provider, gate in gates.items()}
        former = {provider: tasks for provider, tasks in taken.items() if provider not in gates}
        return GateReport(reports, active.get(JobState.QUEUED, 0), former)

    async def open_gate(self, operator: Operator) -> AuditEntry:
        """Resumes submissions to all providers, whatever stopped them; the next failure stops them again."""
        async with self._transaction(operator) as tx:
            # In the order of their names, so that two calls can't deadlock.
            providers = sorted(self.rules.catalog.providers)
            gates = [await submission_gate.open_now(tx.connection, provider) for provider in providers]
            reasons = [gate.reason for gate in gates if gate.is_closed(tx.now)]
            was: dict[str, object] = {"open": not reasons}
            if reasons:
                was["reason"] = "; ".join(filter(None, reasons))
            return await tx.record(AuditedChange(Action.GATE_OPENED, before=was, after={"open": True}))

    async def unreconciled(self) -> list[Job]:
        """Ended jobs whose cost or outcome is unknown and that nobody has reconciled yet."""
        async with self._database.read() as connection:
            return await recovery.unreconciled(connection, OPEN_MAX)

    async def task_found(
        self, operator: Operator, job_id: str, upstream_id: str, provider: ProviderName | None = None
    ) -> Job:
        """Resumes a job whose task was found: the member gets the video for free, and its cost is settled.

        provider: where it was found, for a job that no provider had yet when a restore ended it; None if there is
        only one. Raises: NotPossible.
        """
        task, asked = operator_input.task_id(upstream_id), self.rules.catalog.providers
        if provider is None and len(asked) == 1:
            [provider] = asked
        async with self._transaction(operator) as tx:
            resumed = await recovery.resume_failed_job(
                tx.connection,
                job_id,
                tx.now,
                task_lifetime=_NO_TIME,
                actor_id=operator.user_id,
                upstream_id=task,
                provider=provider,
            )
            return await _reconciled(tx, Action.TASK_FOUND, resumed, {"upstream_id": task})

    async def task_lost(self, operator: Operator, job_id: str) -> Job:
        """Closes a job that has no task, or whose task costs nothing. Raises: NotPossible."""
        async with self._transaction(operator) as tx:
            closed = await recovery.mark_lost(tx.connection, job_id, tx.now, actor_id=operator.user_id)
            return await _reconciled(tx, Action.TASK_LOST, closed, {})

    async def server_names(self) -> dict[int, str]:
        """The names of the servers that the bot is in, by id, whichever process is connected for them."""
        return {guild_id: known.name for guild_id, known in (await self._membership.descriptions()).items()}

    async def announcement_reach(self) -> AnnouncementReach:
        """Where an announcement would go; see `announce`."""
        servers = await self._membership.descriptions()
        async with self._database.read() as connection:
            return _reach_of(await _targets(connection, servers))

    async def announce(self, operator: Operator, text: str, key: str) -> AnnouncementReach:
        """Queues `text` for every server's log channel or, without one, its system channel.

        key: an announcement with the same key is posted once per server.
        """
        servers = await self._membership.descriptions()
        async with self._transaction(operator) as tx:
            targets, announcement = await _targets(tx.connection, servers), Announcement(text)
            for guild_id, channel_id in targets.items():
                if channel_id is not None:
                    once = f"announce:{key}:{guild_id}"
                    await notifications.post(
                        tx.connection, guild_id, announcement, tx.now, channel_id=channel_id, key=once
                    )
            reached = _reach_of(targets)
            values = {"servers": reached.reached, "text": text}
            await tx.record(AuditedChange(Action.ANNOUNCED, after=values))
            return reached

    async def costs(self) -> Costs:
        """What videos cost, what is reserved, and what is held for costs that are unknown."""
        async with self._database.read() as connection:
            return Costs(
                prices=await self._prices(connection),
                spent={
                    provider: await ledger.spent_at_provider(connection, provider, self._clock())
                    for provider in await operator_reports.providers(connection, self.rules.catalog)
                },
                budgets=self.rules.provider_budgets,
                kinds=await operator_reports.totals_by_kind(connection, self._clock()),
                reserved=await operator_reports.reserved(connection),
                held=await operator_reports.held(connection),
                released_after=self.rules.unknown_cost_held_for,
                unanswered=await operator_reports.unanswered(connection),
            )

    async def _prices(self, connection: Connection) -> list[KindPrice]:
        learned, catalog = await operator_reports.learned_prices(connection), self.rules.catalog
        return [
            KindPrice(
                kind,
                setting := catalog.estimate(kind),
                learned.get(kind),
                await ledger.expected_price(connection, kind, setting),
            )
            for kind in catalog.kinds()
        ]

    async def ledger(self, job_id: str) -> JobLedger:
        """A job of any server and its ledger entries. Raises: NotPossible if it is unknown."""
        async with self._database.read() as connection:
            found = await operator_reports.job_ledger(connection, job_id.strip())
        if found is None:
            raise NotPossible(OperatorRefused(OperatorProblem.UNKNOWN_JOB))
        return found

    async def audit_log(self) -> list[AuditEntry]:
        """What operators changed, newest first."""
        async with self._database.read() as connection:
            return await audit_log_store.latest(connection, EVERYWHERE, AUDIT_LOG_MAX)

    @asynccontextmanager
    async def _transaction(self, operator: Operator) -> AsyncIterator[_Transaction]:
        """A transaction of this operator; wakes the worker once it is committed."""
        async with self._database.write() as connection:
            yield _Transaction(connection, operator, self._clock)
        self._wake()


async def _reconciled(tx: _Transaction, action: Action, result: Job | RecoveryProblem, after: Values) -> Job:
    """Records what became of a job. Raises: NotPossible if it can't be reconciled."""
    if not isinstance(result, Job):
        raise NotPossible(CannotReconcile(result))
    await tx.record(AuditedChange(action, TargetKind.JOB, result.id, None, after))
    return result


async def _active(connection: Connection) -> dict[JobState, int]:
    return {state: total.jobs for state, total in (await all_servers.by_state(connection)).items()}


async def _targets(connection: Connection, servers: Mapping[int, Description]) -> dict[int, int | None]:
    """The channel for announcements in each of these servers."""
    logs = await operator_reports.log_channels(connection)
    return {guild_id: logs.get(guild_id, known.system_channel_id) for guild_id, known in servers.items()}


def _reach_of(targets: Mapping[int, int | None]) -> AnnouncementReach:
    silent = [guild_id for guild_id, channel_id in targets.items() if channel_id is None]
    return AnnouncementReach(len(targets) - len(silent), tuple(sorted(silent)))
