"""The jobs of a server, for its admins: lists, approves, cancels and retries them."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from bot.domain.approvals import Verdict
from bot.domain.audit_log import Action, AuditedChange, TargetKind
from bot.domain.errors import NotPossible, Reason
from bot.domain.jobs import ENDED, CancelResult, FailureReason, Job, JobState, RecoveryProblem
from bot.services.admin.audited import Admin, AdminProblem, AdminRefused, AuditedService, AuditedTransaction
from bot.store.jobs import approvals, recovery, submission_gate
from bot.store.jobs import overview as job_overview
from bot.store.jobs.overview import ActiveJob

SHOWN_MAX = 25
"""The most jobs that are shown; the rest are counted."""

FAILURES_MAX = 5
FAILURES_FOR = timedelta(days=7)
"""The most recent failures that are shown, and for how long."""

OFFERED_MAX = 200
"""The most jobs that autocomplete searches."""


@dataclass(frozen=True, slots=True)
class NothingToRetry(Reason):
    """A job in this state can't be retried."""

    state: JobState


@dataclass(frozen=True, slots=True)
class CannotRetry(Reason):
    """A failed job can't be retried. outcome_unknown: only the operator can find out what happened to it."""

    why: RecoveryProblem
    outcome_unknown: bool


@dataclass(frozen=True, slots=True)
class JobOverview:
    """A server's jobs.

    active: the oldest that haven't ended; count: how many there are. failures: the most recent.
    closed_until: when the video service accepts jobs again; None while it does.
    """

    active: tuple[ActiveJob, ...]
    count: int
    failures: tuple[Job, ...]
    closed_until: datetime | None


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The result of cancelling, and the job as it was before."""

    job: Job
    result: CancelResult


class JobService(AuditedService):
    """Lists, approves, cancels and retries a server's jobs."""

    async def overview(self, admin: Admin) -> JobOverview:
        """The active jobs and the most recent failures."""
        now = self._clock()
        async with self._database.read() as connection:
            gates = await submission_gate.get_gates(connection, self._defaults.catalog.providers)
            gate = submission_gate.first_to_open(gates.values(), now)
            return JobOverview(
                active=tuple(await job_overview.active(connection, admin.guild_id, SHOWN_MAX)),
                count=await job_overview.count_active(connection, admin.guild_id),
                failures=tuple(
                    await job_overview.failed(connection, admin.guild_id, now - FAILURES_FOR, FAILURES_MAX)
                ),
                closed_until=gate.opens_at if gate.is_closed(now) else None,
            )

    async def cancellable(self, admin: Admin) -> list[Job]:
        """The server's jobs that can be cancelled, oldest first."""
        async with self._database.read() as connection:
            found = await job_overview.active(connection, admin.guild_id, OFFERED_MAX)
        return [active_job.job for active_job in found if not active_job.job.cancel_requested]

    async def retryable(self, admin: Admin) -> list[Job]:
        """The server's jobs that can be retried, newest first."""
        async with self._database.read() as connection:
            return await job_overview.retryable(
                connection, admin.guild_id, self._clock(), self._task_lifetime, OFFERED_MAX
            )

    async def decide(self, admin: Admin, job_id: str, verdict: Verdict, *, card_id: int | None = None) -> Job:
        """Approves or declines a job that waits for approval; returns it as it is then.

        card_id: the approval card. Raises: NotPossible if there is nothing left to decide.
        """
        async with self._transaction(admin, lock_operator_state=False) as tx:
            return await approvals.decide(
                tx.connection,
                admin.guild_id,
                job_id,
                verdict,
                actor_id=admin.user_id,
                card_id=card_id,
                rules=self._defaults,
                now=tx.now,
            )

    async def cancel(self, admin: Admin, job_id: str, *, even_if_paid: bool) -> Cancelled:
        """Cancels a job of the server.

        even_if_paid: whether to cancel a job that is paid for; if not, it continues and `PAID` is returned.
        Raises: NotPossible if the job is unknown here, has ended or is already cancelled.
        """
        async with self._transaction(admin, lock_operator_state=False) as tx:
            job = await _locked(tx, job_id)
            if job.cancel_requested and job.state not in ENDED:
                raise NotPossible(AdminRefused(AdminProblem.ALREADY_CANCELLED))
            result = await job_overview.cancel(
                tx.connection, job, tx.now, even_if_paid=even_if_paid, actor_id=admin.user_id
            )
            if result is CancelResult.ENDED:
                raise NotPossible(AdminRefused(AdminProblem.NOTHING_TO_CANCEL))
            if result is not CancelResult.PAID:
                await tx.record(_change(Action.JOB_CANCELLED, job, JobState.CANCELLED))
            return Cancelled(job, result)

    async def retry(self, admin: Admin, job_id: str) -> Job:
        """Retries a job: now, if it waits after a failure, or once more, if it has failed.

        Returns the job as it was before. Raises: NotPossible if it is unknown here or can't be retried.
        """
        async with self._transaction(admin, lock_operator_state=False) as tx:
            job = await _locked(tx, job_id)
            if job.state is JobState.FAILED:
                await self._resume(tx, job)
                await tx.record(_change(Action.JOB_RESUMED, job, JobState.RUNNING))
            elif await job_overview.make_due_now(tx.connection, job, tx.now):
                await tx.record(_change(Action.JOB_RETRIED, job, job.state))
            else:
                raise NotPossible(NothingToRetry(job.state))
            return job

    async def _resume(self, tx: AuditedTransaction, job: Job) -> None:
        result = await recovery.resume_failed_job(
            tx.connection,
            job.id,
            tx.now,
            task_lifetime=self._task_lifetime,
            actor_id=tx.admin.user_id,
            guild_id=tx.admin.guild_id,
        )
        if isinstance(result, RecoveryProblem):
            unknown = job.failure_reason in {FailureReason.OUTCOME_UNKNOWN, FailureReason.LOST}
            raise NotPossible(CannotRetry(result, result is RecoveryProblem.NO_TASK and unknown))


async def _locked(tx: AuditedTransaction, job_id: str) -> Job:
    """The job, locked. Raises: NotPossible if it is unknown or another server's."""
    job = await job_overview.locked(tx.connection, tx.admin.guild_id, job_id)
    if job is None:
        raise NotPossible(AdminRefused(AdminProblem.UNKNOWN_JOB))
    return job


def _change(action: Action, job: Job, after: JobState) -> AuditedChange:
    before = {"state": job.state.value, "user_id": job.user_id, "attempts": job.attempts}
    return AuditedChange(action, TargetKind.JOB, job.id, before, {"state": after.value})
