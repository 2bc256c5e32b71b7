"""Moderators' decisions: each moves its job once and is recorded in the audit log.

A decision locks the job's row, so of two moderators who click together one decides and the other is told. An
approved job takes a place in the queue, which locks the `operator_state` row after the job's.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import select

from bot.domain.approvals import APPROVAL_TIMEOUT, AlreadyDecided, ApprovalProblem, Decision, Verdict
from bot.domain.audit_log import Action, AuditedChange, AuditEntry, TargetKind
from bot.domain.errors import NotPossible
from bot.domain.guilds import OperatorDefaults
from bot.domain.jobs import FailureCause, FailureDetail, FailureReason, Job, JobState
from bot.domain.notifications import ActionLogged
from bot.store.engine import Connection, Database
from bot.store.guilds import audit_log as audit_log_store
from bot.store.guilds import guild_settings
from bot.store.jobs import admission, transitions
from bot.store.jobs.rows import fetch_job, read_job, state_columns
from bot.store.outbox import notifications
from bot.store.schema import audit_log, jobs

_ACTIONS = {Verdict.APPROVED: Action.JOB_APPROVED, Verdict.DECLINED: Action.JOB_DECLINED}
_VERDICTS = {action: verdict for verdict, action in _ACTIONS.items()}


class ApprovalStore:
    """What the worker's stages ask about decisions. Every method raises StoreError if the database fails."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def channel_of(self, guild_id: int) -> int | None:
        """The channel where moderators are asked: the server's log channel, if it has one."""
        async with self._db.read() as connection:
            return await notifications.log_channel_id(connection, guild_id)

    async def decision_on(self, job: Job) -> Decision | None:
        """The moderator's decision, if there is one."""
        async with self._db.read() as connection:
            return await decision_on(connection, job)


async def decide(
    connection: Connection,
    guild_id: int,
    job_id: str,
    verdict: Verdict,
    *,
    actor_id: int,
    card_id: int | None,
    rules: OperatorDefaults,
    now: datetime,
) -> Job:
    """Queues a waiting job or ends it free of charge; returns the job afterwards.

    card_id: the message that asked, in case its id isn't stored yet.
    Raises: NotPossible for an unknown job, one of another server, and one that isn't waiting any more.
    """
    job = await fetch_job(connection, jobs.c.id == job_id, jobs.c.guild_id == guild_id, lock=True)
    if job is None:
        raise NotPossible(ApprovalProblem.UNKNOWN)
    if job.state is not JobState.AWAITING:
        raise NotPossible(_closed(job, await decision_on(connection, job)))
    if now >= job.created_at + APPROVAL_TIMEOUT:
        raise NotPossible(ApprovalProblem.EXPIRED)
    if verdict is Verdict.APPROVED and await _is_full(connection, rules):
        raise NotPossible(ApprovalProblem.QUEUE_FULL)
    await transitions.write_state(connection, job_id, _columns(job, verdict, card_id, now), now, actor_id=actor_id)
    decided = await read_job(connection, job_id)
    before = {"state": job.state.value, "user_id": job.user_id}
    change = AuditedChange(_ACTIONS[verdict], TargetKind.JOB, job_id, before, {"state": decided.state.value})
    await audit_log_store.record(connection, AuditEntry(guild_id, now, actor_id, change))
    await notifications.post(connection, guild_id, ActionLogged(guild_id, actor_id, change), now)
    return decided


async def _is_full(connection: Connection, rules: OperatorDefaults) -> bool:
    # Locked after the job's row, as everywhere; concurrent admissions and approvals wait.
    limit = (await guild_settings.lock_operator_state(connection)).queue_limit(rules)
    return await admission.queued(connection) >= limit


async def decision_on(connection: Connection, job: Job) -> Decision | None:
    """The moderator's decision, if there is one."""
    query = (
        select(audit_log)
        .where(
            audit_log.c.guild_id == job.guild_id,
            audit_log.c.at >= job.created_at,
            audit_log.c.action.in_(list(_VERDICTS)),
            audit_log.c.target_id == job.id,
            audit_log.c.by.is_not(None),
        )
        .limit(1)
    )
    row = (await connection.execute(query)).one_or_none()
    return None if row is None else Decision(_VERDICTS[Action(row.action)], row.by, row.at)


def _closed(job: Job, decision: Decision | None) -> AlreadyDecided | ApprovalProblem:
    if decision is not None:
        return AlreadyDecided(decision)
    if job.failure_reason is FailureReason.EXPIRED:
        return ApprovalProblem.EXPIRED
    cancelled = job.state is JobState.CANCELLED
    return ApprovalProblem.CANCELLED if cancelled else ApprovalProblem.NOT_WAITING


def _columns(job: Job, verdict: Verdict, card_id: int | None, now: datetime) -> dict[str, Any]:
    approved = verdict is Verdict.APPROVED
    # A stage that is asking right now loses its lease; it only had the card's id, which came with the decision.
    columns = state_columns(JobState.QUEUED if approved else JobState.FAILED, now)
    columns["approval_message_id"] = card_id or job.approval_message_id
    if approved:
        return columns
    detail = FailureDetail(FailureCause.DECLINED).to_text()
    return columns | {"charged": False, "failure_reason": FailureReason.DECLINED, "failure_detail": detail}
