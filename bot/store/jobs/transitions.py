"""Moves jobs from state to state: outcomes of stages, and cancellations, inside the caller's transaction.

Every write is guarded by the job's state and, for outcomes, by the lease token.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import ColumnElement, select, update

from bot.domain.guilds import Access
from bot.domain.jobs import (
    ACTIVE,
    ENDED,
    LINK_REMOVED,
    REMOVED,
    CancelResult,
    FailureCause,
    FailureDetail,
    FailureReason,
    Job,
    JobState,
)
from bot.domain.models import kind_of
from bot.domain.outcomes import Fail, MoveTo, PauseSubmissions
from bot.store.bulk import IDS, is_among
from bot.store.engine import Connection, Database
from bot.store.guilds import guild_settings
from bot.store.jobs import pictures, refused_content, status_cards, task_durations
from bot.store.jobs.rows import RELEASED, fetch_job, read_job, state_columns, update_columns
from bot.store.money import ledger
from bot.store.outbox import notifications
from bot.store.schema import IS_ACTIVE, jobs

WAITING = (JobState.AWAITING, JobState.QUEUED)
"""States in which a job has cost nothing yet."""

LONGEST_PAUSE = timedelta(minutes=15)
"""The longest time until a job in progress is due again, whatever was asked for."""


async def lock_held(connection: Connection, held: Sequence[Job]) -> dict[str, bool]:
    """Locks those of the jobs whose lease and state are still what the holder knows.

    Returns, by id, whether a cancellation was requested.
    """
    known = {job.id: (job.lease_token, job.state) for job in held if job.lease_token is not None}
    rows = await connection.execute(
        select(jobs.c.id, jobs.c.lease_token, jobs.c.state, jobs.c.cancel_requested)
        .where(is_among(jobs.c.id, connection.dialect.name))
        # In a fixed order, so that two calls can't deadlock.
        .order_by(jobs.c.id)
        .with_for_update(),
        {IDS: list(known)},
    )
    return {row.id: row.cancel_requested for row in rows if (row.lease_token, row.state) == known[row.id]}


def target_state(outcome: MoveTo | Fail | PauseSubmissions) -> JobState:
    """The state to which an outcome moves a job."""
    if isinstance(outcome, MoveTo):
        return outcome.to
    return JobState.FAILED if isinstance(outcome, Fail) else JobState.QUEUED


async def move(connection: Connection, job: Job, outcome: MoveTo | Fail | PauseSubmissions, now: datetime) -> bool:
    """Writes an outcome; False if the lease was lost."""
    held = await lock_held(connection, [job])
    if job.id not in held:
        return False
    if isinstance(outcome, Fail):
        # Before the ledger is settled: locks are taken in one order.
        outcome = await refused_content.count(connection, job, outcome, now)
    columns = _columns_of_move(job, outcome, now, cancel_requested=held[job.id])
    reserved = Decimal(0)
    if target_state(outcome) is JobState.QUEUED:
        reserved = (await ledger.balance(connection, job.id)).usd
        columns |= {"provider": None, "provider_since": None}
    if columns["state"] == JobState.QUEUED and (why := await _no_longer_made(connection, job)) is not None:
        columns |= _columns_of_cancel(now) | _detail(why)
    await write_state(connection, job.id, columns, now)
    await ledger.take_from_provider(connection, job, reserved)
    if not isinstance(outcome, PauseSubmissions) and outcome.update.task_duration is not None:
        await task_durations.record(connection, kind_of(job), outcome.update.task_duration)
    return True


async def _no_longer_made(connection: Connection, job: Job) -> FailureCause | None:
    """Why a job whose submission made no task must not go back to the queue: what happened to its server."""
    guild = await guild_settings.get(connection, job.guild_id)
    if guild.access is Access.BLOCKED:
        return FailureCause.SERVER_BLOCKED
    return None if guild.left_at is None else FailureCause.BOT_REMOVED


async def cancel(
    connection: Connection,
    job_id: str,
    now: datetime,
    *,
    even_if_paid: bool,
    actor_id: int | None = None,
    why: FailureCause | None = None,
) -> CancelResult:
    """Ends a queued job; flags one in progress, if `even_if_paid`, whose next poll has its task stopped.

    actor_id: who cancels, for the ledger; None for the member. why: why somebody else cancels.
    """
    query = select(jobs.c.state, jobs.c.due_at, jobs.c.user_id).where(jobs.c.id == job_id).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None or JobState(row.state) not in ACTIVE:
        return CancelResult.ENDED
    if row.state in WAITING:
        columns = _columns_of_cancel(now) | _detail(why)
        await write_state(connection, job_id, columns, now, actor_id=row.user_id if actor_id is None else actor_id)
        return CancelResult.CANCELLED
    if not even_if_paid:
        return CancelResult.PAID
    flag: dict[str, Any] = {"cancel_requested": True} | _detail(why)
    if row.state == JobState.RUNNING and (row.due_at is None or row.due_at > now):
        flag["due_at"] = now
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(flag))
    return CancelResult.FLAGGED


async def cancel_waiting(
    database: Database, which: ColumnElement[bool], now: datetime, *, actor_id: int | None, why: FailureCause
) -> int:
    """Cancels the jobs that match and have cost nothing yet; returns how many. After a crash, call it again."""
    query = select(jobs.c.id).where(IS_ACTIVE, jobs.c.state.in_(WAITING), which)
    async with database.read() as connection:
        waiting = list(await connection.scalars(query))
    cancelled = 0
    for job_id in waiting:  # one transaction each: a job's row is never locked after the operator state's
        async with database.write() as connection:
            result = await cancel(connection, job_id, now, even_if_paid=False, actor_id=actor_id, why=why)
        cancelled += result is CancelResult.CANCELLED
    return cancelled


async def mark_removed(connection: Connection, job_id: str, message_id: int, now: datetime) -> bool:
    """Writes that the message with the job's video was removed; False if it isn't this job's video.

    The video's link and picture are removed as well.

    A video that somebody saw was delivered, even if a crash kept that from being written. A job that failed since
    then, because the answer to its post was lost, stays as it is; if it is resumed, it is not posted again.
    """
    job = await fetch_job(connection, jobs.c.id == job_id, lock=True)
    columns: dict[str, Any] = {"result_message_id": REMOVED, "upstream_response": None}
    if job is not None and job.result_url is not None:
        columns["result_url"] = LINK_REMOVED
    match job:
        case Job(state=JobState.DELIVERING):
            await pictures.delete_with_copies(connection, [job_id])
            await write_state(connection, job_id, state_columns(JobState.DELIVERED, now) | columns, now)
            return True
        case Job(state=JobState.DELIVERED) if job.result_message_id == message_id:
            columns |= RELEASED | {"due_at": now}
        case Job(state=JobState.FAILED):
            columns |= RELEASED | {"due_at": now}
        case Job(state=JobState.RUNNING):
            pass
        case _:
            return False
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(columns))
    await pictures.delete_with_copies(connection, [job_id])
    return True


async def show_all_queued(connection: Connection, now: datetime) -> None:
    """Makes the status cards of all queued jobs due to be shown again."""
    queued = (IS_ACTIVE, jobs.c.state == JobState.QUEUED, jobs.c.due_at.is_(None))
    # Whoever has locked a row is moving its job on.
    unlocked = select(jobs.c.id).where(*queued).with_for_update(skip_locked=True)
    await connection.execute(update(jobs).where(jobs.c.id.in_(unlocked)).values(due_at=now))


def _detail(why: FailureCause | None) -> dict[str, Any]:
    return {} if why is None else {"failure_detail": FailureDetail(why).to_text()}


async def write_state(
    connection: Connection,
    job_id: str,
    columns: dict[str, Any],
    now: datetime,
    *,
    actor_id: int | None = None,
) -> None:
    """Writes a new state and its consequences: the picture goes or stays, the ledger is settled.

    The caller has locked the job's row. actor_id: who caused it, for the ledger; None for the bot.
    """
    known_cost_usd = (await connection.execute(select(jobs.c.cost_usd).where(jobs.c.id == job_id))).scalar_one()
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(columns))
    if columns.get("failure_reason") is FailureReason.DECLINED:  # what a moderator turned down isn't kept
        await pictures.delete_with_copies(connection, [job_id])
    await pictures.follow(connection, job_id, columns["state"], now)
    if columns["state"] in ENDED:
        await status_cards.forget(connection, job_id)
    job = await settle(connection, job_id, now, actor_id=actor_id)
    if job.state is JobState.FAILED:
        await notifications.job_failed(connection, job, now)
    # A failed task may cost less; the learned price is that of a video.
    if job.cost_usd is not None and known_cost_usd is None and job.state is not JobState.FAILED:
        await ledger.learn_price(connection, kind_of(job), job.cost_usd)


async def settle(connection: Connection, job_id: str, now: datetime, *, actor_id: int | None = None) -> Job:
    """Brings the job's entries in the ledger to its expected balance; returns the job."""
    job = await read_job(connection, job_id)
    await ledger.settle(connection, job, now, actor_id=actor_id)
    return job


def _columns_of_move(
    job: Job, outcome: MoveTo | Fail | PauseSubmissions, now: datetime, *, cancel_requested: bool
) -> dict[str, Any]:
    to = target_state(outcome)
    learned = {} if isinstance(outcome, PauseSubmissions) else update_columns(outcome.update)
    if to is JobState.QUEUED and cancel_requested:
        return _columns_of_cancel(now) | learned
    columns = state_columns(to, now) | learned
    if to in ENDED and job.is_removed and (job.result_url or "result_url" in learned):
        columns |= {"result_url": LINK_REMOVED, "upstream_response": None}
    if to is JobState.QUEUED:
        columns["due_at"] = None
    if _may_still_be_billed(job, outcome) and "cost_usd" not in learned:
        columns["cost_unknown_since"] = job.state_changed_at  # the submission, or when the operator resumed it
    if isinstance(outcome, Fail):
        detail = outcome.detail.to_text()
        columns |= {"charged": False, "failure_reason": outcome.reason, "failure_detail": detail}
    elif isinstance(outcome, MoveTo):
        if outcome.charged is not None:
            columns["charged"] = outcome.charged
        if outcome.due_at is not None and (job.cancel_requested or not cancel_requested):
            columns["due_at"] = limited(to, outcome.due_at, now)
    return columns


def _may_still_be_billed(job: Job, outcome: MoveTo | Fail | PauseSubmissions) -> bool:
    may_have_a_task = job.state in {JobState.SUBMITTING, JobState.RUNNING}
    may_have_a_task = may_have_a_task and job.cost_usd is None and job.result_url is None
    return may_have_a_task and not isinstance(outcome, PauseSubmissions) and outcome.cost_unknown


def limited(state: JobState, due_at: datetime | None, now: datetime) -> datetime | None:
    """`due_at`, but no later than `LONGEST_PAUSE`: the rest comes from a clock that was set back."""
    return due_at if due_at is None or state is JobState.AWAITING else min(due_at, now + LONGEST_PAUSE)


def _columns_of_cancel(now: datetime) -> dict[str, Any]:
    """The columns of a job that ends in the queue, uncharged; its end is still to be announced."""
    return state_columns(JobState.CANCELLED, now) | {"charged": False, "cancel_requested": True}
