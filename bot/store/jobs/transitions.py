"""What became of jobs, as columns: the outcomes of steps, and a member's wish to cancel.

Every write is guarded by the job's state and, for the steps' outcomes, by the lease token. Functions here work
inside the caller's transaction.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Boolean, bindparam, case, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from bot.domain.guilds import Access
from bot.domain.jobs import (
    ACTIVE,
    NOTHING_NEW,
    CancelResult,
    Fail,
    FailureCause,
    FailureDetail,
    Job,
    JobState,
    MoveTo,
    PauseSubmissions,
    Reschedule,
)
from bot.store.guilds import guild_settings
from bot.store.jobs.rows import fact_columns, job_of, select_jobs
from bot.store.money import ledger
from bot.store.outbox import notifications
from bot.store.schema import frames, jobs

_KEEPS_FRAME = frozenset({JobState.AWAITING, JobState.QUEUED, JobState.SUBMITTING})
LONGEST_PAUSE = timedelta(minutes=15)
"""A job that costs something or somebody waits for is looked after at least this often, whoever asked for more."""

_RELEASED = {"lease_token": None, "lease_until": None, "claims": 0}


async def still_held(connection: AsyncConnection, held: Sequence[Job]) -> dict[str, bool]:
    """Those of the jobs whose lease and state are what their holder knows, locked until the transaction ends.

    Each id comes with whether the member has given the job up by now.
    """
    known = {job.id: (job.lease_token, job.state) for job in held if job.lease_token is not None}
    rows = await connection.execute(
        select(jobs.c.id, jobs.c.lease_token, jobs.c.state, jobs.c.cancel_requested)
        .where(jobs.c.id.in_(known))
        # In one order, so that two such calls never wait for each other in a ring.
        .order_by(jobs.c.id)
        .with_for_update()
    )
    return {row.id: row.cancel_requested for row in rows if (row.lease_token, row.state) == known[row.id]}


def target(outcome: MoveTo | Fail | PauseSubmissions) -> JobState:
    """The state that an outcome moves a job to."""
    match outcome:
        case MoveTo(to=to):
            return to
        case Fail():
            return JobState.FAILED
        case PauseSubmissions():
            return JobState.QUEUED


async def move(
    connection: AsyncConnection, job: Job, outcome: MoveTo | Fail | PauseSubmissions, now: datetime
) -> bool:
    """Moves a job to where the outcome says; False where its lease was lost."""
    wishes = await still_held(connection, [job])
    if job.id not in wishes:
        return False
    given_up = wishes[job.id]
    if target(outcome) is JobState.QUEUED and not given_up:
        # Handed in while the operator closed the bot to its server, and surely not taken.
        given_up = (await guild_settings.get(connection, job.guild_id)).access is Access.BLOCKED
    columns = _columns_of_move(job, outcome, now, cancel_requested=given_up)
    await write_state(connection, job.id, columns, now)
    return True


async def keep(connection: AsyncConnection, batch: Sequence[tuple[Job, Reschedule]], now: datetime) -> int:
    """Writes "not yet" for many jobs; how many of them still held their lease."""
    wishes = await still_held(connection, [job for job, _ in batch])
    # One statement for all rows that learned the same kinds of things: mostly one in all.
    groups: dict[frozenset[str], list[dict[str, Any]]] = {}
    for job, outcome in batch:
        if job.id not in wishes:
            continue
        given_up = wishes[job.id] and not job.cancel_requested
        columns = {
            "row_id": job.id,
            "failed": outcome.attempt,
            "due_at": now if given_up else _within_reach(job.state, outcome.due_at, now),
            **fact_columns(outcome.facts),
        }
        groups.setdefault(frozenset(columns), []).append(columns)
    change = (
        update(jobs)
        .where(jobs.c.id == bindparam("row_id"))
        .values(_RELEASED | {"attempts": case((bindparam("failed", type_=Boolean), jobs.c.attempts + 1), else_=0)})
    )
    for parameters in groups.values():
        await connection.execute(change, parameters)
    # In one order of days, so that two batches never wait for each other over the totals.
    for job, outcome in sorted(batch, key=lambda it: (it[0].created_at, it[0].id)):
        if job.id in wishes and outcome.facts.cost_usd is not None:
            await _settle(connection, job.id, now)
    return len(wishes)


async def cancel(
    connection: AsyncConnection,
    job_id: str,
    now: datetime,
    *,
    paid_too: bool,
    by: int | None = None,
    why: FailureCause | None = None,
) -> CancelResult:
    """Ends a queued job; flags one that is under way, if `paid_too`.

    by: whose wish it is, for the ledger; None: the member's own. why: where it is somebody else's, for
    the member.
    """
    query = select(jobs.c.state, jobs.c.due_at, jobs.c.user_id).where(jobs.c.id == job_id).with_for_update()
    row = (await connection.execute(query)).one_or_none()
    if row is None or JobState(row.state) not in ACTIVE:
        return CancelResult.ENDED
    if row.state in {JobState.AWAITING, JobState.QUEUED}:
        columns = _columns_of_cancel(now) | _detail(why)
        await write_state(connection, job_id, columns, now, by=row.user_id if by is None else by)
        return CancelResult.CANCELLED
    if not paid_too:
        return CancelResult.PAID
    flag: dict[str, Any] = {"cancel_requested": True} | _detail(why)
    if row.state == JobState.RUNNING and (row.due_at is None or row.due_at > now):
        flag["due_at"] = now
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(flag))
    return CancelResult.FLAGGED


def _detail(why: FailureCause | None) -> dict[str, Any]:
    return {} if why is None else {"failure_detail": FailureDetail(why).to_text()}


async def write_state(
    connection: AsyncConnection, job_id: str, columns: dict[str, Any], now: datetime, *, by: int | None = None
) -> None:
    """Writes a move, and what follows from it: the frame goes when it is done with, the ledger is settled.

    The caller holds the job's row. by: who caused it, for the ledger; None where the bot did.
    """
    known = (await connection.execute(select(jobs.c.cost_usd).where(jobs.c.id == job_id))).scalar_one()
    await connection.execute(update(jobs).where(jobs.c.id == job_id).values(columns))
    if columns["state"] not in _KEEPS_FRAME:
        await connection.execute(delete(frames).where(frames.c.job_id == job_id))
    job = await _settle(connection, job_id, now, by=by)
    if job.state is JobState.FAILED:
        await notifications.job_failed(connection, job, now)
    # A task that failed may cost little or nothing; the price is that of a video.
    if job.cost_usd is not None and known is None and job.state is not JobState.FAILED:
        await ledger.learn(connection, job.order.resolution, job.cost_usd)


async def _settle(connection: AsyncConnection, job_id: str, now: datetime, *, by: int | None = None) -> Job:
    job = job_of((await connection.execute(select_jobs().where(jobs.c.id == job_id))).one())
    await ledger.settle(connection, job, now, by=by)
    return job


def _columns_of_move(
    job: Job, outcome: MoveTo | Fail | PauseSubmissions, now: datetime, *, cancel_requested: bool
) -> dict[str, Any]:
    to = target(outcome)
    facts = NOTHING_NEW if isinstance(outcome, PauseSubmissions) else outcome.facts
    if to is JobState.QUEUED and cancel_requested:
        return _columns_of_cancel(now) | fact_columns(facts)
    columns: dict[str, Any] = {
        **_RELEASED,
        "state": to,
        "state_since": now,
        "due_at": None if to is JobState.QUEUED else now,
        "attempts": 0,
        **fact_columns(facts),
    }
    match outcome:
        case MoveTo(counted=counted, due_at=due_at):
            if counted is not None:
                columns["counted"] = counted
            if due_at is not None and (job.cancel_requested or not cancel_requested):
                columns["due_at"] = _within_reach(to, due_at, now)
        case Fail(reason=reason, detail=detail):
            columns |= {"counted": False, "failure": reason, "failure_detail": detail.to_text()}
        case PauseSubmissions():
            pass
    return columns


def _within_reach(state: JobState, due_at: datetime | None, now: datetime) -> datetime | None:
    """`due_at`, no further away than pauses go: what lies beyond is taken for the mark of a clock set back."""
    return due_at if due_at is None or state is JobState.AWAITING else min(due_at, now + LONGEST_PAUSE)


def _columns_of_cancel(now: datetime) -> dict[str, Any]:
    """The columns of a job that ends in the queue, free; its end is still to be announced."""
    return {
        **_RELEASED,
        "state": JobState.CANCELLED,
        "state_since": now,
        "due_at": now,
        "counted": False,
        "cancel_requested": True,
        "attempts": 0,
    }
