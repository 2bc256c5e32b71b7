"""What admins look after: the jobs of a server. Shows them, cancels one, has one tried again."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.domain.audit_log import Action, AuditedChange, TargetKind
from bot.domain.errors import NotPossible, Reason
from bot.domain.jobs import ENDED, CancelResult, FailureReason, Job, JobState, RecoveryProblem
from bot.operations.clock import Clock
from bot.services.admin.audited import Act, Acts, Admin
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.jobs import overview, recovery, submission_gate
from bot.store.jobs.overview import Standing

SHOWN_MAX = 25
"""How many jobs are shown at most; of more, their number."""

FAILURES_MAX = 5
FAILURES_FOR = timedelta(days=7)
"""How many of the latest failures are shown, and for how long."""

OFFERED_MAX = 200
"""How many jobs are looked through for what an admin types."""


@dataclass(frozen=True, slots=True)
class UnknownJob(Reason):
    """No job of this server has that id."""


@dataclass(frozen=True, slots=True)
class AlreadyCancelled(Reason):
    """The job is under way, and will not be posted."""


@dataclass(frozen=True, slots=True)
class NothingToCancel(Reason):
    """The job has ended."""


@dataclass(frozen=True, slots=True)
class NothingToRetry(Reason):
    """There is nothing to try again about a job in this state."""

    state: JobState


@dataclass(frozen=True, slots=True)
class CannotRetry(Reason):
    """A failed job can't be tried again. outcome_unknown: only the operator can find out what became of it."""

    why: RecoveryProblem
    outcome_unknown: bool


@dataclass(frozen=True, slots=True)
class JobOverview:
    """How a server's jobs stand.

    active: the oldest of those that are not over; count: how many there are in all. failures: the latest.
    closed_until: until when the video service takes no orders; None while it does.
    """

    active: tuple[Standing, ...]
    count: int
    failures: tuple[Job, ...]
    closed_until: datetime | None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """What became of an admin's wish to cancel, and the job as it was before."""

    job: Job
    result: CancelResult


@dataclass(frozen=True, slots=True)
class Retried:
    """A job that is tried again, as it was before. revived: it had failed already."""

    job: Job
    revived: bool


class JobAdministration(Acts):
    """The jobs of a server. task_lifetime: how long the upstream can be asked about a task."""

    def __init__(
        self, database: Database, *, wake: Callable[[], None], clock: Clock, task_lifetime: timedelta
    ) -> None:
        super().__init__(database, wake=wake, clock=clock)
        self._task_lifetime = task_lifetime

    async def board(self, admin: Admin) -> JobOverview:
        """What is under way, and the latest failures."""
        now = self._clock()
        async with self._database.read() as connection:
            entry = await submission_gate.get_gate(connection, lock=False)
            return JobOverview(
                active=tuple(await overview.active(connection, admin.guild_id, SHOWN_MAX)),
                count=await overview.count_active(connection, admin.guild_id),
                failures=tuple(
                    await overview.failed(connection, admin.guild_id, now - FAILURES_FOR, FAILURES_MAX)
                ),
                closed_until=entry.opens_at if entry.is_closed(now) else None,
            )

    async def cancellable(self, admin: Admin) -> list[Job]:
        """The server's jobs that can be cancelled, oldest first."""
        async with self._database.read() as connection:
            found = await overview.active(connection, admin.guild_id, OFFERED_MAX)
        return [standing.job for standing in found if not standing.job.cancel_requested]

    async def retryable(self, admin: Admin) -> list[Job]:
        """The server's jobs that can be tried again, the latest first."""
        async with self._database.read() as connection:
            return await overview.retryable(
                connection, admin.guild_id, self._clock(), self._task_lifetime, OFFERED_MAX
            )

    async def cancel(self, admin: Admin, job_id: str, *, paid_too: bool) -> Cancelled:
        """Cancels a job of the server.

        paid_too: whether the admin knows that one under way is paid for. Without, such a job is left alone and
        `PAID` comes back: the question to ask.
        Raises: NotPossible where it is unknown here, over, or given up already.
        """
        async with self._act_on(admin, job_id) as (act, job):
            if job.cancel_requested and job.state not in ENDED:
                raise NotPossible(AlreadyCancelled())
            result = await overview.cancel(act.connection, job, act.now, paid_too=paid_too, by=admin.user_id)
            if result is CancelResult.ENDED:
                raise NotPossible(NothingToCancel())
            if result is not CancelResult.PAID:
                await act.record(_change(Action.JOB_CANCELLED, job, JobState.CANCELLED))
        return Cancelled(job, result)

    async def retry(self, admin: Admin, job_id: str) -> Retried:
        """Has a job tried again: at once where it waits after a failure, or anew where it has failed.

        Raises: NotPossible where it is unknown here, or there is nothing that could be tried.
        """
        async with self._act_on(admin, job_id) as (act, job):
            if job.state is JobState.FAILED:
                await self._revive(act, job)
                await act.record(_change(Action.JOB_RESUMED, job, JobState.RUNNING))
            elif await overview.make_due_now(act.connection, job, act.now):
                await act.record(_change(Action.JOB_RETRIED, job, job.state))
            else:
                raise NotPossible(NothingToRetry(job.state))
        return Retried(job, revived=job.state is JobState.FAILED)

    async def _revive(self, act: Act, job: Job) -> None:
        result = await recovery.resume_failed_job(
            act.connection,
            job.id,
            act.now,
            task_lifetime=self._task_lifetime,
            by=act.admin.user_id,
            guild_id=act.admin.guild_id,
        )
        if isinstance(result, RecoveryProblem):
            unknown = job.failure_reason in {FailureReason.OUTCOME_UNKNOWN, FailureReason.LOST}
            raise NotPossible(CannotRetry(result, result is RecoveryProblem.NO_TASK and unknown))

    @asynccontextmanager
    async def _act_on(self, admin: Admin, job_id: str) -> AsyncIterator[tuple[Act, Job]]:
        """A transaction on one job of the server, whose row is held. The worker is woken when it is written.

        The house's row is not: it comes after the jobs' rows, and nothing here lets anybody in.
        Raises: NotPossible where the job is unknown, or another server's.
        """
        async with self._database.write() as connection:
            job = await overview.locked(connection, admin.guild_id, job_id)
            if job is None:
                raise NotPossible(UnknownJob())
            yield Act(connection, admin, await guild_settings.get(connection, admin.guild_id), self._clock()), job
        self._wake()


def _change(action: Action, job: Job, after: JobState) -> AuditedChange:
    before = {"state": job.state.value, "user_id": job.user_id, "attempts": job.attempts}
    return AuditedChange(action, TargetKind.JOB, job.id, before, {"state": after.value})
