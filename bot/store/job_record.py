"""All that is stored about one job of any server, inside the caller's transaction.

Reads by the job's id; its audited actions by their server and time, from its order on.
"""

from sqlalchemy import func, select

from bot.domain.audit_log import AuditEntry, TargetKind
from bot.domain.job_history import JobRecord, PendingNotification
from bot.domain.jobs import ENDED, Job, JobState
from bot.store import operator_reports
from bot.store.engine import Connection
from bot.store.guilds.audit_log import audit_entry_of
from bot.store.jobs import all_servers
from bot.store.jobs.lease_holders import holder_of
from bot.store.outbox.notifications import TO_OPERATOR
from bot.store.schema import audit_log, extensions, first_frames, notifications, status_cards, variations

ACTIONS_MAX = 50
"""The most audited actions that are read; a job has two or three."""

_PENDING_MAX = 200
"""How many pending notifications are searched for those about the job."""


async def job_record(connection: Connection, job_id: str) -> JobRecord | None:
    """The job with everything that is stored about it; None if there is no such job."""
    found = await operator_reports.job_ledger(connection, job_id)
    if found is None:
        return None
    job = found.job
    token, lease_until = (await all_servers.leases_of(connection, [job.id])).get(job.id, (None, None))
    places = await all_servers.places(connection) if job.state is JobState.QUEUED else {}
    card = (
        await connection.execute(
            select(status_cards.c.shown_state, status_cards.c.edited_at).where(status_cards.c.job_id == job.id)
        )
    ).one_or_none()
    place = (await connection.execute(select(variations).where(variations.c.job_id == job.id))).one_or_none()
    return JobRecord(
        job,
        found.entries,
        found.response,
        await _actions(connection, job),
        await _pending(connection, job),
        places.get(job.id),
        holder_of(token),
        lease_until,
        None if card is None else JobState(card.shown_state),
        None if card is None else card.edited_at,
        await connection.scalar(select(func.length(first_frames.c.data)).where(first_frames.c.job_id == job.id)),
        await connection.scalar(select(extensions.c.parent_id).where(extensions.c.job_id == job.id)),
        None if place is None else place.position,
        None if place is None else place.size,
    )


async def _actions(connection: Connection, job: Job) -> tuple[AuditEntry, ...]:
    query = (
        select(audit_log)
        .where(
            audit_log.c.guild_id.in_((job.guild_id, TO_OPERATOR)),
            audit_log.c.at >= job.created_at,
            audit_log.c.target_kind == TargetKind.JOB,
            audit_log.c.target_id == job.id,
        )
        .order_by(audit_log.c.at, audit_log.c.id)
        .limit(ACTIONS_MAX)
    )
    return tuple([audit_entry_of(row) for row in await connection.execute(query)])


async def _pending(connection: Connection, job: Job) -> tuple[PendingNotification, ...]:
    """The notifications about it that aren't posted yet. Nothing says any more what a posted one was about."""
    if job.state not in ENDED:
        return ()
    query = (
        select(notifications)
        .where(notifications.c.due_at.is_not(None), notifications.c.created_at >= job.created_at)
        .order_by(notifications.c.due_at)
        .limit(_PENDING_MAX)
    )
    return tuple(
        [
            PendingNotification(row.kind, row.created_at, row.due_at)
            for row in await connection.execute(query)
            if row.payload is not None and row.payload.get("job_id") == job.id
        ]
    )
