"""Builders for the store tests: a fixed time, orders, and jobs in a state reached through the store."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, insert, select, update

from bot.chat.messages.notification_texts import render
from bot.domain.guilds import LimitOverrides, OperatorDefaults
from bot.domain.jobs import (
    FailureCause,
    FailureDetail,
    FailureReason,
    Frame,
    Job,
    JobState,
    NewJob,
    Order,
    RecoveryProblem,
    new_job_id,
)
from bot.domain.ledger import Amounts, Entry, EntryKind
from bot.domain.notifications import StoredNotification
from bot.domain.outcomes import Fail, JobUpdate, MoveTo, Reschedule
from bot.domain.policy import Requester
from bot.store import money_tables
from bot.store.engine import Database
from bot.store.guilds import guild_settings
from bot.store.jobs import recovery, submission_gate
from bot.store.jobs.job_store import JobStore
from bot.store.money import ledger
from bot.store.money_tables import credit_grants
from bot.store.schema import notifications, operator_state
from tests.providers_asked import CATALOG, VTRIX, vtrix

NOW = datetime(2026, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
NO_PAUSE = timedelta(0)
LEASES = dict.fromkeys(JobState, MINUTE)
UNLIMITED = OperatorDefaults(
    catalog=CATALOG,
    limits=LimitOverrides(videos_per_window=10_000, max_active=10_000, cooldown_s=0),
    max_queued=100_000,
)
"""Defaults that never refuse; the fixture `store` has them."""

FRAME = Frame(data=b"\xff\xd8\x00 a picture", mime="image/jpeg")
MANY = 10_000
DETAIL = FailureDetail(FailureCause.NOT_FINISHED, minutes=20)

_ROUTES: dict[JobState, tuple[MoveTo | Fail, ...]] = {
    JobState.RUNNING: (MoveTo(JobState.RUNNING, JobUpdate(upstream_id="task-1", submitted_at=NOW)),),
    JobState.FAILED: (Fail(FailureReason.REFUSED, DETAIL),),
    JobState.CANCELLED: (MoveTo(JobState.CANCELLED),),
}
_ROUTES[JobState.DELIVERING] = (*_ROUTES[JobState.RUNNING], MoveTo(JobState.DELIVERING))
_ROUTES[JobState.DELIVERED] = (*_ROUTES[JobState.DELIVERING], MoveTo(JobState.DELIVERED))


async def notified(database: Database, guild_id: int | None = None) -> list[tuple[int, int | None, str]]:
    """The pending notifications, oldest first: the server, the channel if one is named, and the text."""
    query = select(notifications).order_by(notifications.c.id)
    if guild_id is not None:
        query = query.where(notifications.c.guild_id == guild_id)
    async with database.read() as connection:
        return [
            (row.guild_id, row.channel_id, *render([StoredNotification(row.kind, row.payload, row.text)]))
            for row in await connection.execute(query)
        ]


async def notified_texts(database: Database, guild_id: int | None = None) -> list[str]:
    """The texts of `notified`."""
    return [text for _, _, text in await notified(database, guild_id)]


def new_job(*, user_id: int = 1, guild_id: int = 10, order: Order | None = None) -> NewJob:
    return NewJob(new_job_id(), guild_id, 100, user_id, order or Order("a fox runs through snow"))


def requester_of(new: NewJob, **more: Any) -> Requester:
    """The member who ordered the job, in its channel."""
    return Requester(new.guild_id, new.channel_id, new.user_id, **more)


async def add(store: JobStore, now: datetime = NOW, *, user_id: int = 1, guild_id: int = 10) -> Job:
    new = new_job(user_id=user_id, guild_id=guild_id)
    return await store.add(new, FRAME, requester_of(new), now)


async def claim(store: JobStore, job_id: str, now: datetime = NOW) -> Job:
    """Claims that job only, and releases any others that were due."""
    claimed = await store.claim_due(now, MANY, LEASES)
    await store.release([job for job in claimed if job.id != job_id])
    [job] = [job for job in claimed if job.id == job_id]
    return job


async def add_waiting(store: JobStore, now: datetime = NOW, *, user_id: int = 1, guild_id: int = 10) -> Job:
    """A queued job with its status card posted, waiting for a slot."""
    job = await add(store, now, user_id=user_id, guild_id=guild_id)
    assert await store.apply(await claim(store, job.id, now), Reschedule(None), now)
    return job


async def next_job(store: JobStore, now: datetime = NOW, max_running: int = MANY) -> Job | None:
    return await store.claim_queued(now, vtrix(max_running), MINUTE)


async def set_guild(store: JobStore, guild_id: int = 10, **columns: Any) -> None:
    """Sets columns of the server's settings, without an audited change."""
    async with store._db.write() as connection:
        await guild_settings.write(connection, guild_id, columns)


async def set_operator_state(store: JobStore, **columns: Any) -> None:
    """Sets columns of the operator's state."""
    async with store._db.write() as connection:
        await connection.execute(update(operator_state).values(columns))


async def grant(
    store: JobStore,
    credits_given: int,
    now: datetime = NOW,
    *,
    expires_at: datetime | None = None,
    user_id: int = 1,
) -> int:
    """Writes a credit grant and its ledger entry; returns the grant's id."""
    row = {
        "guild_id": 10,
        "user_id": user_id,
        "credits_left": 0,
        "expires_at": expires_at,
        "created_at": now,
        "actor_id": 9,
    }
    async with store._db.write() as connection:
        grant_id = (
            await connection.execute(insert(credit_grants).values(row).returning(credit_grants.c.id))
        ).scalar_one()
        given = Entry(
            EntryKind.GRANT, 10, user_id, now, now, Amounts(credits=credits_given), "thanks", None, grant_id, 9
        )
        await ledger.write(connection, given)
    return int(grant_id)


async def entries(store: JobStore, job: Job | None = None) -> list[Row[Any]]:
    """The ledger entries in the order written, of one job if given."""
    query = select(money_tables.ledger).order_by(money_tables.ledger.c.id)
    async with store._db.read() as connection:
        rows = await connection.execute(
            query if job is None else query.where(money_tables.ledger.c.job_id == job.id)
        )
        return list(rows)


async def bring_to(store: JobStore, state: JobState, now: datetime = NOW, *, user_id: int = 1) -> Job:
    """A job in that state, under a lease that began at `now`. No other job may wait for a slot."""
    if state is JobState.AWAITING:
        await set_guild(store, approval_required=True)
        job = await add(store, now, user_id=user_id)
        await set_guild(store, approval_required=False)
        return await claim(store, job.id, now)
    if state is JobState.QUEUED:
        job = await add(store, now, user_id=user_id)
        return await claim(store, job.id, now)
    job = await add_waiting(store, now, user_id=user_id)
    submitting = await next_job(store, now)
    assert submitting is not None
    assert submitting.id == job.id
    job = submitting
    for outcome in _ROUTES.get(state, ()):
        assert await store.apply(job, outcome, now)
        job = await claim(store, job.id, now)
    assert job.state is state
    return job


async def read(store: JobStore, job: Job) -> Job:
    found = await store.get(job.id)
    assert found is not None
    return found


async def close_gate(store: JobStore, until: datetime, reason: str, now: datetime) -> None:
    """Closes the submission gate as a paused submission does."""
    async with store._db.write() as connection:
        await submission_gate.close(connection, VTRIX, until, reason, now)


async def resume_failed_job(
    store: JobStore, job_id: str, now: datetime, *, task_lifetime: timedelta = DAY, **who: Any
) -> Job | RecoveryProblem:
    """Calls `bot.store.jobs.recovery.resume_failed_job` in its own transaction."""
    async with store._db.write() as connection:
        return await recovery.resume_failed_job(connection, job_id, now, task_lifetime=task_lifetime, **who)


async def mark_lost(store: JobStore, job_id: str, now: datetime, **who: Any) -> Job | RecoveryProblem:
    """Calls `bot.store.jobs.recovery.mark_lost` in its own transaction."""
    async with store._db.write() as connection:
        return await recovery.mark_lost(connection, job_id, now, **who)


async def unreconciled(store: JobStore, limit: int) -> list[Job]:
    """Calls `bot.store.jobs.recovery.unreconciled` in its own transaction."""
    async with store._db.read() as connection:
        return await recovery.unreconciled(connection, limit)
