"""Moderators' decisions: each moves its job once, with its variations, and is recorded in the audit log.

A decision locks the jobs' rows, so of two moderators who click together one decides and the other is told. An
approved job takes a place in the queue, which locks the `operator_state` row after the jobs'.
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
from bot.store.jobs import admission, transitions, variations
from bot.store.jobs.rows import job_of, read_job, select_jobs, state_columns
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
    """Queues a waiting job and its waiting variations, or ends them free of charge.

    Returns one of them as it is afterwards. card_id: the message that asked, in case its id isn't stored yet.
    Raises: NotPossible for an unknown job, one of another server, and where none is waiting any more.
    """
    together = await _lock_together(connection, guild_id, job_id)
    job = next((one for one in together if one.id == job_id), None)
    if job is None:
        raise NotPossible(ApprovalProblem.UNKNOWN)
    waiting = [one for one in together if one.state is JobState.AWAITING]
    if not waiting:
        decisions = [await decision_on(connection, one) for one in together]
        raise NotPossible(_closed(job, next(filter(None, decisions), None)))
    if now >= waiting[0].created_at + APPROVAL_TIMEOUT:
        raise NotPossible(ApprovalProblem.EXPIRED)
    if verdict is Verdict.APPROVED and not await _has_room(connection, len(waiting), rules):
        raise NotPossible(ApprovalProblem.QUEUE_FULL)
    known_id = next((one.approval_message_id for one in together if one.approval_message_id is not None), None)
    for one in waiting:
        columns = _columns(verdict, card_id or known_id, now)
        await transitions.write_state(connection, one.id, columns, now, actor_id=actor_id)
        before, after = {"state": one.state.value, "user_id": one.user_id}, {"state": columns["state"].value}
        change = AuditedChange(_ACTIONS[verdict], TargetKind.JOB, one.id, before, after)
        await audit_log_store.record(connection, AuditEntry(guild_id, now, actor_id, change))
        if one is waiting[0]:  # it was one decision
            await notifications.post(connection, guild_id, ActionLogged(guild_id, actor_id, change), now)
    return await read_job(connection, waiting[0].id)


async def _lock_together(connection: Connection, guild_id: int, job_id: str) -> list[Job]:
    """The job and its variations, in their order, locked; nothing if it isn't of this server."""
    ids = [one.id for one in await variations.ordered_with(connection, job_id)] or [job_id]
    query = select_jobs().where(jobs.c.id.in_(ids), jobs.c.guild_id == guild_id).order_by(jobs.c.id)
    locked = [job_of(row) for row in await connection.execute(query.with_for_update())]
    return sorted(locked, key=lambda one: ids.index(one.id))


async def _has_room(connection: Connection, count: int, rules: OperatorDefaults) -> bool:
    # Locked after the jobs' rows, as everywhere; concurrent admissions and approvals wait.
    limit = (await guild_settings.lock_operator_state(connection)).queue_limit(rules)
    return await admission.queued(connection) + count <= limit


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


def _columns(verdict: Verdict, card_id: int | None, now: datetime) -> dict[str, Any]:
    approved = verdict is Verdict.APPROVED
    # A stage that is asking right now loses its lease; it only had the card's id, which came with the decision.
    columns = state_columns(JobState.QUEUED if approved else JobState.FAILED, now)
    columns["approval_message_id"] = card_id
    if approved:
        return columns
    detail = FailureDetail(FailureCause.DECLINED).to_text()
    return columns | {"charged": False, "failure_reason": FailureReason.DECLINED, "failure_detail": detail}
