"""Writes when jobs that keep their state are due again, inside the caller's transaction.

Nearly all of these are running tasks that a poll found still running, hundreds a second: they share one statement.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Boolean, Double, Text, Update, and_, bindparam, case, func, not_, select, update

from bot.domain.jobs import Job
from bot.domain.outcomes import Reschedule
from bot.store.bulk import ROWS, rows_of
from bot.store.engine import Connection
from bot.store.jobs.rows import RELEASED, read_job, update_columns
from bot.store.jobs.transitions import limited, lock_held
from bot.store.money import ledger
from bot.store.schema import jobs
from bot.store.types import UtcDateTime, utc_text

Batch = Sequence[tuple[Job, Reschedule]]

_LEARNED_BY_POLLS = frozenset({"progress", "seen_running_at"})
"""The columns that are written about a task that is still running."""


async def reschedule(connection: Connection, batch: Batch, now: datetime) -> int:
    """Reschedules many jobs; returns how many still held their lease."""
    polls: list[dict[str, Any]] = []
    others: list[tuple[Job, Reschedule]] = []
    for job, outcome in batch:
        learned = update_columns(outcome.update)
        if learned.keys() <= _LEARNED_BY_POLLS:
            polls.append(_row_of_poll(job, outcome, learned, now))
        else:
            others.append((job, outcome))
    written = 0
    if others:
        # The polled rows as well: all are locked in one order, so that two calls can't deadlock.
        held = await lock_held(connection, [job for job, _ in batch])
        written += await _write_each(connection, [pair for pair in others if pair[0].id in held], held, now)
    if polls:
        change = _change_of_polls(connection.dialect.name)
        written += (await connection.execute(change, {ROWS.key: polls, "now": now})).rowcount
    return written


def _row_of_poll(job: Job, outcome: Reschedule, learned: dict[str, Any], now: datetime) -> dict[str, Any]:
    due_at, seen_running_at = limited(job.state, outcome.due_at, now), learned.get("seen_running_at")
    return {
        "id": job.id,
        "state": job.state,
        "lease_token": job.lease_token,
        "cancel_requested": job.cancel_requested,
        "failed": outcome.attempt,
        "due_at": None if due_at is None else utc_text(due_at),
        "progress": learned.get("progress"),
        "seen_running_at": None if seen_running_at is None else utc_text(seen_running_at),
    }


@cache
def _change_of_polls(dialect: str) -> Update:
    """Writes the rows whose lease and state are still what the worker knows."""
    new = rows_of(
        dialect,
        {
            "id": Text(),
            "state": Text(),
            "lease_token": Text(),
            "cancel_requested": Boolean(),
            "failed": Boolean(),
            "due_at": UtcDateTime(),
            "progress": Double(),
            "seen_running_at": UtcDateTime(),
        },
    )
    cancelled = and_(jobs.c.cancel_requested, not_(new.c.cancel_requested))
    held = (
        select(new, cancelled.label("cancelled"))
        .join(jobs, jobs.c.id == new.c.id)
        .where(jobs.c.lease_token == new.c.lease_token, jobs.c.state == new.c.state)
        # As in `lock_held`.
        .order_by(jobs.c.id)
        .with_for_update(of=jobs)
        .subquery("held")
    )
    return (
        update(jobs)
        .where(jobs.c.id == held.c.id)
        .values(
            **RELEASED,
            attempts=case((held.c.failed, jobs.c.attempts + 1), else_=0),
            due_at=case((held.c.cancelled, bindparam("now", type_=UtcDateTime)), else_=held.c.due_at),
            progress=func.coalesce(held.c.progress, jobs.c.progress),
            seen_running_at=func.coalesce(held.c.seen_running_at, jobs.c.seen_running_at),
        )
    )


async def _write_each(connection: Connection, held_batch: Batch, held: Mapping[str, bool], now: datetime) -> int:
    """Writes jobs about which a stage learned more, and whose rows are locked."""
    # One statement for all rows that change the same columns.
    groups: dict[frozenset[str], list[dict[str, Any]]] = {}
    for job, outcome in held_batch:
        cancelled = held[job.id] and not job.cancel_requested
        columns = {
            "row_id": job.id,
            "failed": outcome.attempt,
            "due_at": now if cancelled else limited(job.state, outcome.due_at, now),
            **update_columns(outcome.update),
        }
        groups.setdefault(frozenset(columns), []).append(columns)
    change = (
        update(jobs)
        .where(jobs.c.id == bindparam("row_id"))
        .values(RELEASED | {"attempts": case((bindparam("failed", type_=Boolean), jobs.c.attempts + 1), else_=0)})
    )
    for parameters in groups.values():
        await connection.execute(change, parameters)
    # In order of days, so that two batches can't deadlock over the daily totals.
    learned = [job for job, outcome in held_batch if outcome.update.cost_usd is not None]
    settled = [
        await read_job(connection, job.id) for job in sorted(learned, key=lambda job: (job.created_at, job.id))
    ]
    await ledger.settle_all(connection, settled, now)
    return len(held_batch)
